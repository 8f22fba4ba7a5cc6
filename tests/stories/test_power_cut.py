"""A power cut at any moment: every named file is complete, and the journal claims only durable bytes.

A filesystem in a file is mounted, a pull fills it, and the file is copied while it does: each copy is what a disk would
hold had the power gone at that moment.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from preheat.library.blobs.journal import Journal, boot_id
from preheat.library.blobs.ranges import gaps
from tests.command import Preheat
from tests.flaky_hub import FlakyHub

SIZE = 40_000_000
CUTS = 6


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for n in range(3):
        (folder / f"model-{n}.bin").write_bytes(random.Random(n).randbytes(SIZE // 4))
    (folder / "model-3.bin").write_bytes(random.Random(3).randbytes(SIZE // 4))
    for n in range(20):
        (folder / f"small-{n}.json").write_text(f'{{"n": {n}}}\n')
    return folder


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    """Mount a filesystem in a file; skip the test if that is not permitted."""
    at.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-o", "loop", image, at], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no filesystem can be mounted from a file here: {done.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


def arrived(library: Path) -> int:
    """Count the bytes that a library has, with partials, by this boot's journals."""
    found = 0
    for path in library.glob("partial/*.part"):
        with suppress(FileNotFoundError):  # it was renamed to a blob meanwhile
            found += _here(path)
    return found + sum(path.stat().st_size for path in library.glob("blobs/sha256/*/*"))


def _here(part: Path) -> int:
    size = part.stat().st_size
    journal = Journal.read(part.with_suffix(".journal"), size, boot_id())
    return size - sum(stop - start for start, stop in gaps(size, journal.ranges))


def copy_when_quiet(image: Path, copy: Path) -> None:
    """Copy a disk as it is at one moment: the kernel may write to it while it is copied, which no power cut does."""
    before = ""
    while True:
        shutil.copyfile(image, copy)
        after = hashlib.sha256(copy.read_bytes()).hexdigest()
        if after == before:
            return
        before = after


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_after_a_power_cut_every_named_file_is_right_and_every_claim_durable(tmp_path: Path, weights: Path) -> None:
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("mounting a filesystem from a file needs root and mkfs.ext4")
    image, at = tmp_path / "disk.img", tmp_path / "disk"
    with open(image, "wb") as disk:
        disk.truncate(160_000_000)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    truth = {hashlib.sha256(path.read_bytes()).hexdigest(): path.read_bytes() for path in weights.iterdir()}
    copies: list[tuple[Path, int]] = []
    with (
        FlakyHub({"acme/tiny": weights}, pace=400_000) as hub,
        mounted(image, at),
        closing(Preheat(tmp_path, hub.url)) as preheat,
    ):
        running = preheat.start("pull", "acme/tiny", "--library", str(at / "library"), "--connections", "8")
        seen: list[tuple[float, int]] = []
        chance = random.Random(7)
        next_cut = time.monotonic() + 2.0
        while running.process.poll() is None:
            seen.append((time.monotonic(), arrived(at / "library")))
            if time.monotonic() >= next_cut and len(copies) < CUTS:
                copy = tmp_path / f"cut-{len(copies)}.img"
                five_ago = max((done for then, done in seen if then < time.monotonic() - 5.0), default=0)
                running.process.send_signal(signal.SIGSTOP)
                copy_when_quiet(image, copy)
                running.process.send_signal(signal.SIGCONT)
                copies.append((copy, five_ago))
                next_cut = time.monotonic() + chance.uniform(0.3, 2.0)
            time.sleep(0.05)
        assert running.ended().status == 0
    assert len(copies) == CUTS
    survived = []
    for copy, five_ago in copies:
        with mounted(copy, at):
            library = at / "library"
            for blob in library.glob("blobs/sha256/*/*"):
                assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
            kept = sum(path.stat().st_size for path in library.glob("blobs/sha256/*/*"))
            for part in library.glob("partial/*.part"):
                body, true = part.read_bytes(), truth.get(part.name.partition("-")[2].removesuffix(".part"))
                if true is None or len(body) != len(true):
                    continue  # a small file, or one whose length had not reached the disk: its download restarts
                for start, stop in Journal.read(part.with_suffix(".journal"), len(body), "another boot").ranges:
                    assert body[start:stop] == true[start:stop]
                    kept += stop - start
            # Only the last five seconds may be lost.
            assert kept >= five_ago
            survived.append(kept)
        copy.unlink()
    assert max(survived) > SIZE // 4
