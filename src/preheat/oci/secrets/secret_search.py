"""Secret search: find credentials in texts, and in files of any size.

Three steps, each for the matches of the one before: find runs of letters that are long enough for a token (one
translation and one search, both in C); find the keywords of known tokens in them (one regular expression); apply the
rules of these keywords.
"""

import functools
import io
import re
from collections.abc import Collection, Iterable
from typing import Protocol

from preheat.oci.secrets.secret_rules import SecretRule, rules

# Tokens have at least this many characters; few words of texts do, and hardly any bytes of weights.
_SHORTEST = 20
_TOKEN_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+/.~")
_RUNS = bytes(0x61 if byte in _TOKEN_BYTES else 0 for byte in range(256))
_RUN = b"a" * _SHORTEST
# Keywords in the middle of a token; a token starts with any other keyword.
_INSIDE = frozenset(
    (
        "_mmk",
        "atlasv1",
        "enterprise.contribsys.com",
        "gems.contribsys.com",
        "incomingwebhook",
        "q~",
        "t3blbkfj",
        "webhook.office.com",
        "webhookb2",
    )
)
_BEFORE_INSIDE, _BEHIND = 160, 2048
# A private key is not one run of letters: it has a line of its own before it.
_BEGIN, _KEY, _KEY_RULE = b"-----BEGIN", b"PRIVATE KEY", "private-key"
_STEP, _OVERLAP = 1 << 20, 16 << 10
_LONGEST_TEXT = 32 << 10
_OWN = "a token from this environment"


class ByteSource(Protocol):
    """A file, or another source of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end."""


def secret_in_text(text: bytes, own: Collection[str] = ()) -> str:
    """Return a description of a secret in a short text, such as an environment variable; "" if there is none.

    `own` are tokens that this process uses. All rules apply, also those that read a variable's name; these take too
    long for a text of more than 32 KiB, which is searched as a file.
    """
    if len(text) > _LONGEST_TEXT:
        return secret_in(io.BytesIO(text), own)
    if _has_own(text, own):
        return _OWN
    text = _without_escapes(text)
    low = text.lower()
    hits = (rule for rule in rules() if any(word.encode() in low for word in rule.keywords))
    return next((_said(rule) for rule in hits if rule.found_in(text)), "")


def secret_in(file: ByteSource, own: Collection[str] = ()) -> str:
    """Return a description of the first secret in a file; "" if there is none. Reads it once, in steps of 1 MiB.

    Only rules whose tokens show their issuer apply: the other rules mistake hashes in data sets for secrets.
    """
    tail, step = b"", file.read(_STEP)
    while step:
        following = file.read(_STEP) if len(step) == _STEP else b""
        body = tail + step if tail else step
        # A token that starts in the last bytes may end in the next step.
        whole = len(body) - (_OVERLAP if following else 0)
        if _has_own(body, own):
            return _OWN
        if what := _search(body, whole):
            return what
        tail, step = body[-_OVERLAP:], following
    return ""


def _search(body: bytes, whole: int) -> str:
    """Return a description of the first secret that starts before offset `whole`."""
    kinds, keyword = _own_formats()
    at = body.find(_KEY)
    while 0 <= at < whole:
        start = body.rfind(_BEGIN, max(at - _BEFORE_INSIDE, 0), at)
        if start >= 0 and kinds[_KEY][0].starts_at(body, start, start + _OVERLAP):
            return _said(kinds[_KEY][0])
        at = body.find(_KEY, at + 1)
    runs = body.translate(_RUNS)
    start = runs.find(_RUN)
    if start < 0:
        return ""
    body = _without_escapes(body)
    low = body.lower()
    while 0 <= start < whole:
        stop = runs.find(b"\0", start)
        stop = len(runs) if stop < 0 else stop
        while hit := keyword.search(low, start, stop):
            for rule in kinds[hit[0]]:
                if _is_at(rule, hit, body):
                    return _said(rule)
            start = hit.start() + 1
        start = runs.find(_RUN, stop)
    return ""


def _is_at(rule: SecretRule, hit: re.Match[bytes], body: bytes) -> bool:
    if hit[0].decode() in _INSIDE:
        return rule.found_in(body, max(hit.start() - _BEFORE_INSIDE, 0), hit.start() + _BEHIND)
    return rule.starts_at(body, hit.start(), hit.start() + _BEHIND)


@functools.cache
def _own_formats() -> tuple[dict[bytes, list[SecretRule]], re.Pattern[bytes]]:
    """Return the rules for files by keyword, and a regular expression that finds all keywords."""
    kinds: dict[bytes, list[SecretRule]] = {}
    for rule in rules():
        if rule.id == _KEY_RULE:
            kinds[_KEY] = [rule]
        elif not rule.in_context:
            for word in rule.keywords:
                kinds.setdefault(word.encode(), []).append(rule)
    words = [word.decode() for word in kinds if word != _KEY]
    # Only the longest keyword is found, so it also gets the rules of keywords that are its beginning.
    for word in words:
        for longer in words:
            if longer != word and longer.startswith(word):
                kinds[longer.encode()] += kinds[word.encode()]
    inside = [word for word in words if word in _INSIDE]
    return kinds, re.compile(f"{_any(inside)}|\\b{_any(set(words) - set(inside))}".encode())


def _any(words: Iterable[str]) -> str:
    """Return a regular expression for the longest of the words: a tree, which is faster than a list."""
    heads: dict[str, list[str]] = {}
    for word in sorted(words):
        heads.setdefault(word[:1], []).append(word[1:])
    ends = heads.pop("", None) is not None
    parts = [re.escape(head) + (_any(rest) if rest != [""] else "") for head, rest in heads.items()]
    return parts[0] if len(parts) == 1 and not ends else f"(?:{'|'.join(parts)}{'|' if ends else ''})"


def _without_escapes(body: bytes) -> bytes:
    r"""Replace `\n` and `\t` in JSON strings: their letters would count as part of the next word."""
    return body.replace(rb"\n", b"  ").replace(rb"\t", b"  ")


def _has_own(body: bytes, own: Collection[str]) -> bool:
    return any(token and token.encode() in body for token in own)


def _said(rule: SecretRule) -> str:
    return f"a secret ({rule.id})"
