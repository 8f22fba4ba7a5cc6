"""Secret text: replace tokens and passwords in text that is shown or logged."""

import re
from collections.abc import Collection
from urllib.parse import quote

HIDDEN = "[hidden]"
# RFC 3986 section 3.2.1: the text between // and @ of a URL may contain a password.
_LOGIN = re.compile(r"(?<=://)[^/\s@'\"]{1,512}@")
# The form of both hubs' tokens.
_TOKEN = re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{16,512}|\bms-[0-9a-f]{8}-[0-9a-f-]{27}")
_SHORTEST = 6  # characters: shorter secrets would match parts of ordinary words


_CUT = "…"


def hide(text: str, secrets: Collection[str] = ()) -> str:
    """Return `text` without logins, tokens and the known `secrets`, also if percent-encoded or cut by `one_line`."""
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), repr(secret)[1:-1]} if len(secret) >= _SHORTEST else ():
            text = text.replace(form, HIDDEN)
            if _CUT in text:
                for length in range(len(form) - 1, _SHORTEST - 1, -1):
                    text = text.replace(form[:length] + _CUT, HIDDEN + _CUT)
    return _TOKEN.sub(HIDDEN, _LOGIN.sub("", text))


def one_line(text: str, most: int = 200) -> str:
    """Return text from outside as one printable line of at most `most` characters, without anything like a token."""
    text = hide(text)  # before it is cut
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= most else line[: most - 1] + _CUT
