"""Image cache: layers that builds have computed, so that the next build need not; can be deleted."""

from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from preheat.disk.temporary_file import write_whole
from preheat.library.small_files import read_small

Fact = TypeVar("Fact")


class LayerFact(msgspec.Struct, frozen=True):
    """What a layer hashes to, by the key of its description (docs/adr/0012-layer-format.md)."""

    digest: str
    size: int
    pushed: list[str] = []
    """Repositories, as `HOST/REPOSITORY`, that had it; it can be mounted from there."""


class Images:
    """One small JSON file a fact: `images/KIND/FF/KEY.json` below the library's folder."""

    def __init__(self, library: Path) -> None:
        self._root = library / "images"

    def layer(self, key: str) -> LayerFact | None:
        """Find what a layer hashes to."""
        return self._read("layers", key, LayerFact)

    def keep_layer(self, key: str, fact: LayerFact) -> None:
        """Remember it. Where the library cannot be written, the next build hashes again."""
        self._write("layers", key, fact)

    def base(self, key: str, form: type[Fact]) -> Fact | None:
        """Find what was found in a base."""
        return self._read("bases", key, form)

    def keep_base(self, key: str, fact: object) -> None:
        """Remember it, where that can be."""
        self._write("bases", key, fact)

    def _read(self, kind: str, key: str, form: type[Fact]) -> Fact | None:
        try:
            body = read_small(self._path(kind, key))
            fact = msgspec.json.decode(body, type=form)
        except (OSError, msgspec.DecodeError, ValueError, RecursionError):
            return None
        # Of another form than ours, fields could be missing that have an innocent default.
        return fact if _written(fact) == body else None

    def _write(self, kind: str, key: str, fact: object) -> None:
        with suppress(OSError):
            write_whole(self._path(kind, key), _written(fact))

    def _path(self, kind: str, key: str) -> Path:
        return self._root / kind / key[:2] / f"{key}.json"


def _written(fact: object) -> bytes:
    return msgspec.json.encode(fact) + b"\n"
