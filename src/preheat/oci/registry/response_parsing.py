"""Response parsing: headers and errors of registries; pure (OCI distribution specification 1.1)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from preheat.core.errors import TARGET, HubUnavailable, ImageError
from preheat.core.secret_text import one_line

# Possessive quantifiers and the lookbehind keep matching linear in the header's length.
_PAIR = re.compile(r'(?<![A-Za-z0-9_-])([A-Za-z0-9_-]{1,64}+)\s{0,8}+=\s{0,8}+(?:"((?:[^"\\]|\\.)*+)"|([^\s,"]++))')
_LONGEST_HEADER = 16_384
# Statuses of failures that may pass by themselves.
LATER = frozenset((429, 500, 502, 503, 504))


@dataclass(frozen=True, slots=True)
class Challenge:
    """An authentication challenge: `basic`, or `bearer` with the URL of the token server (RFC 9110, 11.6.1)."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def read_challenge(header: str) -> Challenge | None:
    """Parse a WWW-Authenticate header. Return None if it is not supported."""
    scheme, _, rest = header[:_LONGEST_HEADER].strip().partition(" ")
    parameters = {name.lower(): quoted or bare for name, quoted, bare in _PAIR.findall(rest)}
    try:
        realm = urlsplit(parameters.get("realm", ""))
        realm.port  # noqa: B018 - raises if the port is invalid
    except ValueError:
        return None
    if scheme.lower() == "bearer" and realm.scheme in ("http", "https") and realm.hostname:
        return Challenge("bearer", parameters["realm"], parameters.get("service", ""), parameters.get("scope", ""))
    return Challenge("basic") if scheme.lower() == "basic" else None


def read_errors(body: bytes) -> str:
    """Return the messages of a registry's error document in one line, or "" if there are none."""
    try:
        listed = json.loads(body)["errors"]
        messages = [str(one.get("message") or one.get("code") or "") for one in listed]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return one_line("; ".join(dict.fromkeys(message for message in messages if message)), 300)


def read_offset(header: str) -> int | None:
    """Return how many bytes of an upload have arrived, from its Range header, such as `0-1023`. None if it is invalid.

    The distribution registry, the base of most others, sends `0-0` for no bytes. If it does mean one byte, that byte is
    sent again.
    """
    found = re.fullmatch(r"(?:bytes=)?0-(-?[0-9]{1,18})", header.strip())
    last = 0 if found is None else int(found[1])
    return None if found is None else last + 1 if last > 0 else 0


def with_query(url: str, **more: str) -> str:
    """Add parameters to a URL's query. The existing query may be signed, so it is not changed."""
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(more)) if part)
    return urlunsplit(parts._replace(query=query))


def resolved(url: str, location: str) -> str:
    """Resolve a Location header relative to `url`. Raise ImageError if it is not a valid URL."""
    try:
        found = urljoin(url, location)
        urlsplit(found).port  # noqa: B018 - raises if the port is invalid
    except ValueError as error:
        raise ImageError(
            f"the registry redirects to an invalid address: {one_line(location, 100)!r}", end=TARGET
        ) from error
    return found


def header(headers: Mapping[str, str], name: str) -> str:
    """Return a header's value, ignoring case, or ""."""
    return next((value for key, value in headers.items() if key.lower() == name.lower()), "")


def later(host: str, status: int, headers: Mapping[str, str]) -> HubUnavailable:
    """Return the error for a status that may pass by itself, with the time that the server asks to wait."""
    retry_after = header(headers, "Retry-After")
    words = "responded with 429 (too many requests)" if status == 429 else f"has a server error (status {status})"
    wait_s = float(retry_after) if re.fullmatch("[0-9]{1,9}", retry_after) else None
    return HubUnavailable(f"{host} {words}", wait_s=wait_s)
