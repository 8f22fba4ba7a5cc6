"""A lease keeps writers waiting until its holder has checked it, and no longer."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from preheat.library.blobs.lease import lease

SHORTEN = "import os, sys; os.truncate(sys.argv[1], 0); print('done', flush=True)"


@pytest.fixture
def held_file(tmp_path: Path) -> int:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    return os.open(tmp_path / "file", os.O_RDONLY)


def test_truncating_a_file_waits_until_its_reader_has_checked_the_lease(tmp_path: Path, held_file: int) -> None:
    with lease(held_file) as is_held:
        if not is_held():
            pytest.skip("this filesystem knows no leases")
        with subprocess.Popen(
            [sys.executable, "-c", SHORTEN, str(tmp_path / "file")], stdout=subprocess.PIPE
        ) as shortening:
            time.sleep(0.5)
            assert os.fstat(held_file).st_size == 100_000
            assert not is_held()
            assert shortening.stdout is not None
            assert shortening.stdout.readline() == b"done\n"
        assert os.fstat(held_file).st_size == 0
        assert not is_held()
    os.close(held_file)


def test_a_file_open_for_writing_gets_no_lease(tmp_path: Path, held_file: int) -> None:
    with open(tmp_path / "file", "r+b"), lease(held_file) as is_held:
        assert not is_held()
    os.close(held_file)


def test_the_lease_ends_with_its_block(tmp_path: Path, held_file: int) -> None:
    with lease(held_file):
        pass
    (tmp_path / "file").write_bytes(b"new")
    os.close(held_file)
