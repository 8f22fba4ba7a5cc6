"""Sanitize: remove control characters, passwords and tokens from text before it is printed or logged."""

import re
from collections.abc import Collection

# ECMA-48 colour sequences in an app's output, which are noise in messages.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# C0, DEL and C1 controls except newline and tab; Unicode's bidirectional controls (UAX 9), which reorder text;
# lone surrogates.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# RFC 3986 section 3.2.1: the text between // and @ of a URL may contain a password.
_LOGIN = re.compile(r"(?<=://)[^/\s@'\"]{1,512}@")
# The form of both hubs' tokens.
_TOKEN = re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{16,512}|\bms-[0-9a-f]{8}-[0-9a-f-]{27}")
_HIDDEN = "[hidden]"
_SHORTEST = 6  # characters: shorter secrets would match parts of ordinary words


def clean(text: str, secrets: Collection[str] = ()) -> str:
    r"""Return `text` with control characters escaped, as `\x1b`, and without logins, tokens and the known `secrets`."""
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, _HIDDEN)
    text = _TOKEN.sub(_HIDDEN, _LOGIN.sub("", _COLOURS.sub("", text)))
    return _UNFIT.sub(lambda one: one[0].encode("unicode_escape").decode(), text)


def clean_deeply(said: object, secrets: Collection[str] = ()) -> object:
    """Return a document with all its strings cleaned, keys included."""
    match said:
        case str():
            return clean(said, secrets)
        case dict():
            return {clean_deeply(key, secrets): clean_deeply(value, secrets) for key, value in said.items()}
        case list() | tuple():
            return [clean_deeply(one, secrets) for one in said]
        case _:
            return said
