"""A disk that becomes full in the middle of a plan: what is complete stays, and the next pull downloads the rest."""

import io
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from preheat.mirror.http.messages import Answer, Request
from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.guard.apps import until
from tests.stories.disk import Disk, disk
from tests.stories.kept import blobs

NEED = '[[needs]]\nref = "acme/{name}"\nview = "flat"\nat = "weights/{name}"\n'
# Small files reserve no space before they are written.
PARTS, PART = 20, 900_000
FILES = {
    "one": {"model.bin": b"1" * 2_000_000},
    "two": {"model.bin": b"2" * 3_000_000},
    "three": {f"{number:02}.bin": b"%02d" % number * (PART // 2) for number in range(PARTS)},
}


@pytest.fixture
def models(tmp_path: Path) -> Iterator[FlakyHub]:
    """A hub with three models."""
    folders = {}
    for name, files in FILES.items():
        folders[f"acme/{name}"] = folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        for path, data in files.items():
            (folder / path).write_bytes(data)
    with FlakyHub(folders) as hub:
        yield hub


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Disk]:
    with disk(tmp_path / "disk", "size=110m") as small:
        yield small


def complete(library: Path) -> int:
    return len(set(blobs(library).values()))


def test_a_full_disk_in_the_middle_of_a_plan_keeps_what_is_complete(
    preheat: Preheat, models: FlakyHub, small: Disk
) -> None:
    needs = "".join(NEED.format(name=name) for name in FILES)
    (preheat.folder / "preheat.toml").write_text(f'[app]\nname = "app"\ncommand = ["true"]\n{needs}')
    filler, library = small.path / "filler", small.path / "library"

    turn = threading.Lock()

    def fills_up(request: Request, full: Answer) -> Answer:
        """Fill the disk when the first two models are complete."""
        with turn:
            if not filler.exists():
                until(lambda: complete(library) == 2, 30)
                with suppress(OSError), io.FileIO(filler, "w") as file:
                    while file.write(bytes(1 << 20)):
                        pass
        return full

    models.fails("acme/three/resolve/.*bin", fills_up)
    place = ("--library", str(small.mounted / "library"), "--endpoint", f"hf={models.url}")
    words = ("pull", str(preheat.folder / "preheat.toml"), *place, "--json")
    told = preheat(*words, inside=small.inside)
    assert told.status == 5, told.out + told.err
    assert told.last["kind"] == "NoSpace", told.last
    assert str(small.mounted) in told.last["message"]
    assert complete(library) == 2
    assert not (preheat.folder / "weights").exists(), "views come last"

    again = preheat(*words, inside=small.inside)
    assert again.status == 5, "before the first byte: the plan counts the disk's free space"
    filler.unlink()
    models.recovers()
    told = preheat(*words, inside=small.inside)
    assert told.status == 0, told.out + told.err
    assert told.last["fetched"] == PARTS * PART
    assert not models.asked("acme/(one|two)/resolve/.*bin")
    assert complete(library) == 2 + PARTS
    assert len(list((preheat.folder / "weights/three").glob("*.bin"))) == PARTS
