"""Parallel: apply a function to many items in a few threads, in order; the first failure stops it."""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

_GLANCE_S = 0.2  # an indefinite wait may miss a signal
Thing = TypeVar("Thing")
Outcome = TypeVar("Outcome")


def side_by_side(do: Callable[[Thing], Outcome], things: Sequence[Thing], threads: int) -> list[Outcome]:
    """Return `do(thing)` for each thing, in order.

    Re-raise the first exception. After it, or after Ctrl-C, no new calls start. The threads are daemons, so an
    interrupted process does not wait for running calls.
    """
    if threads <= 1 or len(things) <= 1:
        return [do(thing) for thing in things]
    waiting = queue.SimpleQueue[int]()
    for number in range(len(things)):
        waiting.put(number)
    done: queue.SimpleQueue[tuple[int, Outcome] | BaseException] = queue.SimpleQueue()
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((number, do(things[number])))
            except BaseException as error:  # noqa: BLE001 - re-raised in the caller's thread
                done.put(error)
                return

    for _ in range(min(threads, len(things))):
        threading.Thread(target=work, daemon=True).start()
    found: dict[int, Outcome] = {}
    try:
        while len(found) < len(things):
            try:
                came = done.get(timeout=_GLANCE_S)
            except queue.Empty:
                continue
            if isinstance(came, BaseException):
                raise came
            number, outcome = came
            found[number] = outcome
    finally:
        stopped.set()
    return [found[number] for number in range(len(things))]
