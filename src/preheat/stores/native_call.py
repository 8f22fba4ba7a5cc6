"""Native call: run a call that blocks in native code so that Ctrl-C is not delayed until it returns."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from preheat.core.threads.next_item import next_item

Answer = TypeVar("Answer")


def interruptible(ask: Callable[[], Answer]) -> Answer:
    """Return `ask()`. In the main thread, which gets the signals, wait for another thread that calls it."""
    if threading.current_thread() is not threading.main_thread():
        return ask()
    done: queue.SimpleQueue[tuple[bool, Answer | None, BaseException | None]] = queue.SimpleQueue()

    def call() -> None:
        try:
            done.put((True, ask(), None))
        except BaseException as error:  # noqa: BLE001 - raised in the main thread
            done.put((False, None, error))

    threading.Thread(target=call, name="store", daemon=True).start()
    _, answer, error = next_item(done)
    if error is not None:
        raise error
    return answer  # type: ignore[return-value] # what `ask` returned, which may be None
