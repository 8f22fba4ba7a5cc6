"""Response parsing: headers and errors of registries; pure (OCI distribution specification 1.1)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from preheat.core.errors import TARGET, ImageError

# Possessive, and a name only where one begins: in time linear in the header's length.
_PAIR = re.compile(r'(?<![A-Za-z0-9_-])([A-Za-z0-9_-]{1,64}+)\s{0,8}+=\s{0,8}+(?:"((?:[^"\\]|\\.)*+)"|([^\s,"]++))')
_LONGEST_HEADER = 16_384


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a registry wants to be shown: `basic`, or `bearer` with where tokens are given out (RFC 9110, 11.6.1)."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def read_challenge(header: str) -> Challenge | None:
    """Read a WWW-Authenticate header; None for what is not understood."""
    scheme, _, rest = header[:_LONGEST_HEADER].strip().partition(" ")
    said = {name.lower(): quoted or bare for name, quoted, bare in _PAIR.findall(rest)}
    try:
        urlsplit(said.get("realm", "")).port  # noqa: B018 - raises where it is none
    except ValueError:
        return None
    if scheme.lower() == "bearer" and said.get("realm"):
        return Challenge("bearer", said["realm"], said.get("service", ""), said.get("scope", ""))
    return Challenge("basic") if scheme.lower() == "basic" else None


def read_errors(body: bytes) -> str:
    """Say in one line what a registry's error document says; empty where there is none."""
    try:
        listed = json.loads(body)["errors"]
        said = [str(one.get("message") or one.get("code") or "") for one in listed]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return "; ".join(dict.fromkeys(word for word in said if word))[:300]


def read_offset(header: str) -> int | None:
    """Read how many bytes of an upload have arrived from its Range header, `0-1023`.

    distribution, the registry that most are made from, says `0-0` when there are none; that it may be one is no loss.
    """
    found = re.fullmatch(r"(?:bytes=)?0-(-?[0-9]{1,18})", header.strip())
    last = 0 if found is None else int(found[1])
    return None if found is None else last + 1 if last > 0 else 0


def with_query(url: str, **more: str) -> str:
    """Add to a URL's query; what is there may be signed, and stays as it is."""
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(more)) if part)
    return urlunsplit(parts._replace(query=query))


def resolved(url: str, location: str) -> str:
    """Say where a Location header leads, from `url`. Raise ImageError where that is no address."""
    try:
        found = urljoin(url, location)
        urlsplit(found).port  # noqa: B018 - raises where it is none
    except ValueError as error:
        raise ImageError(f"the registry leads to an address that is none: {location[:100]!r}", end=TARGET) from error
    return found


def origin(url: str) -> tuple[str, str]:
    """Say whom a URL belongs to: scheme and host with port."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def header(headers: Mapping[str, str], name: str) -> str:
    """Find a header, whatever the case of its name."""
    return next((value for key, value in headers.items() if key.lower() == name.lower()), "")
