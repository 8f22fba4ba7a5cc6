"""Image cache: the digests of layers that earlier builds have computed, and bytecode. Safe to delete."""

import os
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from preheat.disk.temporary_file import write_whole
from preheat.library.small_files import read_dated, read_small

Fact = TypeVar("Fact")
_MOST_PACKS, _LONGEST_PACK = 8, 128 << 20


class LayerFact(msgspec.Struct, frozen=True):
    """The digest and size of a layer, cached by the key of its description (docs/adr/0012-layer-format.md)."""

    digest: str
    size: int
    pushed: list[str] = []
    """Repositories, as `HOST/REPOSITORY`, from which the layer can be mounted."""


class Images:
    """Cached facts, one small JSON file each: `images/KIND/FF/KEY.json` in the library."""

    def __init__(self, library: Path) -> None:
        self._root = library / "images"

    def layer(self, key: str) -> LayerFact | None:
        """Return the digest and size of a layer, or None if not cached."""
        return self._read("layers", key, LayerFact)

    def keep_layer(self, key: str, fact: LayerFact) -> None:
        """Cache a layer's digest and size. Do nothing if the library is read-only: the next build hashes again."""
        self._write("layers", key, fact)

    def base(self, key: str, form: type[Fact]) -> Fact | None:
        """Return the cached fact about a base image, or None."""
        return self._read("bases", key, form)

    def keep_base(self, key: str, fact: object) -> None:
        """Cache a fact about a base image. Do nothing if the library is read-only."""
        self._write("bases", key, fact)

    def bytecode(self, key: str) -> bytes | None:
        """Return the cached bytecode for a base image, or None. What another user wrote is not used: apps run it."""
        try:
            body, status = read_dated(self._bytecode(key), _LONGEST_PACK)
        except OSError:
            return None
        return body if status.st_uid == os.geteuid() else None

    def keep_bytecode(self, key: str, body: bytes) -> None:
        """Cache bytecode for a base image, and remove all but the latest. Do nothing if the library is read-only."""
        path = self._bytecode(key)
        with suppress(OSError):
            write_whole(path, body)
            packs = sorted(path.parent.glob("*.pack"), key=lambda one: one.stat().st_mtime)
            for old in packs[:-_MOST_PACKS]:
                old.unlink()

    def _bytecode(self, key: str) -> Path:
        return self._root / "bytecode" / f"{key}.pack"

    def _read(self, kind: str, key: str, form: type[Fact]) -> Fact | None:
        try:
            body = read_small(self._path(kind, key))
            fact = msgspec.json.decode(body, type=form)
        except (OSError, msgspec.DecodeError, ValueError, RecursionError):
            return None
        # Accept only files that encode to the same bytes: decoding fills fields missing in other formats with defaults.
        return fact if _written(fact) == body else None

    def _write(self, kind: str, key: str, fact: object) -> None:
        with suppress(OSError):
            write_whole(self._path(kind, key), _written(fact))

    def _path(self, kind: str, key: str) -> Path:
        return self._root / kind / key[:2] / f"{key}.json"


def _written(fact: object) -> bytes:
    return msgspec.json.encode(fact) + b"\n"
