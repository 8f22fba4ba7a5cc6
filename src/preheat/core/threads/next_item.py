"""Next item: wait for the next item of a queue so that Ctrl-C ends the wait at once."""

from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

_GLANCE_S = 0.2  # an indefinite wait may miss a signal
Item = TypeVar("Item")


def next_item(queue: SimpleQueue[Item]) -> Item:
    """Return the next item that another thread puts into `queue`. Signal handlers run meanwhile, and may raise."""
    while True:
        with suppress(Empty):
            return queue.get(timeout=_GLANCE_S)
