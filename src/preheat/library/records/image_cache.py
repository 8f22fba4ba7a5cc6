"""Image cache: the digests of layers that earlier builds have computed. Safe to delete."""

from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from preheat.disk.temporary_file import write_whole
from preheat.library.small_files import read_small

Fact = TypeVar("Fact")


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
