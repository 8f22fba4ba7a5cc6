"""Port relay: listen on the app's public port from the start, and relay each connection to an instance."""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import suppress
from typing import Callable, Dict, List

from preheat.guard.kernel.descriptors import raise_limit
from preheat.guard.model.wakeup import Ring, silent
from preheat.guard.net.relayed_end import RelayedEnd, connected
from preheat.guard.net.small_http import HttpReply, RequestThreads, listen

_CONNECT_S = 5.0
# When the app's queue of new connections is full: that of http.server takes 5, that of uvicorn 2048. The kernel would
# send a SYN again after 1 s, and then after 2 s.
_CONNECT_AGAIN_S = 0.1
# Descriptors for probes, the status address, the app's pipes, and connections above the limit.
_RESERVED = 256
_MOST_RELAYED = 16384
_MOST_HELD = 1024


class Front:
    """Relay connections, as raw bytes, to the instance set by `route`; with no instance, respond with `waiting`.

    A connection stays with its instance when the route changes. One thread copies all bytes. `reach` opens a connection
    to an instance's port; by default it connects to 127.0.0.1. `listener` already listens at the address; without it,
    raise OSError if the address is not available. `target` is the first route, for clients that are waiting already.
    """

    def __init__(
        self,
        host: str,
        port: int,
        waiting: Callable[[str, str], HttpReply],
        reach: Callable[[int], socket.socket] | None = None,
        listener: socket.socket | None = None,
        target: int | None = None,
    ) -> None:
        self._waiting = waiting
        self._reach = reach or _reach
        self._desk = RequestThreads()
        self._most = most_relayed()
        self._listener = listener or listen(host, port)
        self.port: int = self._listener.getsockname()[1]
        self._target = target
        self._lock = threading.Lock()
        self._counts: Dict[int, int] = {}
        self._ends: Dict[int, RelayedEnd] = {}
        self._arrived: List[RelayedEnd] = []
        self._epoll = select.epoll()
        self._closed = threading.Event()
        self._given: List[int] = []
        self._held: List[socket.socket] | None = None
        self._used_at = time.monotonic()
        self.on_held: Ring = silent
        threading.Thread(target=self._accept, name="front", daemon=True).start()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._epoll.register(self._woken, select.EPOLLIN)
        threading.Thread(target=self._relay, name="relay", daemon=True).start()

    def route(self, port: int | None) -> None:
        """Relay new connections to `port`, and those that are held; None sends the waiting response instead."""
        held: List[socket.socket] = []
        with self._lock:
            if port is not None and port != self._target:
                self._used_at = time.monotonic()
                held, self._held = self._held or [], None
            self._target = port
        if held and not self._start(self._serve_held, held):
            self._serve_held(held)

    def hold(self) -> bool:
        """Let new clients wait for the next `route`; return False, and change nothing, while there are connections."""
        with self._lock:
            if any(self._counts.values()):
                return False
            self._target, self._held = None, []
            return True

    def holds_clients(self) -> bool:
        """Return whether clients wait for the next `route`."""
        return bool(self._held)

    def unused_s(self) -> float:
        """Return the seconds since the last connection ended, or the last `route`; 0 while there is one."""
        with self._lock:
            return 0.0 if any(self._counts.values()) else time.monotonic() - self._used_at

    def connections(self, port: int) -> int:
        """Return the number of open connections to `port`."""
        with self._lock:
            return self._counts.get(port, 0)

    def free_port(self) -> int:
        """Return a free loopback port for an instance, not one of the last eight returned."""
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            if port not in self._given and port != self.port:
                self._given = [*self._given[-7:], port]
                return port

    def close(self) -> None:
        """Close the public port and all connections."""
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._held or ():
            client.close()
        with suppress(OSError):
            self._wake.send(b"!")

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                if self._closed.is_set():
                    return
                # Too many open files: retry accept when some connections may have closed.
                self._closed.wait(0.05)
                continue
            self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        target = self._count()
        if target is None:
            if not self._keep(client):
                self._desk.answer(client, self._waiting)
        elif not self._start(self._connect, client, target):
            self._uncount(target)
            client.close()

    def _serve_held(self, clients: List[socket.socket]) -> None:
        """Connect the clients that were held, one after another.

        Two at once could overflow the app's queue although each finds room: then the kernel tells the client that it is
        connected, and the app some seconds later.
        """
        for client in clients:
            target = self._count()
            if target is None:
                self._desk.answer(client, self._waiting)
            else:
                self._connect(client, target)

    @staticmethod
    def _start(act: Callable[..., None], *arguments: object) -> bool:
        """Call a function in a thread; return False if no thread can be started."""
        try:
            threading.Thread(target=act, args=arguments, daemon=True).start()
        except RuntimeError:
            return False
        return True

    def _keep(self, client: socket.socket) -> bool:
        """Let a client wait for the next `route`, if that is wanted; return whether it waits."""
        with self._lock:
            if self._held is None or len(self._held) >= _MOST_HELD:
                return False
            self._held.append(client)
        self.on_held()
        return True

    def _count(self) -> int | None:
        """Reserve one connection; return the port to connect to. None if there is none, or the limit is reached.

        Connections are counted before they are opened, so that an instance that drains does not end in between. Each
        one uses two descriptors, and the guard needs some to probe and restart its app.
        """
        with self._lock:
            port = self._target
            if port is None or sum(self._counts.values()) >= self._most:
                return None
            self._counts[port] = self._counts.get(port, 0) + 1
            self._used_at = time.monotonic()
            return port

    def _connect(self, client: socket.socket, target: int) -> None:
        try:
            server = self._reach(target)
        except OSError:
            self._uncount(target)
            self._desk.answer(client, self._waiting)
            return
        end = connected(client, server, target)
        with self._lock:
            self._arrived.append(end)
        with suppress(OSError):
            self._wake.send(b"!")

    def _uncount(self, port: int) -> None:
        with self._lock:
            self._counts[port] -= 1
            self._used_at = time.monotonic()

    def _relay(self) -> None:
        while not self._closed.is_set():
            for number, event in self._epoll.poll():
                if number == self._woken.fileno():
                    self._welcome()
                    continue
                end = self._ends.get(number)
                if end is not None:
                    self._move(end, event)
        for end in list(self._ends.values()):
            self._drop(end)
        self._epoll.close()
        self._wake.close()
        self._woken.close()

    def _welcome(self) -> None:
        with suppress(OSError):
            self._woken.recv(4096)
        with self._lock:
            arrived, self._arrived = self._arrived, []
        for one in arrived:
            for end in (one, one.other):
                self._ends[end.sock.fileno()] = end
                end.events = select.EPOLLIN
                self._epoll.register(end.sock, end.events)

    def _move(self, end: RelayedEnd, event: int) -> None:
        try:
            if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR) and not end.at_eof:
                end.read()
            if event & select.EPOLLOUT:
                end.write()
        except OSError:
            self._drop(end)
            return
        if end.shut_down and end.other.shut_down:
            self._drop(end)
            return
        for side in (end, end.other):
            self._listen_for(side)

    def _listen_for(self, end: RelayedEnd) -> None:
        events, number = end.wanted(), end.sock.fileno()
        if events != end.events and number in self._ends:
            # Unregister a socket with no wanted events: epoll reports a hang-up even with an empty event mask.
            if not events:
                self._epoll.unregister(number)
            elif not end.events:
                self._epoll.register(number, events)
            else:
                self._epoll.modify(number, events)
            end.events = events

    def _drop(self, end: RelayedEnd) -> None:
        for side in (end, end.other):
            number = side.sock.fileno()
            if self._ends.pop(number, None) is not None and side.events:
                self._epoll.unregister(number)
            side.sock.close()
        self._uncount(end.port)


def most_relayed() -> int:
    """Return the maximum number of relayed connections, after raising the limit of open files for them."""
    limit = raise_limit(2 * _MOST_RELAYED + _RESERVED)
    return max(16, min(_MOST_RELAYED, (limit - _RESERVED) // 2))


def _reach(port: int) -> socket.socket:
    until = time.monotonic() + _CONNECT_S - _CONNECT_AGAIN_S
    while time.monotonic() < until:
        with suppress(socket.timeout):
            return socket.create_connection(("127.0.0.1", port), _CONNECT_AGAIN_S)
    return socket.create_connection(("127.0.0.1", port), _CONNECT_AGAIN_S)
