"""Whisper: the layout of openai-whisper's models (whisper/__init__.py, load_model).

    whisper/NAME.pt

It is hashed at each start, and taken when the hash is the one in its address.
"""

from collections.abc import Sequence
from pathlib import Path

from preheat.core.errors import LibraryError
from preheat.core.snapshot import Snapshot
from preheat.views.links import AUTO
from preheat.views.names import by_last_name
from preheat.views.view_protocol import Bytes, Piece


class Whisper:
    """See View. `at` becomes a XDG_CACHE_HOME, since whisper has no variable of its own; only `*.pt` files count."""

    kind = "whisper"
    renames = True
    edited = False

    def __init__(self, ways: Sequence[str] = AUTO) -> None:
        self.ways = ways

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:  # noqa: ARG002 - it has no list of what is missing
        """See View. Raise LibraryError when nothing in it is a whisper model."""
        models = by_last_name(snapshot, (file for file in snapshot.files if file.path.endswith(".pt")))
        if not models:
            raise LibraryError(
                f"{snapshot.ref} has no .pt file, and whisper loads no other", hint="--view hf-cache=DIR"
            )
        return tuple(Bytes(at / "whisper" / name, file) for name, file in models.items())

    def environ(self, at: Path) -> dict[str, str]:
        """See View."""
        return {"XDG_CACHE_HOME": str(at)}
