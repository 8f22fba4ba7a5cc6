"""Address fence: which addresses a hub may redirect to; keeps it out of the user's private network."""

import ipaddress
import threading
from urllib.parse import urlsplit

from preheat.core.errors import HubError

PUBLIC = "public"
# Some versions of Python call these public: Azure's service at each machine, RFC 6890's protocol assignments, where
# Oracle's cloud has its metadata, RFC 3879's site-local, RFC 8215's and RFC 9602's.
_INSIDE = tuple(
    map(ipaddress.ip_network, ("168.63.129.16/32", "192.0.0.0/24", "fec0::/10", "64:ff9b:1::/48", "5f00::/16"))
)


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
        self._own = ""
        self._turn = threading.Lock()

    def look(self, host: str, port: int) -> None:
        """Raise HubError for what is an address already, and one that nobody may lead to: it is not even knocked at.

        That is all that can be said of what a proxy looks up.
        """
        name = host.strip("[]").rstrip(".").lower()
        try:
            local = name == "localhost" or name.endswith(".localhost")  # RFC 6761 section 6.3
            address = "127.0.0.1" if local else str(ipaddress.ip_address(name))
        except ValueError:
            return  # a name: where it leads is seen when it is reached
        self.check(host, port, address)

    def check(self, host: str, port: int, address: str) -> None:
        """Take in that `host` and `port` turned out to be `address`; raise HubError if nobody may lead there."""
        kind = kind_of(address)
        with self._turn:
            if (host.strip("[]").rstrip(".").lower(), port) == (self._host.rstrip("."), self._port):
                # What it was at first, it stays: a name that moves inside later on is one of DNS rebinding.
                self._own = self._own or kind
                if kind == self._own:
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
    if any(ip in net for net in _INSIDE if net.version == ip.version):
        return "private"
    if isinstance(ip, ipaddress.IPv6Address):
        # The same machine by another name: RFC 4291 section 2.5.5, RFC 6052, RFC 3056, RFC 4380.
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if ip in ipaddress.ip_network("::/96") and int(ip) > 1:  # RFC 4291 section 2.5.5.1
            inner = ipaddress.IPv4Address(int(ip))
        if inner is not None:
            return kind_of(str(inner))
    if ip.is_loopback or ip.is_unspecified:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    return PUBLIC if ip.is_global and not ip.is_multicast else "private"
