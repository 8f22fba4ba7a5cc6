"""Address fence: blocks redirects from a hub into the user's private network."""

import ipaddress
import threading
from urllib.parse import urlsplit

from preheat.core.errors import HubError

PUBLIC = "public"
# Private networks that some versions of Python classify as public: Azure's host service, RFC 6890's protocol
# assignments (with Oracle Cloud's metadata service), RFC 3879's site-local, RFC 8215's and RFC 9602's.
_INSIDE = tuple(
    map(ipaddress.ip_network, ("168.63.129.16/32", "192.0.0.0/24", "fec0::/10", "64:ff9b:1::/48", "5f00::/16"))
)


class Fence:
    """Allow redirects from one endpoint only to public addresses and to addresses of the endpoint's own kind.

    Addresses are checked on the established connection, so DNS cannot return another address after the check.
    Thread-safe.
    """

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._host = (parts.hostname or "").lower()
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._kinds = {PUBLIC}
        self._own = ""
        self._turn = threading.Lock()

    def look(self, host: str, port: int) -> None:
        """Raise HubError if `host` is an IP address (or localhost) that is not allowed, before any connection is made.

        Through a proxy this is the only check, since the proxy resolves the names.
        """
        name = host.strip("[]").rstrip(".").lower()
        try:
            local = name == "localhost" or name.endswith(".localhost")  # RFC 6761 section 6.3
            address = "127.0.0.1" if local else str(ipaddress.ip_address(name))
        except ValueError:
            return  # a name: `check` is called with its address after connecting
        self.check(host, port, address)

    def check(self, host: str, port: int, address: str) -> None:
        """Raise HubError if `address`, which `host` resolved to, is not allowed."""
        kind = kind_of(address)
        with self._turn:
            if (host.strip("[]").rstrip(".").lower(), port) == (self._host.rstrip("."), self._port):
                # The endpoint's first kind is final: a later move to a private address is DNS rebinding.
                self._own = self._own or kind
                if kind == self._own:
                    self._kinds.add(kind)
            if kind in self._kinds:
                return
        raise HubError(
            f"{self._host} leads to {host}:{port}, which is a {kind} address: refused",
            hint="do not trust this hub, or use that address as the --endpoint if it is yours",
        )


def kind_of(address: str) -> str:
    """Return `loopback`, `link-local`, `public` or `private`, which includes all other addresses (RFC 6890)."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "private"
    if any(ip in net for net in _INSIDE if net.version == ip.version):
        return "private"
    if isinstance(ip, ipaddress.IPv6Address):
        # IPv4 addresses embedded in IPv6 ones: RFC 4291 section 2.5.5, RFC 6052, RFC 3056, RFC 4380.
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
