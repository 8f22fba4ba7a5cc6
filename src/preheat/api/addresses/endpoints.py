"""Endpoints: the URLs of each hub, and the tokens for one origin (scheme, host and port)."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from preheat.core.errors import UsageError
from preheat.disk.regular_file import read_regular

_HINT = "--token-for https://hub.lan=env:HUB_TOKEN, or --token-for https://hub.lan=file:PATH"
_LONGEST = 4096


def read_endpoints(typed: Sequence[str], environ: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Parse `HUB=URL` words; hubs without one keep the URLs of `environ`. Raise UsageError for invalid words."""
    named: dict[str, list[str]] = {hub: [] for hub in environ}
    for words in (*typed, *(f"{hub}={url}" for hub, urls in environ.items() for url in urls)):
        hub, equals, url = words.partition("=")
        if not equals or hub not in named or not url.startswith(("http://", "https://")) or not origin(url)[0]:
            raise UsageError(
                f"{words!r} is not an endpoint",
                hint="--endpoint hf=https://hf-mirror.com, or HF_ENDPOINT=https://hf-mirror.com",
            )
        named[hub].append(url)
    # Options replace the endpoints from the environment.
    for hub in {words.partition("=")[0] for words in typed}:
        del named[hub][len(named[hub]) - len(environ[hub]) :]
    return {hub: tuple(urls) for hub, urls in named.items()}


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL; for an invalid URL, no scheme and the URL as the host."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "", url, 0
    if not parts.hostname:
        return "", url, 0
    return parts.scheme, (parts.hostname or "").lower().rstrip("."), port


def read_tokens(typed: Sequence[str], environ: Mapping[str, str]) -> dict[tuple[str, str, int], str]:
    """Read the tokens of `URL=env:VARIABLE` and `URL=file:PATH` words, by origin. Raise UsageError as `_read_token`."""
    tokens = {}
    for words in typed:
        url, _, place = words.rpartition("=")
        tokens[origin(url)] = _read_token(words, url, place, environ)
    return tokens


def _read_token(words: str, url: str, place: str, environ: Mapping[str, str]) -> str:
    """Read the token for `url` from a variable or a file. Raise UsageError, which does not contain the token."""
    kind, _, name = place.partition(":")
    if not url.startswith(("http://", "https://")) or kind not in ("env", "file") or not name:
        raise UsageError(f"{words!r} has no env:VARIABLE or file:PATH for the token", hint=_HINT)
    if kind == "env":
        token = environ.get(name, "")
    else:
        from preheat.core.ref import read_path

        try:
            token = read_regular(read_path(name)).decode("ascii", "replace")
        except (OSError, ValueError) as error:
            why = (getattr(error, "strerror", None) or str(error)).lower()
            raise UsageError(f"{name} cannot be read: {why}", hint=_HINT) from error
    return require_token(token, place)


def require_token(text: str, place: str = "--token") -> str:
    """Return the token in `text`, without spaces around it. Raise UsageError, which names `place` and not the token."""
    token = text.strip()
    if not token or len(token) > _LONGEST or not all("!" <= letter <= "~" for letter in token):
        raise UsageError(f"{place} contains no token: it must be one line of visible ASCII characters", hint=_HINT)
    return token
