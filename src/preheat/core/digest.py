"""Digest: a hash algorithm and the expected hash of some bytes."""

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol, Self

from preheat.core.errors import UsageError

SHA256 = "sha256"
GIT_SHA1 = "git-sha1"
_HEX_LENGTH = {SHA256: 64, GIT_SHA1: 40}


class Hasher(Protocol):
    """What hashlib's objects do that is needed here."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in the bytes that follow."""

    def hexdigest(self) -> str:
        """Say the hash of all bytes so far."""


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    r"""An algorithm and a lower-case hexadecimal value, written `algorithm:hex`.

    `sha256` is FIPS 180-4 over the bytes; `git-sha1` is git's blob object name, SHA-1 over
    `blob <size>\0` and the bytes (git-hash-object(1)), which hubs give for files outside LFS.
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        length = _HEX_LENGTH.get(self.algorithm)
        if length is None or not re.fullmatch(f"[0-9a-f]{{{length}}}", self.hex):
            raise UsageError(
                f"{self.algorithm}:{self.hex} is not a digest",
                hint="a digest is sha256: and 64 hexadecimal digits, or git-sha1: and 40",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `algorithm:hex`; raise UsageError if it is not that."""
        algorithm, _, value = text.partition(":")
        return cls(algorithm, value.lower())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    def hasher(self, size: int) -> Hasher:
        """Begin this digest's hash, for `size` bytes to come."""
        return hasher(self.algorithm, size)


def hasher(algorithm: str, size: int) -> Hasher:
    """Begin the hash of `size` bytes to come by `algorithm`."""
    if algorithm == SHA256:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def sha256(value: str) -> Digest:
    """Name a sha256 by its hexadecimal digits."""
    return Digest(SHA256, value)


def git_sha1(value: str) -> Digest:
    """Name a git blob by its hexadecimal digits."""
    return Digest(GIT_SHA1, value)
