"""Whisper: where openai-whisper keeps its models (whisper/__init__.py, load_model).

    whisper/NAME.pt

It is hashed at each start, and taken when the hash is the one in its address.
"""

from collections.abc import Sequence
from pathlib import Path

from preheat.errors import LibraryError
from preheat.snapshot import Snapshot
from preheat.views.links import AUTO
from preheat.views.names import by_last_name
from preheat.views.placer import Placer
from preheat.views.view import BlobPath, Placement


class Whisper:
    """See View. `at` becomes a XDG_CACHE_HOME, since whisper has no variable of its own; only `*.pt` files count."""

    kind = "whisper"
    renames = True

    def __init__(self, ways: Sequence[str] = AUTO) -> None:
        self._ways = ways

    def place(self, snapshot: Snapshot, blob_path: BlobPath, at: Path, *, whole: bool) -> Placement:  # noqa: ARG002 - it has no list of what is missing
        """See View. Raise LibraryError when nothing in it is a whisper model."""
        models = by_last_name(snapshot, (file for file in snapshot.files if file.path.endswith(".pt")))
        if not models:
            raise LibraryError(
                f"{snapshot.ref} has no .pt file, and whisper loads no other", hint="--view hf-cache=DIR"
            )
        placer = Placer(blob_path, self._ways)
        for name, file in models.items():
            placer.put(file, at / "whisper" / name)
        return placer.placement()

    def environ(self, at: Path) -> dict[str, str]:
        """See View."""
        return {"XDG_CACHE_HOME": str(at)}
