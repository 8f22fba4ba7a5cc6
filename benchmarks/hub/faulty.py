"""Faulty: a hub with one fault, on real sockets."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from benchmarks.hub.answers import Said, say
from benchmarks.hub.asking import Asked, asked, head
from benchmarks.hub.repo import Repo
from tests.authority import authority

_SIGNED_FOR_S = 2.0


class HangUp(Exception):
    """The hub closes the connection here."""


class Delivery:
    """A response about to be sent, which a fault may change."""

    def __init__(self, hub: "FaultyHub", connection: socket.socket, asked: Asked, said: Said) -> None:
        self.hub = hub
        self.asked = asked
        self.said = said
        self.connection = connection
        self.body = said.body
        if said.entry is not None:
            with open(said.entry.place, "rb") as file:
                file.seek(said.start)
                self.body = file.read(said.stop - said.start)

    @property
    def path(self) -> str:
        """The file of the response, if any."""
        return self.said.entry.path if self.said.entry else ""

    @property
    def is_head(self) -> bool:
        """Whether the request was HEAD."""
        return self.asked.method == "HEAD"

    def honest(self) -> None:
        """Send the right response."""
        self.send(self.said, self.body)

    def send(self, said: Said, body: bytes) -> None:
        """Send this response instead."""
        self.connection.sendall(head(said) + (b"" if self.is_head else body))

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.connection.sendall(data)

    def slowly(self, said: Said, body: bytes, rate: int, step: int) -> None:
        """Send the response at `rate` bytes per second, `step` bytes at a time."""
        self.connection.sendall(head(said))
        for at in range(0, len(body), step):
            self.connection.sendall(body[at : at + step])
            if self.hub.closing.wait(step / rate):
                raise HangUp

    def reset(self) -> None:
        """Reset the connection, like a crashed middlebox."""
        time.sleep(0.2)  # what was sent should have arrived
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise HangUp


Fault = Callable[[Delivery], None]


class FaultyHub:
    """Serves a repo with a fault, inside a `with`; it sends all answers that bring a file, `documents` the others."""

    def __init__(self, repo: Repo, fault: Fault, documents: Fault | None = None, *, tls: bool = False) -> None:
        self._tls = authority().context if tls else None
        self._repo = repo
        self._fault = fault
        self._documents = documents or Delivery.honest
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listening.getsockname()[1]
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """The URL where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def scheme(self) -> str:
        """`https` if it uses TLS."""
        return "http" if self._tls is None else "https"

    def __enter__(self) -> "FaultyHub":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.closing.set()
        for connection in (self._listening, *self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def go_away(self, seconds: float) -> None:
        """Reset all connections, refuse new ones, and return after a time."""
        for connection in (self._listening, *self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        if not self.closing.wait(seconds):
            self._listening = socket.create_server(("127.0.0.1", self.port), backlog=256)
            threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        listening = self._listening
        with contextlib.suppress(OSError):
            while not self.closing.is_set():
                connection, _ = listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(HangUp, OSError, ValueError), connection, self._spoken(connection) as line:
            self._connections.add(line)
            for one in asked(line):
                self._answer(line, one)

    def _spoken(self, connection: socket.socket) -> contextlib.AbstractContextManager[socket.socket]:
        if self._tls is None:
            return contextlib.nullcontext(connection)
        return self._tls.wrap_socket(connection, server_side=True)

    def _answer(self, connection: socket.socket, one: Asked) -> None:
        if one.target.startswith("/signed/"):
            _, _, until, target = one.target.split("/", 3)
            if time.time() > float(until):
                return Delivery(self, connection, one, Said(403, {"Content-Length": "0"})).honest()
            return _in_pieces(Delivery(self, connection, one, say(self._one, f"/{target}", one.headers)))
        delivery = Delivery(self, connection, one, say(self._one, one.target, one.headers))
        return self._fault(delivery) if delivery.path else self._documents(delivery)

    @property
    def _one(self) -> dict[str, Repo]:
        return {self._repo.name: self._repo}


class Times:
    """How often a fault still occurs."""

    def __init__(self, times: int | None) -> None:
        self._left = times
        self._turn = threading.Lock()

    def again(self) -> bool:
        with self._turn:
            if self._left is None:
                return True
            self._left -= 1
            return self._left >= 0


def cuts(path: str, after: int, times: int | None, *, reset: bool = False) -> Fault:
    """Close the connection after `after` bytes of each longer response."""
    more = Times(times)

    def fault(delivery: Delivery) -> None:
        if delivery.path == path and not delivery.is_head and len(delivery.body) > after and more.again():
            delivery.send(delivery.said, delivery.body[:after])
            if reset:
                delivery.reset()
            raise HangUp
        delivery.honest()

    return fault


def stalls(path: str, after: int, times: int | None) -> Fault:
    """Stop sending after some bytes, and keep the connection open."""
    more = Times(times)

    def fault(delivery: Delivery) -> None:
        if delivery.path == path and not delivery.is_head and more.again():
            delivery.send(delivery.said, delivery.body[: min(after, len(delivery.body) // 2)])
            delivery.hub.closing.wait()
            raise HangUp
        delivery.honest()

    return fault


def drips(path: str, times: int | None) -> Fault:
    """Send ten bytes per second: never silent, never complete."""
    more = Times(times)

    def fault(delivery: Delivery) -> None:
        if delivery.path == path and not delivery.is_head and more.again():
            return delivery.slowly(delivery.said, delivery.body, 10, 2)
        return delivery.honest()

    return fault


def flips(path: str, place: int, times: int | None) -> Fault:
    """Flip one bit."""
    more = Times(times)

    def fault(delivery: Delivery) -> None:
        at = place - delivery.said.start
        if delivery.path == path and not delivery.is_head and 0 <= at < len(delivery.body) and more.again():
            turned = bytearray(delivery.body)
            turned[at] ^= 1
            return delivery.send(delivery.said, bytes(turned))
        return delivery.honest()

    return fault


def shortens(path: str, size: int) -> Fault:
    """Send a file without its end, with a matching Content-Length."""

    def fault(delivery: Delivery) -> None:
        if delivery.path != path or delivery.is_head:
            return delivery.honest()
        entry = delivery.said.entry
        assert entry is not None
        stop = min(delivery.said.stop, entry.size - size)
        if stop <= delivery.said.start:
            told = {"Content-Range": f"bytes */{entry.size - size}", "Content-Length": "0"}
            return delivery.send(Said(416, told), b"")
        body = delivery.body[: stop - delivery.said.start]
        return delivery.send(_told(delivery.said, len(body), entry.size - size), body)

    return fault


def lengthens(path: str, size: int) -> Fault:
    """Send a file with more bytes than listed."""

    def fault(delivery: Delivery) -> None:
        entry = delivery.said.entry
        if delivery.path != path or delivery.is_head or entry is None or delivery.said.stop < entry.size:
            return delivery.honest()
        body = delivery.body + bytes(size)
        return delivery.send(_told(delivery.said, len(body), entry.size + size), body)

    return fault


def refuses(times: int, status: int, **headers: str) -> Fault:
    """Refuse the first requests for files."""
    more = Times(times)
    told = {name.replace("_", "-"): value for name, value in headers.items()} | {"Content-Length": "0"}

    def fault(delivery: Delivery) -> None:
        if more.again():
            return delivery.send(Said(status, told), b"")
        return delivery.honest()

    return fault


def knows_no_ranges(delivery: Delivery) -> None:
    """Send the whole file, whatever range was requested."""
    whole = say(delivery.hub._one, delivery.asked.target, {**delivery.asked.headers, "range": ""})
    whole.headers.pop("Accept-Ranges")
    Delivery(delivery.hub, delivery.connection, delivery.asked, whole).honest()


def redirects_to_itself(delivery: Delivery) -> None:
    """Redirect the client in a loop."""
    delivery.send(Said(302, {"Location": f"{delivery.hub.url}{delivery.asked.target}", "Content-Length": "0"}), b"")


def signs(delivery: Delivery) -> None:
    """Redirect the client, for weights, to an address on another host that is valid for two seconds."""
    if delivery.said.entry is None or not delivery.said.entry.is_lfs:
        return delivery.honest()
    kept = {name: value for name, value in delivery.said.headers.items() if name.startswith(("X-", "ETag"))}
    signed = f"/signed/{time.time() + _SIGNED_FOR_S}{delivery.asked.target}"
    location = f"{delivery.hub.scheme}://localhost:{delivery.hub.port}{signed}"
    return delivery.send(Said(302, {**kept, "Location": location, "Content-Length": "0"}), b"")


def _in_pieces(delivery: Delivery) -> None:
    """Send at 2 MB/s, and no more than 4 MB at a time, so that a signature does not outlive a large file."""
    if delivery.is_head:
        return delivery.honest()
    delivery.slowly(delivery.said, delivery.body[: 4 << 20], 2_000_000, 100_000)
    if len(delivery.body) > 4 << 20:
        raise HangUp
    return None


def _told(said: Said, length: int, size: int) -> Said:
    headers = said.headers | {"Content-Length": str(length)}
    if said.status == 206:
        headers["Content-Range"] = f"bytes {said.start}-{said.start + length - 1}/{size}"
    return replace(said, headers=headers)
