"""Connections: observes where an app and all its children connect, and which names they look up.

It counts attempts, not packets: each connect(2), and each sendto(2), sendmsg(2), sendmmsg(2) that names an address,
whatever comes of it; and each lookup of a name. Where a resolver is asked by DNS on port 53, unencrypted, or by the
socket of systemd-resolved, nscd or Avahi, the lookup has the name, read from what the app sends, and counts once each
time that the name is asked for; else the connection to the resolver counts. It does not see what runs as 32-bit code,
nor what a name in /etc/hosts resolves to, since nobody is asked; DNS over HTTPS is a connection like others.
A signal that comes while a call waits to be looked at (some 20 us) ends the call with EINTR before it is made, unless
its handler has SA_RESTART; such a call is not counted.
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
from preheat.guard.witness.syscall_target import Inquiry, inquiries, needs_no_look

__all__ = ["Attempt", "Availability", "Witness"]

_TRIED_S = 10.0


@dataclass(frozen=True)
class Availability:
    """Whether calls can be counted here, and what is in the way when not."""

    reason: str

    def __bool__(self) -> bool:
        return not self.reason


class Witness:
    """Count what the programs started from its threads try to reach; one witness may see several starts.

    `own_ports` are the app's own: calls to them on this machine are not counted. Nor is port 0, which nobody can
    listen on: getaddrinfo(3) asks the kernel with it which of several addresses it would prefer, and sends nothing.
    """

    def __init__(self, own_ports: Iterable[int] = ()) -> None:
        self._own_ports = frozenset(own_ports)
        self._lock = threading.Lock()
        self._tally = ConnectionCounts()  # with the lock held
        self._blind_spots: dict[str, None] = {}
        self._answering: list[threading.Thread] = []

    @staticmethod
    def available() -> Availability:
        """Try it, on a thread of its own, with a call that goes nowhere."""
        if not seccomp.supported():
            return Availability("only 64-bit Linux on x86-64 and ARM can count calls")
        outcome: list[str] = []
        thread = threading.Thread(target=_try_out, args=(outcome,), name="witness-trial", daemon=True)
        thread.start()
        thread.join(_TRIED_S)
        return Availability(outcome[0] if outcome else "the kernel stops calls and does not say so")

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """List what was tried, in the order of the first tries."""
        with self._lock:
            return self._tally.attempts

    @property
    def outbound(self) -> int:
        """Count all tries, lookups included."""
        return sum(attempt.count for attempt in self.attempts)

    @property
    def lookups(self) -> int:
        """Count the tries that ask for names."""
        return sum(attempt.count for attempt in self.attempts if attempt.lookup)

    @property
    def blind_spots(self) -> tuple[str, ...]:
        """Say in words what could not be seen; while there is any, a count of 0 proves nothing."""
        with self._lock:
            return tuple(self._blind_spots)

    def cover_this_thread(self) -> None:
        """See all that the calling thread starts from now on. Raise OSError where that cannot be.

        It lasts as long as the thread, so give it one of its own, for one start.
        """
        # The listener lies in this process, for threads share their files, and the filter in this thread alone: no
        # descriptor needs to be brought out of the child, and none of our other threads is ever stopped. Who answers
        # is started before, or it would have the filter too and wait for itself.
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
        """Wait until all that was seen has ended; what outlives this goes on being answered, and counted."""
        deadline = time.monotonic() + within_s
        for thread in tuple(self._answering):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _answer(self, listeners: SimpleQueue[int | None]) -> None:
        listener = listeners.get()
        if listener is None:
            return
        # An app waits for each answer: no signal of ours shall come between.
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
                else:  # POLLHUP: nobody is left who could call (Linux 5.9 on)
                    return
        finally:
            os.close(listener)

    def _attend(self, listener: int, call: seccomp.Call) -> None:
        tries: list[Inquiry] = []
        moved, blind, process, program = "", "", 0, ""
        try:
            # Most that an app sends and writes goes to no resolver.
            if not needs_no_look(call) or self._tally.waits:
                tries, moved = inquiries(call, self._resolver_at, lambda address: self._counts(address, call.thread))
            if tries:
                process = process_tree.process_of(call.thread)
                program = process_tree.name(process)
            if call.name == "io_uring_setup":
                blind = f"{_who(call.thread)} opened an io_uring, whose connections are not seen"
        except OSError:
            # When it died, nobody waits any more, and this is not kept.
            blind = f"{_who(call.thread)} does not let its calls be read"
        finally:
            # Whoever sees the app go on, or end, sees the count too: it is kept under the lock that letting go is.
            with self._lock:
                # A call that a signal or death took back comes again, or never: it is not counted now. That it could
                # be let go proves that what was read meanwhile was its own thread's, not a successor's.
                if seccomp.let_go(listener, call):
                    if blind:
                        self._blind_spots[blind] = None
                    if moved:
                        self._tally.forget(moved)
                    for one in tries:
                        self._tally.add(one, call.thread, process, program)

    def _resolver_at(self, line: str) -> Address | None:
        with self._lock:
            return self._tally.resolver_at(line)

    def _counts(self, address: Address, thread: int) -> bool:
        if address.is_file:
            # A resolver that is not there is not asked: programs try nscd by habit.
            return address.lookup and os.path.exists(f"/proc/{thread}/root{address.host}")
        return address.port != 0 and not (address.loopback and address.port in self._own_ports)


def _who(thread: int) -> str:
    process = process_tree.process_of(thread)
    return f"{process_tree.name(process)} (pid {process})"


def _try_out(outcome: list[str]) -> None:
    """Say in `outcome` what keeps this thread's calls from being counted, empty when nothing does."""
    witness = Witness()
    try:
        witness.cover_this_thread()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect(("127.0.0.1", 9))  # UDP: nothing is sent
    except OSError as error:
        outcome.append(f"the kernel or the container does not permit it: {error.strerror}")
    else:
        outcome.append("" if witness.outbound == 1 else "calls are let through without being told")
