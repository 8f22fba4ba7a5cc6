"""Names: a DNS server that knows an address for every name with a dot in it."""

import hashlib
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

SERVER = "100.79.0.53"
# nltk requires an address that is global by Python's list; 192.88.99.0/24 is one that nobody uses any more (RFC 7526).
_GLOBAL = {"raw.githubusercontent.com": "192.88.99.7"}
_FIRST_QUESTION = 12
_INTERNET, _SECONDS = 1, 60


def address_of(host: str) -> str:
    """Return the address of a host, always the same one."""
    first, second = hashlib.sha256(host.encode()).digest()[:2]
    return _GLOBAL.get(host, f"100.79.{1 + first % 200}.{1 + second % 250}")


def reply(query: bytes, heard: Callable[[str], None]) -> bytes:
    """Return the response to one query (RFC 1035 section 4); `heard` is called with the name."""
    at, labels = _FIRST_QUESTION, []
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size].decode("ascii").lower())
        at += 1 + size
    host, (kind,) = ".".join(labels), struct.unpack(">H", query[at + 1 : at + 3])
    heard(host)
    known = "." in host and not host.endswith(".local")
    records = b""
    if known and kind == _INTERNET:
        records = struct.pack(">HHHIH", 0xC00C, 1, 1, _SECONDS, 4) + socket.inet_aton(address_of(host))
    flags = 0x8180 if known else 0x8183
    head = query[:2] + struct.pack(">HHHHH", flags, 1, 1 if records else 0, 0, 0)
    return head + query[_FIRST_QUESTION : at + 5] + records


class NameServer:
    """Answers on UDP port 53 of SERVER until `close`; made in the network namespace where it serves."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        self._heard = heard
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((SERVER, 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                query, client = self._socket.recvfrom(4096)
                with suppress(ValueError, IndexError, struct.error):
                    self._socket.sendto(reply(query, self._heard), client)
