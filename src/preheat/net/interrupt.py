"""Interrupt: end another thread's blocking reads without touching its sockets.

A thread must not close or shut down a socket that another thread reads, because data in TLS' buffers could then be read
as content. Instead the reader polls its socket and a wake-up descriptor together, and ends its own read.
"""

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

Line = TypeVar("Line", bound=socket.socket)


class Interrupted(OSError):
    """Raised in a thread whose read was interrupted; its connection cannot be used any more."""


class Interrupt:
    """A flag that other threads set to interrupt the reads of one thread, with a descriptor that wakes the thread.

    `received_at`: the time.monotonic() at which the thread last received bytes. Close it when the thread ends.
    """

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            self._wake = self._ring = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self._wake, self._ring = os.pipe()
            os.set_blocking(self._wake, False)
        self._turn = threading.Lock()
        self._is_set = self._closed = False
        self.received_at = time.monotonic()

    @property
    def is_set(self) -> bool:
        """Whether the thread's reads raise Interrupted."""
        return self._is_set

    @property
    def descriptor(self) -> int:
        """A file descriptor that is readable while the flag is set."""
        return self._wake

    def set(self) -> None:
        """Interrupt the thread's current read and all later ones until `clear`."""
        with self._turn:
            if not self._is_set and not self._closed:
                self._is_set = True
                os.write(self._ring, (1).to_bytes(8, "little"))

    def clear(self) -> None:
        """Allow the thread to read again."""
        with self._turn:
            if self._is_set and not self._closed:
                os.read(self._wake, 8)
            self._is_set = False
        self.received_at = time.monotonic()

    def close(self) -> None:
        """Close the descriptors; `set` has no effect afterwards."""
        with self._turn:
            self._closed = True
            for descriptor in {self._wake, self._ring}:
                os.close(descriptor)

    @contextlib.contextmanager
    def guarding(self) -> Iterator[None]:
        """Let it interrupt the calling thread's reads within the `with` block."""
        _of_thread.interrupt = self
        try:
            yield
        finally:
            _of_thread.interrupt = None


class _OfThread(threading.local):
    interrupt: Interrupt | None = None


_of_thread = _OfThread()


def wait_readable(line: socket.socket, timeout_s: float | None) -> None:
    """Wait until `line` is readable. Raise TimeoutError, or Interrupted if this thread is interrupted."""
    poll = select.poll()
    poll.register(line, select.POLLIN)
    interrupt = _of_thread.interrupt
    if interrupt is not None:
        poll.register(interrupt.descriptor, select.POLLIN)
    ready = poll.poll(None if timeout_s is None else timeout_s * 1000)
    if interrupt is not None and interrupt.is_set:
        raise Interrupted("interrupted")
    if not ready:
        raise TimeoutError("timed out")


def wait_writable(lines: Sequence[Line], timeout_s: float | None) -> list[Line]:
    """Return the sockets of `lines` that are writable or have failed; none after `timeout_s` seconds.

    Raise Interrupted if this thread is interrupted.
    """
    poll = select.poll()
    for line in lines:
        poll.register(line, select.POLLOUT)
    interrupt = _of_thread.interrupt
    if interrupt is not None:
        poll.register(interrupt.descriptor, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll(None if timeout_s is None else timeout_s * 1000)}
    if interrupt is not None and interrupt.is_set:
        raise Interrupted("interrupted")
    return [line for line in lines if line.fileno() in ready]


def note_received() -> None:
    """Record that this thread has just received bytes."""
    interrupt = _of_thread.interrupt
    if interrupt is not None:
        interrupt.received_at = time.monotonic()
