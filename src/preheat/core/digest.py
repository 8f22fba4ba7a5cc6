"""Digest: a hash algorithm and the expected hash of some bytes."""

import re
from typing import Protocol, Self

import msgspec

from preheat.core.errors import UsageError

SHA256 = "sha256"
GIT_SHA1 = "git-sha1"
_HEX = {SHA256: re.compile("[0-9a-f]{64}"), GIT_SHA1: re.compile("[0-9a-f]{40}")}


class Hasher(Protocol):
    """The part of hashlib's interface that preheat uses."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Hash the next bytes."""

    def hexdigest(self) -> str:
        """Return the hash of all bytes so far, in hexadecimal."""


class Digest(msgspec.Struct, frozen=True, order=True, gc=False):
    r"""An algorithm and a lower-case hexadecimal value, written `algorithm:hex`.

    `sha256` is FIPS 180-4 over the bytes; `git-sha1` is git's blob object name, SHA-1 over
    `blob <size>\0` and the bytes (git-hash-object(1)), which hubs use for files outside LFS.
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        form = _HEX.get(self.algorithm)
        if form is None or not form.fullmatch(self.hex):
            raise UsageError(
                f"{self.algorithm}:{self.hex} is not a digest",
                hint="a digest is sha256: and 64 hexadecimal digits, or git-sha1: and 40",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `algorithm:hex`; raise UsageError if it is invalid."""
        algorithm, _, value = text.partition(":")
        return cls(algorithm, value.lower())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    def hasher(self, size: int) -> Hasher:
        """Return a hasher of this algorithm for `size` bytes."""
        return hasher(self.algorithm, size)


def hasher(algorithm: str, size: int) -> Hasher:
    """Return a new hasher of `algorithm`; `size` is the number of bytes it will get (git-sha1 hashes it first)."""
    import hashlib  # loads OpenSSL, which an app that needs no hash would wait for

    if algorithm == SHA256:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def sha256(value: str) -> Digest:
    """Return a sha256 digest from its hexadecimal digits."""
    return Digest(SHA256, value)


def git_sha1(value: str) -> Digest:
    """Return a git-sha1 digest from its hexadecimal digits."""
    return Digest(GIT_SHA1, value)
