"""Flat: a plain folder with the repository's file names, for apps that take a folder."""

from collections.abc import Sequence
from pathlib import Path

from preheat.core.snapshot import Snapshot
from preheat.views.links import AUTO
from preheat.views.view_protocol import Piece, PlacedFile


class Flat:
    """See View. `at` is the folder that the app is configured with."""

    kind = "flat"
    renames = True
    edited = True

    def __init__(self, ways: Sequence[str] = AUTO) -> None:
        self.ways = ways

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:  # noqa: ARG002 - a folder has no list of missing files
        """See View."""
        return tuple(PlacedFile(at / file.path, file) for file in snapshot.files)

    def environ(self, at: Path) -> dict[str, str]:  # noqa: ARG002 - the app itself names the folder
        """See View."""
        return {}
