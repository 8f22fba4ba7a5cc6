"""A symlink that another member of a group has put where a partial will be is removed, not followed."""

import os
from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.core.snapshot import File
from preheat.library.blobs.file_lock import take
from preheat.library.library import Library


@pytest.mark.parametrize("name", ["part", "journal.new"])
def test_a_planted_symlink_leads_nowhere(tmp_path: Path, name: str) -> None:
    library = Library(tmp_path / "library")
    library.prepare(0)
    precious = tmp_path / "precious"
    precious.write_text("mine")
    file = File("a", 4, sha256("88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589"))  # abcd
    planted = library.root / "partial" / f"sha256-{file.digest.hex}.{name}"
    planted.symlink_to(precious)
    partial = library.begin(file)
    assert partial is not None
    partial.write(0, memoryview(b"abcd"))
    partial.close()
    assert precious.read_text() == "mine"
    assert not (library.root / "partial" / f"sha256-{file.digest.hex}.part").is_symlink()


def test_a_fifo_is_no_partial(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="regular"):
        take(tmp_path / "fifo")
