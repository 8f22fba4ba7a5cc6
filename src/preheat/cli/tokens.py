"""Tokens: each belongs to one origin, which is scheme, host and port of an endpoint."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from preheat.errors import UsageError

_HINT = "--token-for https://hub.lan=env:HUB_TOKEN, or --token-for https://hub.lan=file:PATH"
_LONGEST = 4096


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of an address; of one that is none, the address itself in the host's place."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "", url, 0
    return parts.scheme, (parts.hostname or "").lower().rstrip("."), port


def read_token(words: str, url: str, place: str, environ: Mapping[str, str]) -> str:
    """Read the token for `url` from a variable or a file. Raise UsageError that does not show it."""
    kind, _, name = place.partition(":")
    if not url.startswith(("http://", "https://")) or kind not in ("env", "file") or not name:
        raise UsageError(f"{words!r} does not say where a token is", hint=_HINT)
    if kind == "env":
        token = environ.get(name, "")
    else:
        try:
            with open(Path(name).expanduser(), "rb") as file:
                token = file.read(_LONGEST + 1).decode("ascii", "replace")
        except OSError as error:
            raise UsageError(f"{name} cannot be read: {(error.strerror or '').lower()}", hint=_HINT) from error
    token = token.strip()
    if not token or len(token) > _LONGEST or not all("!" <= letter <= "~" for letter in token):
        raise UsageError(f"{place} has no token in it: one line of visible ASCII letters", hint=_HINT)
    return token
