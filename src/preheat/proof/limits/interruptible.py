"""Interruptible: run a function in several threads, without waiting for them after Ctrl-C."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

_Item = TypeVar("_Item")


def sum_in_threads(act: Callable[[_Item], int], items: Iterable[_Item], threads: int) -> int:
    """Return the sum of `act` for all items, computed in that many daemon threads at most.

    Raise the first error of `act`. An exception in the calling thread, such as KeyboardInterrupt, ends the wait.
    """
    waiting: deque[_Item] = deque(items)
    results: list[int] = []
    errors: list[BaseException] = []

    def work() -> None:
        while not errors:
            try:
                item = waiting.popleft()
            except IndexError:
                return
            try:
                results.append(act(item))
            except BaseException as error:  # noqa: BLE001 - raised in the calling thread
                errors.append(error)

    workers = [threading.Thread(target=work, name="measure", daemon=True) for _ in range(min(threads, len(waiting)))]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.join()
    except BaseException as error:
        errors.append(error)  # the workers end after their current item
        raise
    if errors:
        raise errors[0]
    return sum(results)
