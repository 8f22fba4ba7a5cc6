"""Sanitize: remove control characters, passwords and tokens from text before it is printed or logged."""

import re
from collections.abc import Collection

from preheat.core.secret_text import hide

# ECMA-48 colour sequences in an app's output, which are noise in messages.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# C0 and DEL except newline and tab.
_UNFIT_ASCII = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
# These and C1 controls; Unicode's bidirectional controls (UAX 9), which reorder text; lone surrogates. A string, not a
# compiled pattern: re compiles it on first use, and takes 3 ms.
_UNFIT = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"


def clean(text: str, secrets: Collection[str] = ()) -> str:
    r"""Return `text` with control characters escaped, as `\x1b`, and without logins, tokens and the known `secrets`."""
    # Colours first: they could split a secret.
    text = hide(_COLOURS.sub("", text), secrets)
    unfit = _UNFIT_ASCII if text.isascii() else _UNFIT
    return re.sub(unfit, lambda one: one[0].encode("unicode_escape").decode(), text)


def clean_deeply(document: object, secrets: Collection[str] = ()) -> object:
    """Return a document with all its strings cleaned, keys included."""
    match document:
        case str():
            return clean(document, secrets)
        case dict():
            return {clean_deeply(key, secrets): clean_deeply(value, secrets) for key, value in document.items()}
        case list() | tuple():
            return [clean_deeply(one, secrets) for one in document]
        case _:
            return document
