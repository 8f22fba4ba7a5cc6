"""Torch hub: the layout of checkpoints by `torch.hub.load_state_dict_from_url` (torch/hub.py).

    hub/checkpoints/NAME        NAME is the last segment of the URL that the app loads

An existing file is used without a check.
"""

from collections.abc import Sequence
from pathlib import Path

from preheat.core.cache_variables import TORCH_HOME
from preheat.core.snapshot import Snapshot
from preheat.views.links import AUTO
from preheat.views.names import by_last_name
from preheat.views.view_protocol import Piece, PlacedFile


class TorchHub:
    """See View. `at` is for TORCH_HOME; the repository's folders are dropped."""

    kind = "torch-hub"
    renames = True
    edited = False

    def __init__(self, ways: Sequence[str] = AUTO) -> None:
        self.ways = ways

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:  # noqa: ARG002 - it has no list of missing files
        """See View. Raise LibraryError if two files have the same name."""
        named = by_last_name(snapshot, snapshot.files)
        return tuple(PlacedFile(at / "hub" / "checkpoints" / name, file) for name, file in named.items())

    def environ(self, at: Path) -> dict[str, str]:
        """See View."""
        return {TORCH_HOME: str(at)}
