"""What is taken in from elsewhere is what was read, or is left where it is."""

import os
from pathlib import Path

import pytest

from preheat.digest import Digest
from preheat.errors import IntegrityError
from preheat.library.intake import Intake

SIZE = 40_000_000


@pytest.mark.parametrize("copy", [False, True])
def test_a_file_that_changes_while_it_is_read_is_left_out(tmp_path: Path, copy: bool) -> None:
    library, source = tmp_path / "library", tmp_path / "model.bin"
    (library / "partial").mkdir(parents=True)
    source.write_bytes(bytes(SIZE))
    writer = os.open(source, os.O_RDWR)  # opened before, as an app's would be: no mode stops it now

    def path_of(digest: Digest) -> Path:
        return library / "blobs" / str(digest)

    def meddle(_size: int) -> None:
        os.pwrite(writer, b"changed", 3)

    intake = Intake(library, path_of, meddle, copy=copy)
    try:
        with pytest.raises(IntegrityError, match="changed while it was read"):
            intake.take(source, None)
    finally:
        os.close(writer)
    assert source.stat().st_size == SIZE
    assert not (library / "blobs").exists()
    assert list((library / "partial").iterdir()) == []
