"""Writing contents to a file: the reported bytes and the hash are right; errors name the side that failed."""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from preheat.core.errors import ImageError
from preheat.oci.layers.write_layer import write_content
from preheat.oci.model.content import FileSpan, Local


@pytest.mark.parametrize("there", ["beside it", "elsewhere"])
def test_written_bytes_are_reported_and_hashed(tmp_path: Path, there: str) -> None:
    body = bytes(range(256)) * 60_000
    folder = Path("/dev/shm") if there == "elsewhere" else tmp_path
    if not os.access(folder, os.W_OK):
        pytest.skip("there is no other filesystem here")
    told: list[int] = []
    with tempfile.NamedTemporaryFile(dir=folder) as blob, open(tmp_path / "out", "w+b") as out:
        blob.write(body)
        blob.flush()
        local = Local("x", FileSpan(Path(blob.name), 100, len(body) - 7), None)
        found, shared = write_content(local, out.fileno(), 0, told.append)
    assert (tmp_path / "out").read_bytes() == body[100:-7]
    assert (found, shared, sum(told)) == (hashlib.sha256(body[100:-7]).hexdigest(), 0, len(body) - 107)


def test_a_source_that_is_too_short_is_an_error_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(bytes(10_000_000))
    with open(tmp_path / "out", "w+b") as out, pytest.raises(ImageError) as error:
        write_content(Local("x", FileSpan(tmp_path / "blob", 0, 10_000_001), None), out.fileno(), 0, lambda _: None)
    assert error.value.end == "source"


def test_a_full_disk_is_an_error_and_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(bytes(50_000_000))
    code = """
import resource, sys
from pathlib import Path
from preheat.oci.model.content import Local, FileSpan as Span
from preheat.oci.layers.write_layer import write_content
resource.setrlimit(resource.RLIMIT_FSIZE, (9_000_000, 9_000_000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open(sys.argv[2], "w+b") as out:
    try:
        write_content(Local("x", Span(Path(sys.argv[1]), 0, 50_000_000), None), out.fileno(), 0, lambda _: None)
    except OSError as error:
        print(error.errno)
"""
    words = [sys.executable, "-c", code, str(tmp_path / "blob"), str(tmp_path / "out")]
    assert subprocess.run(words, capture_output=True, timeout=60, check=True).stdout == b"27\n"
