"""Connections: observe where an app and all its children connect, and which names they look up.

It counts attempts, successful or not, rather than packets: each connect(2); each sendto(2), sendmsg(2) or sendmmsg(2)
with an address; and each name lookup. For unencrypted DNS on port 53, and for the sockets of systemd-resolved, nscd and
Avahi, the name is read from the query, and each query counts as a lookup. For other resolvers, the connection counts
instead. DNS over HTTPS counts as an ordinary connection. Not observed: 32-bit code, and names from /etc/hosts, which
need no query.

A signal that arrives while a call is suspended (about 20 us) interrupts it with EINTR before it runs, unless the
handler has SA_RESTART; an interrupted call is not counted.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Iterable

from preheat.guard.kernel import process_tree, seccomp
from preheat.guard.witness.connection_counts import Attempt, ConnectionCounts
from preheat.guard.witness.sockaddr import Address
from preheat.guard.witness.syscall_target import SingleAttempt, matters_only_to_resolvers, single_attempts

__all__ = ["Attempt", "Availability", "Witness"]

_TRIED_S = 10.0


@dataclass(frozen=True)
class Availability:
    """Whether connections can be counted on this system; `reason` is empty, or why not."""

    reason: str

    def __bool__(self) -> bool:
        return not self.reason


class Witness:
    """Count the connections and lookups of programs started from covered threads, over one or more starts. Thread-safe.

    `own_ports` are the app's ports: loopback connections to them are not counted. Port 0 is not counted either:
    getaddrinfo(3) connects to it to sort addresses, without sending a packet.
    """

    def __init__(self, own_ports: Iterable[int] = ()) -> None:
        self._own_ports = frozenset(own_ports)
        self._lock = threading.Lock()
        self._counter = ConnectionCounts()  # guarded by _lock
        self._blind_spots: dict[str, None] = {}
        self._answering: list[threading.Thread] = []

    @staticmethod
    def available() -> Availability:
        """Return whether connections can be counted, by testing it with a harmless call on a separate thread."""
        if not seccomp.supported():
            return Availability("counting connections requires 64-bit Linux on x86-64 or ARM")
        outcome: list[str] = []
        thread = threading.Thread(target=_test_filter, args=(outcome,), name="witness-trial", daemon=True)
        thread.start()
        thread.join(_TRIED_S)
        return Availability(outcome[0] if outcome else "the kernel suspends calls without a notification")

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Return the attempts, in the order in which each was first made."""
        with self._lock:
            return self._counter.attempts

    @property
    def outbound(self) -> int:
        """Return the number of attempts, including lookups."""
        return sum(attempt.count for attempt in self.attempts)

    @property
    def lookups(self) -> int:
        """Return the number of name lookups."""
        return sum(attempt.count for attempt in self.attempts if attempt.lookup)

    @property
    def blind_spots(self) -> tuple[str, ...]:
        """Describe the calls that could not be observed; if there are any, a count of 0 proves nothing."""
        with self._lock:
            return tuple(self._blind_spots)

    def cover_this_thread(self) -> None:
        """Observe all processes that the calling thread starts from now on. Raise OSError if that is not possible.

        The filter stays until the thread ends, so use a separate thread for each start.
        """
        # The filter applies to this thread only, and the listener is shared with all threads of this process: no
        # descriptor has to be passed out of a child, and no other guard thread is suspended. The answering thread must
        # start first: with the filter, it would wait for itself.
        listeners: SimpleQueue[int | None] = SimpleQueue()
        thread = threading.Thread(target=self._answer, args=(listeners,), name="witness", daemon=True)
        thread.start()
        try:
            listeners.put(seccomp.filter_this_thread())
        finally:
            listeners.put(None)
        with self._lock:
            self._answering.append(thread)

    def close(self, within_s: float = 1.0) -> None:
        """Wait until all observed processes have ended, at most `within_s`; later ones are still served and counted."""
        deadline = time.monotonic() + within_s
        for thread in tuple(self._answering):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _answer(self, listeners: SimpleQueue[int | None]) -> None:
        listener = listeners.get()
        if listener is None:
            return
        # The app waits for each response: do not let signals interrupt this thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        waiting = select.poll()
        waiting.register(listener, select.POLLIN)
        try:
            while True:
                events = waiting.poll()[0][1]
                if events & select.POLLIN:
                    call = seccomp.receive(listener)
                    if call is not None:
                        self._attend(listener, call)
                else:  # POLLHUP: no process with the filter is left (Linux 5.9 and later)
                    return
        finally:
            os.close(listener)

    def _attend(self, listener: int, call: seccomp.Call) -> None:
        tries: list[SingleAttempt] = []
        moved, blind, process, program = "", "", 0, ""
        try:
            # Most sends and writes do not go to a resolver: skip them quickly.
            if not matters_only_to_resolvers(call) or self._counter.waits:
                tries, moved = single_attempts(
                    call, self._resolver_at, lambda address: self._counts(address, call.thread)
                )
            if tries:
                process = process_tree.process_of(call.thread)
                program = process_tree.name(process)
            if call.name == "io_uring_setup":
                blind = f"{_who(call.thread)} opened an io_uring, whose connections cannot be observed"
        except OSError:
            # If the thread has died, let_go returns False, and this is not recorded.
            blind = f"{_who(call.thread)} does not permit reading its calls"
        finally:
            # Let go and count under one lock, so that the count is visible as soon as the app continues or ends.
            with self._lock:
                # A call that was interrupted is repeated later, or never runs: do not count it now. If let_go succeeds,
                # the thread was alive all the time, so the memory read above was its own, not that of a reused ID.
                if seccomp.let_go(listener, call):
                    if blind:
                        self._blind_spots[blind] = None
                    if moved:
                        self._counter.forget(moved)
                    for one in tries:
                        self._counter.add(one, call.thread, process, program)

    def _resolver_at(self, line: str) -> Address | None:
        with self._lock:
            return self._counter.resolver_at(line)

    def _counts(self, address: Address, thread: int) -> bool:
        if address.is_file:
            # Do not count missing resolvers: libc always tries nscd first.
            return address.lookup and os.path.exists(f"/proc/{thread}/root{address.host}")
        return address.port != 0 and not (address.loopback and address.port in self._own_ports)


def _who(thread: int) -> str:
    process = process_tree.process_of(thread)
    return f"{process_tree.name(process)} (pid {process})"


def _test_filter(outcome: list[str]) -> None:
    """Append to `outcome` why calls of this thread cannot be counted, or "" if they can."""
    witness = Witness()
    try:
        witness.cover_this_thread()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect(("127.0.0.1", 9))  # UDP: nothing is sent
    except OSError as error:
        outcome.append(f"not permitted by the kernel or the container: {error.strerror}")
    else:
        outcome.append("" if witness.outbound == 1 else "the kernel lets calls through without a notification")
