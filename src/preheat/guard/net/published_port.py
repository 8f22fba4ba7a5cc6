"""Published port: make an app's loopback port reachable at the machine's other addresses too, as in a container."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Callable, Dict, List

from preheat.guard.kernel.descriptors import open_text
from preheat.guard.net.small_http import HttpReply, listen

if TYPE_CHECKING:
    from preheat.guard.net.port_relay import Front

_SIOCGIFADDR = 0x8915
_IF_INET6 = "/proc/net/if_inet6"
_GLOBAL_SCOPE = "00"


class PublishedPort:
    """Relay `port` of each address that is not loopback to the app on loopback, until `close`.

    Container engines forward a published port to the container's own address, where an app that listens only on
    127.0.0.1 is not reachable. An app that listens on all addresses holds them already, and nothing is relayed.
    `waiting` responds while the app does not accept connections.
    """

    def __init__(self, port: int, waiting: Callable[[str, str], HttpReply]) -> None:
        self._port = port
        self._waiting = waiting
        self._fronts: Dict[str, Front] = {}

    def open(self) -> None:
        """Listen on the addresses that the machine has now; call it when the app has become ready."""
        for address in addresses():
            if address in self._fronts:
                continue
            # EADDRINUSE: the app itself listens there.
            with suppress(OSError):
                listener = listen(address, self._port)
                # Only now: an app that listens on all addresses needs none of it.
                from preheat.guard.net.port_relay import Front

                self._fronts[address] = Front(address, self._port, self._waiting, listener=listener, target=self._port)

    def close(self) -> None:
        """Close the listening sockets and all connections."""
        for front in self._fronts.values():
            front.close()


def addresses() -> List[str]:
    """Return the machine's IPv4 and IPv6 addresses, without loopback and link-local ones."""
    return [*_ipv4(), *_ipv6()]


def _ipv4() -> List[str]:
    """Return the primary address of each interface: netdevice(7)."""
    import fcntl

    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without an IPv4 address
                reply = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found.append(socket.inet_ntoa(reply[20:24]))
    return [one for one in found if not one.startswith(("127.", "169.254."))]


def _ipv6() -> List[str]:
    found = []
    with suppress(OSError), open_text(_IF_INET6) as lines:
        for line in lines:
            digits, _, _, scope = line.split()[:4]
            if scope == _GLOBAL_SCOPE:
                found.append(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)))
    return found
