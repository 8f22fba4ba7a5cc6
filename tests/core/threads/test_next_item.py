"""Next item: a wait ends with an item, however late, or with a signal."""

import signal
import threading
from queue import SimpleQueue

import pytest

from preheat.core.threads.next_item import next_item


def test_items_come_in_their_order_and_the_last_one_late() -> None:
    queue: SimpleQueue[int] = SimpleQueue()
    queue.put(1)
    queue.put(2)
    late = threading.Timer(0.5, queue.put, (3,))
    late.start()
    assert [next_item(queue) for _ in range(3)] == [1, 2, 3]
    late.join()


def test_a_signal_ends_the_wait() -> None:
    late = threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,))
    late.start()
    with pytest.raises(KeyboardInterrupt):
        next_item(SimpleQueue())
    late.join()
