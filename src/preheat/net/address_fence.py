"""Address fence: blocks redirects from a hub into the user's private network."""

import ipaddress
import socket
import threading
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from preheat.core.errors import HubError
from preheat.net.happy_eyeballs import Address

PUBLIC = "public"
_LOOPBACK, _LINK_LOCAL, _PRIVATE = "loopback", "link-local", "private"
# Everything else is public, in IPv6 only within _GLOBAL. From the IANA registries of special-purpose addresses
# (iana-ipv4-special-registry, iana-ipv6-special-registry, multicast) as of 2025, and two cloud services' own addresses.
# The standard library's is_global has other entries in each version of Python.
_SPECIAL = {
    _LOOPBACK: ("0.0.0.0/32", "127.0.0.0/8", "::/128", "::1/128"),
    _LINK_LOCAL: ("169.254.0.0/16", "fe80::/10"),
    _PRIVATE: (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16",
        "168.63.129.16/32",  # Azure's host service
        "192.0.0.0/24",  # RFC 6890, with Oracle Cloud's metadata service at 192.0.0.192
        "192.88.99.0/24",  # RFC 7526, relays of 6to4
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15",  # documentation, benchmarks
        "224.0.0.0/4", "240.0.0.0/4",
        "2001::/23",  # RFC 2928: protocol assignments, benchmarks, ORCHID
        "2001:db8::/32", "3fff::/20",  # documentation
    ),
}  # fmt: skip
_NETWORKS = [
    (ipaddress.ip_network(read_start), kind) for kind, all_words in _SPECIAL.items() for read_start in all_words
]
_GLOBAL = ipaddress.IPv6Network("2000::/3")
# IPv6 addresses that a gateway or the kernel translates to the IPv4 address in their last 32 bits: RFC 4291 sections
# 2.5.5.1 and 2.5.5.2, RFC 2765 (IPv4-translated), RFC 6052.
_TRANSLATED = tuple(map(ipaddress.IPv6Network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
_ISATAP = frozenset((0x0000_5EFE, 0x0200_5EFE))  # RFC 5214 section 6.1


class Fence:
    """Decide where an endpoint may redirect to: to public addresses, and to addresses of the endpoint's own kinds.

    A host's addresses are checked each time its name is resolved, before the connection: DNS cannot return another
    address after the check. Thread-safe.
    """

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._host = (parts.hostname or "").lower()
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._own: frozenset[str] = frozenset()
        self._turn = threading.Lock()

    def check_host(self, host: str, port: int) -> None:
        """Raise HubError if `host` is an IP address (or localhost) that is not allowed.

        With a proxy, which resolves names itself, this is the only check.
        """
        name = _plain(host)
        try:
            local = name == "localhost" or name.endswith(".localhost")  # RFC 6761 section 6.3
            address = "127.0.0.1" if local else _address(name)
        except (ValueError, OSError):
            return  # a name: `sift` is called with its addresses before connecting
        self.check(host, port, address)

    def check(self, host: str, port: int, address: str) -> None:
        """Raise HubError if `address`, which `host` resolved to, is not allowed."""
        self._require(host, port, [kind_of(address)])

    def sift(self, host: str, port: int, addresses: Sequence[Address]) -> list[Address]:
        """Return the allowed ones of the `addresses` of `host`; raise HubError if all are forbidden."""
        kinds = [kind_of(str(place[0])) for _, place in addresses]
        allowed = self._require(host, port, kinds)
        return [one for one, kind in zip(addresses, kinds, strict=True) if kind in allowed]

    def _require(self, host: str, port: int, kinds: Sequence[str]) -> frozenset[str]:
        """Return the kinds of address that `host` may have; raise HubError if none of its `kinds` is among them."""
        with self._turn:
            own = (_plain(host), port) == (self._host.rstrip("."), self._port)
            if own and not self._own:
                # The endpoint's first kinds are final: a later move to a private address is DNS rebinding.
                self._own = _own_kinds(kinds)
            # An endpoint with a public address must not redirect to private ones, which are in the user's network.
            others = self._own if PUBLIC not in self._own else frozenset()
        allowed = frozenset((PUBLIC,)) | (self._own if own else others)
        if kinds and allowed.isdisjoint(kinds):
            raise HubError(
                f"{self._host} leads to {host}:{port}, which is a {kinds[0]} address: refused",
                hint="do not trust this hub, or use that address as the --endpoint if it is yours",
            )
        return allowed


def _own_kinds(kinds: Iterable[str]) -> frozenset[str]:
    """Return the kinds of an endpoint's addresses; if one is public, loopback and link-local ones do not count."""
    found = frozenset(kinds)
    return found - {_LOOPBACK, _LINK_LOCAL} if PUBLIC in found else found


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _address(name: str) -> str:
    """Return an IP address in its usual form. Raise ValueError or OSError for a name."""
    try:
        return str(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        # The forms of inet_aton(3), such as 127.1 and 0x7f000001, which resolvers accept too.
        return socket.inet_ntoa(socket.inet_aton(name))


def kind_of(address: str) -> str:
    """Return `loopback`, `link-local`, `public` or `private`, which includes all other special addresses."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return _PRIVATE
    if isinstance(ip, ipaddress.IPv6Address) and int(ip) > 1 and (inner := _embedded(ip)):
        kinds = [kind_of(str(one)) for one in inner]
        return next((kind for kind in kinds if kind != PUBLIC), PUBLIC)
    found = next((kind for net, kind in _NETWORKS if ip in net), PUBLIC)
    return _PRIVATE if found == PUBLIC and ip.version == 6 and ip not in _GLOBAL else found


def _embedded(ip: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses that packets to an IPv6 address may be sent to."""
    last = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    if ip.sixtofour is not None:  # RFC 3056
        return [ip.sixtofour]
    if ip.teredo is not None:  # RFC 4380
        return list(ip.teredo)
    if any(ip in net for net in _TRANSLATED) or (int(ip) >> 32 & 0xFFFF_FFFF) in _ISATAP:
        return [last]
    return []
