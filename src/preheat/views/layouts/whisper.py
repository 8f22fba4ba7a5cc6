"""Whisper: the layout of openai-whisper's models (whisper/__init__.py, load_model).

    whisper/NAME.pt

whisper hashes the file at each start and accepts it if the hash is the one in the model's URL.
"""

from collections.abc import Sequence
from pathlib import Path

from preheat.core.cache_variables import XDG_CACHE_HOME
from preheat.core.errors import LibraryError
from preheat.core.snapshot import Snapshot
from preheat.views.links import AUTO
from preheat.views.names import by_last_name
from preheat.views.view_protocol import Piece, PlacedFile


class Whisper:
    """See View. `at` is for XDG_CACHE_HOME, since whisper has no variable of its own; only `*.pt` files are placed."""

    kind = "whisper"
    renames = True
    edited = False

    def __init__(self, ways: Sequence[str] = AUTO) -> None:
        self.ways = ways

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:  # noqa: ARG002 - it has no list of missing files
        """See View. Raise LibraryError if the snapshot has no whisper model."""
        models = by_last_name(snapshot, (file for file in snapshot.files if file.path.endswith(".pt")))
        if not models:
            raise LibraryError(
                f"{snapshot.ref} has no .pt file, and whisper loads only .pt files", hint="--view hf-cache=DIR"
            )
        return tuple(PlacedFile(at / "whisper" / name, file) for name, file in models.items())

    def environ(self, at: Path) -> dict[str, str]:
        """See View."""
        return {XDG_CACHE_HOME: str(at)}
