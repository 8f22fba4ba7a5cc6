"""Proxies: choose the proxy for a request from the `*_proxy` variables, and parse its address."""

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlsplit

from preheat.core.errors import UsageError

# GNOME's settings write `socks://`. The proxy resolves names, since some are known only in its network.
_SCHEMES = {"http": 80, "https": 443, "socks": 1080, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_SOCKS = "socks"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy from the environment variable `variable`. Its `url` contains no password and may be printed."""

    scheme: str
    host: str
    port: int
    variable: str
    user: str = ""
    password: str = ""

    @property
    def url(self) -> str:
        """Return its address without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_socks(self) -> bool:
        """Whether it is a SOCKS proxy and not an HTTP proxy."""
        return self.scheme.startswith(_SOCKS)

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers with the credentials for an HTTP proxy (RFC 7617, in UTF-8); empty without any."""
        if not self.user and not self.password:
            return {}
        shown = base64.b64encode(f"{self.user}:{self.password}".encode("utf-8", "surrogateescape")).decode("ascii")
        return {"Proxy-Authorization": f"Basic {shown}"}


def choose(url: str, proxies: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for `url`, None for a direct connection.

    `proxies` maps `http`, `https`, `all` and `no` to the values of the variables `http_proxy` … `no_proxy`. Raise
    UsageError if the value is not a proxy's address.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    kind = scheme if proxies.get(scheme) else "all"
    read_start = proxies.get(kind, "").strip()
    if not read_start or bypasses(parts.hostname or "", parts.port or _SCHEMES.get(scheme, 0), proxies.get("no", "")):
        return None
    return read_proxy(read_start, f"{kind}_proxy")


def read_proxy(read_start: str, variable: str) -> Proxy:
    """Parse a proxy's address; the scheme is optional, a user and a password may be percent-encoded.

    Raise UsageError if it is invalid; the message does not contain the password.
    """
    before, separator, rest = read_start.partition("://")
    scheme = before.lower() if separator else "http"
    rest = rest if separator else read_start.removeprefix("//")
    if scheme not in _SCHEMES:
        # The message omits the scheme, as it may be part of a password.
        raise UsageError(
            f"{variable} does not name a proxy of a supported kind",
            hint=f"{variable}=http://HOST:PORT, or with https://, socks5:// or socks5h://",
        )
    login, _, place = rest.rpartition("@")
    place = re.split(r"[/?#]", place, maxsplit=1)[0]
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%[^\]]+)?)\]|([^\s:\[\]]+))(?::(\d{0,5}))?", place)
    port = int(found[3] or _SCHEMES[scheme]) if found else 0
    if found is None or not 1 <= port <= 65535:
        raise UsageError(f"{variable} does not contain a valid address: {place!r}", hint=f"{variable}=http://HOST:PORT")
    user, _, password = login.partition(":")
    scheme = "socks5h" if scheme == _SOCKS else scheme
    return Proxy(scheme, found[1] or found[2], port, variable, unquote(user), unquote(password))


def bypasses(host: str, port: int, no_proxy: str) -> bool:
    """Whether `no_proxy` matches a host: by host name, domain suffix, pattern, IP address or network.

    Supports the syntax of curl, requests and Go: entries are separated by commas or spaces, and may have a port, a
    leading dot or brackets; `*` alone matches every host. Case is ignored.
    """
    host = host.strip("[]").rstrip(".").lower()
    address = _address(host.partition("%")[0])
    for entry in re.split(r"[,\s]+", no_proxy.lower()):
        if entry == "*":
            return True
        if not entry:
            continue
        name, wanted = _split(entry)
        if wanted not in (None, port):
            continue
        net = _net(name)
        if net is not None:
            if address is not None and address in net:
                return True
            continue
        name = name.rstrip(".").removeprefix("*").lstrip(".") if "*" not in name[1:] else name.rstrip(".")
        if name and (host == name or host.endswith(f".{name}") or ("*" in name and fnmatchcase(host, name))):
            return True
    return False


def _split(entry: str) -> tuple[str, int | None]:
    """Split an entry into its host or network, and its port."""
    if found := re.fullmatch(r"\[([^\]]*)\](?::(\d{1,5}))?", entry):
        return found[1], int(found[2]) if found[2] else None
    if found := re.fullmatch(r"([^:]*):(\d{1,5})", entry):
        return found[1], int(found[2])
    return entry, None


def _address(read_start: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(read_start)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _net(read_start: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(read_start, strict=False)
    except ValueError:
        return None
