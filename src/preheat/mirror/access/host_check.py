"""Hosts: by which names a mirror that only this machine can reach is asked; pure.

A web page anywhere can have its own name point to 127.0.0.1 (DNS rebinding), and a browser here would then read the
mirror for it. Such a request names the page's host.
"""

import ipaddress
import re
from collections.abc import Collection

# Names that nobody can register: RFC 6761, RFC 6762, RFC 8375, and ICANN's reserved `internal`.
_LOCAL = (".localhost", ".local", ".internal", ".test", ".home.arpa")


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address or name that is listened on."""
    if address in ("localhost", ""):
        return address == "localhost"
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def is_foreign(host: str, names: Collection[str] = ()) -> bool:
    """Whether a request's Host is a name in the public DNS, and none of `names`.

    An address cannot be made to point elsewhere, nor can a name without a dot.
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
