"""Parallel: apply a function to many items in a few threads, in order; the first failure stops it."""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from preheat.core.threads.next_item import next_item

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def map_parallel(function: Callable[[Item], Outcome], items: Sequence[Item], threads: int) -> list[Outcome]:
    """Return `function(item)` for each item, in order.

    Re-raise the first exception. After it, or after Ctrl-C, no new calls start. The threads are daemons, so an
    interrupted process does not wait for running calls.
    """
    if threads <= 1 or len(items) <= 1:
        return [function(item) for item in items]
    waiting = queue.SimpleQueue[int]()
    for number in range(len(items)):
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
                done.put((number, function(items[number])))
            except BaseException as error:  # noqa: BLE001 - re-raised in the caller's thread
                done.put(error)
                return

    for _ in range(min(threads, len(items))):
        threading.Thread(target=work, daemon=True).start()
    found: dict[int, Outcome] = {}
    try:
        while len(found) < len(items):
            came = next_item(done)
            if isinstance(came, BaseException):
                raise came
            number, outcome = came
            found[number] = outcome
    finally:
        stopped.set()
    return [found[number] for number in range(len(items))]
