"""The guard's zip in a shared library: a file that another user has placed leads it nowhere."""

import os
from pathlib import Path

from preheat.deploy.guard_zip import keep_guard_zip


def test_its_temporary_name_cannot_be_guessed(tmp_path: Path) -> None:
    name = keep_guard_zip(tmp_path / "first").name
    library, mine = tmp_path / "library", tmp_path / "mine"
    library.mkdir()
    mine.write_text("mine")
    (library / f".{name}.{os.getpid()}").symlink_to(mine)
    assert keep_guard_zip(library) == library / name
    assert mine.read_text() == "mine"
    assert (library / name).stat().st_mode & 0o100
