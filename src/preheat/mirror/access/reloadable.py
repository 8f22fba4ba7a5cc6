"""Reloadable: settings that a running mirror reads again on SIGHUP: tokens, patterns, certificate."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from preheat.core.errors import UsageError
from preheat.mirror.access.allow_deny import Rules
from preheat.mirror.access.token_auth import TokenAuth

_FILE = "@"


@dataclass(frozen=True, slots=True)
class Words:
    """What was typed: a `token`, a file of them, patterns or `@FILE` of them; `tls` makes what shows a certificate."""

    token: str = ""
    token_file: Path | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    tls: Callable[[], ssl.SSLContext] | None = None


class ReloadableSettings:
    """What the words mean now. Threads may read it while another reads it anew."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self.door = TokenAuth()
        self.rules = Rules()
        self.tls: ssl.SSLContext | None = None
        self.reload()

    def reload(self) -> None:
        """Read all files again; raise UsageError for one that cannot be read, and leave everything as it was."""
        words = self._words
        tokens: tuple[str, ...] = (words.token,) if words.token else ()
        if words.token_file is not None:
            listed = _listed(words.token_file)
            if not listed:
                # No token would mean that everybody may come in, which an empty file cannot have been meant to say.
                raise UsageError(f"{words.token_file} holds no token", hint="one a line")
            tokens += listed
        door, rules = TokenAuth(tokens), Rules(_patterns(words.allow), _patterns(words.deny))
        tls = words.tls() if words.tls else None
        self.door, self.rules, self.tls = door, rules, tls


def _patterns(words: tuple[str, ...]) -> tuple[str, ...]:
    found: tuple[str, ...] = ()
    for word in words:
        listed = _listed(Path(word.removeprefix(_FILE))) if word.startswith(_FILE) else (word,)
        if not listed:
            raise UsageError(f"{word.removeprefix(_FILE)} holds no pattern", hint="one a line: owner/*")
        found += listed
    return found


def _listed(path: Path) -> tuple[str, ...]:
    """Read a file of words: one a line; empty lines and those that begin with `#` are left out."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read", hint="a text file, one a line") from error
    return tuple(line for line in lines if line and not line.startswith("#"))
