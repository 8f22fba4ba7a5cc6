"""Host check: detect requests that name a public host, for mirrors that only this machine can reach; pure.

A web page can make its own name resolve to 127.0.0.1 (DNS rebinding), and could then read the mirror through a browser
on this machine. The Host header of such a request is the page's.
"""

import ipaddress
import re
from collections.abc import Collection

# Names that cannot be registered: RFC 6761, RFC 6762, RFC 8375, and ICANN's reserved `internal`.
_LOCAL = (".localhost", ".local", ".internal", ".test", ".home.arpa")


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach a listening address or name."""
    if address in ("localhost", ""):
        return address == "localhost"
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def is_foreign(host: str, names: Collection[str] = ()) -> bool:
    """Return whether a Host header is a public DNS name, and not one of `names`.

    An IP address cannot be rebound, nor can a name without a dot.
    """
    name = re.sub(r":[0-9]*$", "", host.strip().lower()) if not host.startswith("[") else ""
    name = name.removesuffix(".")
    if "." not in name or name.endswith(_LOCAL) or name in {one.lower() for one in names}:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return True
    return False
