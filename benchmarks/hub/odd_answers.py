"""Odd answers: more faults of a hub: wrong ranges and encodings, limits of requests, silence."""

import gzip
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from benchmarks.hub.answers import Said
from benchmarks.hub.faulty import Delivery, Fault, HangUp, Times

_PAGE = b"<!doctype html><html><body><h1>Sign in</h1><p>This network needs you to sign in.</p></body></html>"


def always(send: Callable[[Delivery], None], path: str = "", times: int | None = None) -> Fault:
    """Respond like this for one file or all, this many times; correctly otherwise."""
    more = Times(times)

    def fault(delivery: Delivery) -> None:
        if (not path or delivery.path == path) and not delivery.is_head and more.again():
            return send(delivery)
        return delivery.honest()

    return fault


def for_seconds(send: Callable[[Delivery], None], seconds: float) -> Fault:
    """Respond like this for a time, from the first request on."""
    began: list[float] = []

    def fault(delivery: Delivery) -> None:
        began.append(time.monotonic())
        return send(delivery) if began[-1] - began[0] < seconds else delivery.honest()

    return fault


def with_headers(**headers: str | None) -> Callable[[Delivery], None]:
    """Send the right bytes with other headers; None removes one."""

    def send(delivery: Delivery) -> None:
        told = dict(delivery.said.headers)
        for name, value in headers.items():
            told.pop(name.replace("_", "-"), None)
            if value is not None:
                told[name.replace("_", "-")] = value
        delivery.send(replace(delivery.said, headers=told), delivery.body)

    return send


def shifted(delivery: Delivery) -> None:
    """Announce another range than the one that is sent."""
    start, stop = delivery.said.start + 1, delivery.said.stop + 1
    with_headers(Content_Range=f"bytes {start}-{stop - 1}/{stop + 7}")(delivery)


def of_size(more: int) -> Callable[[Delivery], None]:
    """Send more or fewer bytes of the file than requested, with a matching Content-Range."""

    def send(delivery: Delivery) -> None:
        said = delivery.said
        if said.status != 206 or said.entry is None:
            return delivery.honest()
        stop = max(said.start + 1, min(said.stop + more, said.entry.size))
        with open(said.entry.place, "rb") as file:
            file.seek(said.start)
            body = file.read(stop - said.start)
        told = {"Content-Length": str(len(body)), "Content-Range": f"bytes {said.start}-{stop - 1}/{said.entry.size}"}
        return delivery.send(replace(said, headers=said.headers | told), body)

    return send


def multipart(delivery: Delivery) -> None:
    """Send one range as a multipart body."""
    if delivery.said.status != 206:
        return delivery.honest()
    inner = f"--x\r\nContent-Range: {delivery.said.headers['Content-Range']}\r\n\r\n".encode()
    body = inner + delivery.body + b"\r\n--x--\r\n"
    told = {name: value for name, value in delivery.said.headers.items() if name != "Content-Range"}
    told |= {"Content-Type": "multipart/byteranges; boundary=x", "Content-Length": str(len(body))}
    return delivery.send(replace(delivery.said, headers=told), body)


def zipped(delivery: Delivery) -> None:
    """Compress the response, although that was not requested."""
    body = gzip.compress(delivery.body, 1)
    told = {"Content-Encoding": "gzip", "Content-Length": str(len(body))}
    delivery.send(replace(delivery.said, headers=delivery.said.headers | told), body)


def unmeasured(delivery: Delivery) -> None:
    """Send no Content-Length: the end of the connection is the end of the body."""
    with_headers(Content_Length=None, Connection="close")(delivery)
    raise HangUp


def chunked(delivery: Delivery) -> None:
    """Send the body in chunks."""
    pieces = [delivery.body[at : at + 50_000] for at in range(0, len(delivery.body), 50_000)]
    told = {name: value for name, value in delivery.said.headers.items() if name != "Content-Length"}
    body = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"
    delivery.send(replace(delivery.said, headers=told | {"Transfer-Encoding": "chunked"}), body)


def endless(delivery: Delivery) -> None:
    """Send zeros without end and without a length, at 20 MB/s."""
    with_headers(Content_Length=None, Connection="close")(delivery)
    while not delivery.hub.closing.wait(0.05):
        delivery.raw(bytes(1_000_000))
    raise HangUp


def zeros(delivery: Delivery) -> None:
    """Send zeros instead of the bytes."""
    delivery.send(delivery.said, bytes(len(delivery.body)))


def web_page(delivery: Delivery) -> None:
    """Send a web page, as a captive portal does."""
    delivery.send(Said(200, {"Content-Type": "text/html", "Content-Length": str(len(_PAGE))}), _PAGE)


def status(number: int, **headers: str) -> Callable[[Delivery], None]:
    """Refuse with a status."""
    told = {name.replace("_", "-"): value for name, value in headers.items()} | {"Content-Length": "0"}
    return lambda delivery: delivery.send(Said(number, told), b"")


def redirect(location: str) -> Callable[[Delivery], None]:
    """Send the client to another address."""
    return lambda delivery: delivery.send(Said(302, {"Location": location, "Content-Length": "0"}), b"")


def never(delivery: Delivery) -> None:
    """Send nothing."""
    delivery.hub.closing.wait()
    raise HangUp


def late(seconds: float) -> Callable[[Delivery], None]:
    """Send nothing for a time, and then the response."""

    def send(delivery: Delivery) -> None:
        delivery.hub.closing.wait(seconds)
        delivery.honest()

    return send


def dripping_head(delivery: Delivery) -> None:
    """Send the head, one byte every two seconds."""
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 400:
        delivery.raw(bytes((byte,)))
        if delivery.hub.closing.wait(2):
            break
    raise HangUp


def dripping(delivery: Delivery) -> None:
    """Send the body, one byte every two seconds."""
    delivery.slowly(delivery.said, delivery.body, 1, 2)


def garbage(delivery: Delivery) -> None:
    """Send bytes that are no HTTP."""
    delivery.raw(b"\x00\x01\x02 what? \r\n\r\n")
    raise HangUp


def empty(delivery: Delivery) -> None:
    """Send a success without a body."""
    delivery.send(Said(200, {"Content-Length": "0"}), b"")


def announced(delivery: Delivery) -> None:
    """Send an interim response first."""
    delivery.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    delivery.honest()


def cut_in_the_middle(delivery: Delivery) -> None:
    """Send half of the body, and hang up."""
    delivery.send(delivery.said, delivery.body[: len(delivery.body) // 2])
    raise HangUp


def bears(connections: int, *, reset: bool = False, refusal: int = 503) -> Fault:
    """Serve this many requests at a time; refuse or reset the others."""
    room = threading.Semaphore(connections)

    def fault(delivery: Delivery) -> None:
        if not room.acquire(blocking=False):
            return delivery.reset() if reset else status(refusal)(delivery)
        try:
            delivery.hub.closing.wait(0.1)
            return delivery.honest()
        finally:
            room.release()

    return fault


def quota(requests: int, window_s: float, *, says_when: bool) -> Fault:
    """Serve this many requests in each time window, and refuse more."""
    served: deque[float] = deque()
    turn = threading.Lock()

    def fault(delivery: Delivery) -> None:
        with turn:
            now = time.monotonic()
            while served and served[0] < now - window_s:
                served.popleft()
            granted = len(served) < requests
            if granted:
                served.append(now)
            left_s = 0 if granted else int(served[0] + window_s - now) + 1
        if granted:
            return delivery.honest()
        return status(429, **({"Retry_After": str(left_s)} if says_when else {}))(delivery)

    return fault


def every_second(send: Callable[[Delivery], None]) -> Fault:
    """Respond like this to every second request."""
    turn, count = threading.Lock(), 0

    def fault(delivery: Delivery) -> None:
        nonlocal count
        with turn:
            count += 1
            odd = count % 2
        return delivery.honest() if odd else send(delivery)

    return fault


def hang_up_hard(delivery: Delivery) -> None:
    """Reset the connection instead of responding."""
    delivery.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise HangUp
