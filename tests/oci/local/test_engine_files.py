"""The archives for podman and docker, as large as images, do not stay after a kill."""

import subprocess
import sys
from pathlib import Path

from preheat.oci.local.engine_files import EngineFiles

_KILLED = """
import os, sys
from pathlib import Path
from preheat.oci.local.engine_files import EngineFiles
files = EngineFiles(Path(sys.argv[1]))
(files.path / "image.tar").write_text("an image")
os._exit(9)
"""


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    mine = tmp_path / "preheat-image-mine"
    mine.mkdir()
    subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)
    [left] = [path for path in tmp_path.iterdir() if path != mine]
    assert (left / "image.tar").exists()
    first = EngineFiles(tmp_path)
    second = EngineFiles(tmp_path)
    assert {*tmp_path.iterdir()} == {mine, first.path, second.path}
    first.close()
    del second
    assert {*tmp_path.iterdir()} == {mine}
