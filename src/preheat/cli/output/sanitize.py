"""Cleaning: words that came from outside, made fit for a terminal and a log: no controls, no passwords, no tokens."""

import re
from collections.abc import Collection

# ECMA-48 colours of an app's own words, which mean nothing elsewhere.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# C0, DEL and C1 controls but newline and tab; Unicode's bidirectional controls (UAX 9), which reorder what is read;
# what is no character.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# RFC 3986 section 3.2.1: what stands between // and @ of an address may be a password.
_LOGIN = re.compile(r"(?<=://)[^/\s@'\"]{1,512}@")
# What the two hubs' tokens look like, whoever's they are.
_TOKEN = re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{16,512}|\bms-[0-9a-f]{8}-[0-9a-f-]{27}")
_HIDDEN = "[hidden]"
_SHORTEST = 6  # letters: shorter secrets hide nothing, and would be found in any word


def clean(text: str, secrets: Collection[str] = ()) -> str:
    r"""Return `text` with controls written out, as `\x1b`, and without logins, tokens and the known `secrets`."""
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, _HIDDEN)
    text = _TOKEN.sub(_HIDDEN, _LOGIN.sub("", _COLOURS.sub("", text)))
    return _UNFIT.sub(lambda one: one[0].encode("unicode_escape").decode(), text)


def clean_deeply(said: object, secrets: Collection[str] = ()) -> object:
    """Return a document with all its texts clean; keys too."""
    match said:
        case str():
            return clean(said, secrets)
        case dict():
            return {clean_deeply(key, secrets): clean_deeply(value, secrets) for key, value in said.items()}
        case list() | tuple():
            return [clean_deeply(one, secrets) for one in said]
        case _:
            return said
