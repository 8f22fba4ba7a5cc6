"""Fence: which addresses a hub may lead to. It keeps a far hub from having us ask what only we can reach."""

import ipaddress
import threading
from urllib.parse import urlsplit

from preheat.errors import HubError

PUBLIC = "public"


class Fence:
    """Around one endpoint: from there, redirects lead to public addresses, or to those of the endpoint's own kind.

    Addresses are looked at when a connection is made, so that no name can mean one thing when it is checked and
    another when it is used. Threads may share it.
    """

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._host = (parts.hostname or "").lower()
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._kinds = {PUBLIC}
        self._turn = threading.Lock()

    def look(self, host: str, port: int) -> None:
        """Raise HubError for what is an address already, and one that nobody may lead to: it is not even knocked at."""
        try:
            address = str(ipaddress.ip_address(host.strip("[]")))
        except ValueError:
            return  # a name: where it leads is seen when it is reached
        self.check(host, port, address)

    def check(self, host: str, port: int, address: str) -> None:
        """Take in that `host` and `port` turned out to be `address`; raise HubError if nobody may lead there."""
        kind = kind_of(address)
        with self._turn:
            if (host.strip("[]").rstrip(".").lower(), port) == (self._host.rstrip("."), self._port):
                self._kinds.add(kind)
            if kind in self._kinds:
                return
        raise HubError(
            f"{self._host} leads to {host}:{port}, which is a {kind} address: refused",
            hint="a hub outside has no business there; do not trust it, or name that address as the endpoint",
        )


def kind_of(address: str) -> str:
    """Say `loopback`, `link-local`, `private` or `public`; what is none of the last is private (RFC 6890)."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "private"
    if isinstance(ip, ipaddress.IPv6Address):
        # The same machine by another name: RFC 4291 section 2.5.5, RFC 6052, RFC 3056, RFC 4380.
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return kind_of(str(inner))
    if ip.is_loopback or ip.is_unspecified:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    return PUBLIC if ip.is_global and not ip.is_multicast else "private"
