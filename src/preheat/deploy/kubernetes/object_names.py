"""Object names: names of Kubernetes objects, for apps and images with any name; pure."""

import hashlib
import re

# The longest name of an object here adds 24 characters; names of Services and Jobs have at most 63.
_LONGEST = 32
_OTHER = re.compile(r"[^a-z0-9]+")


def object_name(name: str) -> str:
    """Return a DNS label (RFC 1123) that begins with a letter, as Services require.

    A name that loses more than its case, spaces and punctuation between words gets the start of its SHA-256, so that
    two apps do not share an object.
    """
    plain = _OTHER.sub("-", name.lower()).strip("-")
    if plain[:1].isalpha() and len(plain) <= _LONGEST and re.fullmatch(r"[A-Za-z0-9]+([ ._-][A-Za-z0-9]+)*", name):
        return plain
    kept = plain[: _LONGEST - 8].strip("-")
    return "-".join(filter(None, ("" if kept[:1].isalpha() else "app", kept, content_key(name)[:7])))[:_LONGEST]


def content_key(text: str) -> str:
    """Return 12 hexadecimal digits of a text's hash, for the names of objects that must change with the text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
