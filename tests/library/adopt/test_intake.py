"""A file from outside becomes a blob with the bytes that were read, or stays where it is."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from preheat.core.digest import Digest, sha256
from preheat.core.errors import IntegrityError
from preheat.library.adopt.intake import Intake

SIZE = 40_000_000


@pytest.mark.parametrize("copy", [False, True])
def test_a_file_that_changes_while_being_read_is_left_out(tmp_path: Path, copy: bool) -> None:
    library, source = tmp_path / "library", tmp_path / "model.bin"
    (library / "partial").mkdir(parents=True)
    source.write_bytes(bytes(SIZE))
    writer = os.open(source, os.O_RDWR)  # opened before, like an app's file: file modes no longer prevent writes

    def path_of(digest: Digest) -> Path:
        return library / "blobs" / str(digest)

    def meddle(_size: int) -> None:
        os.pwrite(writer, b"changed", 3)

    intake = Intake(library, path_of, meddle, copy=copy)
    try:
        with pytest.raises(IntegrityError, match="changed while it was read"):
            intake.take(source, sha256(hashlib.sha256(bytes(SIZE)).hexdigest()))
    finally:
        os.close(writer)
    assert source.stat().st_size == SIZE
    assert not (library / "blobs").exists()
    assert list((library / "partial").iterdir()) == []


@pytest.mark.parametrize("copy", [False, True])
def test_a_file_that_a_program_is_still_writing_is_left_out(tmp_path: Path, copy: bool) -> None:
    library, source = tmp_path / "library", tmp_path / "model.bin"
    (library / "partial").mkdir(parents=True)
    intake = Intake(library, lambda digest: library / "blobs" / str(digest), lambda _size: None, copy=copy)
    with open(source, "wb") as writer:
        writer.write(b"half")
        writer.flush()
        with pytest.raises(IntegrityError, match="another program is writing to it"):
            intake.take(source, None)
        writer.write(b"the rest")
    assert intake.take(source, None).size == len(b"halfthe rest")


def test_a_file_truncated_while_being_read_is_left_out_without_a_signal(tmp_path: Path) -> None:
    library, source = tmp_path / "library", tmp_path / "model.bin"
    (library / "partial").mkdir(parents=True)
    source.write_bytes(bytes(SIZE))
    cutting: list[subprocess.Popen[bytes]] = []

    def cut(_size: int) -> None:
        if not cutting:
            words = [sys.executable, "-c", "import os, sys; os.truncate(sys.argv[1], 5)", str(source)]
            cutting.append(subprocess.Popen(words))
            time.sleep(0.5)  # it waits for the lease, or is done

    intake = Intake(library, lambda digest: library / "blobs" / str(digest), cut)
    with pytest.raises(IntegrityError, match="changed while it was read"):
        intake.take(source, None)
    assert cutting[0].wait() == 0
    assert source.stat().st_size == 5
    assert not (library / "blobs").exists()
