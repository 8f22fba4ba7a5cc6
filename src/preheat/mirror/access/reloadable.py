"""Reloadable: settings that a running mirror reloads on SIGHUP: tokens, patterns, certificate."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from preheat.core.errors import UsageError
from preheat.disk.regular_file import read_regular, why
from preheat.mirror.access.allow_deny import Rules
from preheat.mirror.access.token_auth import TokenAuth

_FILE = "@"
_MOST = 16 << 20  # bytes of a file of tokens or patterns


@dataclass(frozen=True, slots=True)
class Words:
    """Settings as given: a token, a token file, patterns or `@FILE`; `tls` loads the certificate."""

    token: str = ""
    token_file: Path | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    tls: Callable[[], ssl.SSLContext] | None = None


class ReloadableSettings:
    """The settings as last loaded. Thread-safe, also during a reload."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self.door = TokenAuth()
        self.rules = Rules()
        self.tls: ssl.SSLContext | None = None
        self.reload()

    def reload(self) -> None:
        """Reload all files; if one cannot be read, raise UsageError and keep all settings as they were."""
        words = self._words
        tokens: tuple[str, ...] = (words.token,) if words.token else ()
        if words.token_file is not None:
            listed = _listed(words.token_file)
            if not listed:
                # Without a token, the mirror is open to everyone: an empty file must not have that effect.
                raise UsageError(f"{words.token_file} contains no token", hint="write one token per line")
            tokens += listed
        door, rules = TokenAuth(tokens), Rules(_patterns(words.allow), _patterns(words.deny))
        tls = words.tls() if words.tls else None
        self.door, self.rules, self.tls = door, rules, tls


def _patterns(words: tuple[str, ...]) -> tuple[str, ...]:
    found: tuple[str, ...] = ()
    for word in words:
        listed = _listed(Path(word.removeprefix(_FILE))) if word.startswith(_FILE) else (word,)
        if not listed:
            raise UsageError(
                f"{word.removeprefix(_FILE)} contains no pattern", hint="write one pattern per line, such as owner/*"
            )
        found += listed
    return found


def _listed(path: Path) -> tuple[str, ...]:
    """Return the lines of a file, without empty lines and those that start with `#`."""
    try:
        lines = [line.strip() for line in read_regular(path, _MOST).decode().splitlines()]
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {why(error)}", hint="use a text file, one entry per line") from error
    except UnicodeDecodeError as error:
        hint = "use a text file, one entry per line"
        raise UsageError(f"{path} cannot be read: it is not UTF-8", hint=hint) from error
    return tuple(line for line in lines if line and not line.startswith("#"))
