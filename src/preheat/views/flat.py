"""Flat: the files in a folder under their own names, for apps that are told a folder."""

from collections.abc import Sequence
from pathlib import Path

from preheat.snapshot import Snapshot
from preheat.views.links import AUTO
from preheat.views.placer import Placer
from preheat.views.view import BlobPath, Placement


class Flat:
    """See View. `at` is the folder that the app names."""

    kind = "flat"
    renames = True

    def __init__(self, ways: Sequence[str] = AUTO) -> None:
        self._ways = ways

    def place(self, snapshot: Snapshot, blob_path: BlobPath, at: Path, *, whole: bool) -> Placement:  # noqa: ARG002 - a folder has no list of what is missing
        """See View."""
        placer = Placer(blob_path, self._ways)
        for file in snapshot.files:
            placer.put(file, at / file.path)
        return placer.placement()

    def environ(self, at: Path) -> dict[str, str]:  # noqa: ARG002 - nothing leads an app to a folder that it names
        """See View."""
        return {}
