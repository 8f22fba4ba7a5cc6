"""The table of writes in place in docs/fold.md: through no kind of link does an app's write reach the blob."""

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.desk.model_apps import APPS, ModelApp
from preheat.library.library import Library
from tests.command import Preheat, Told
from tests.stories.desk import AS_USER, MEBI, comfyui, fooocus, safetensors, write
from tests.stories.disk import disk
from tests.stories.test_upkeep_disks import image

PAGE = Path(__file__).parents[2] / "docs" / "fold.md"
CHECKPOINT = safetensors("model.diffusion_model.input_blocks.0.0.weight", size=MEBI)
DIGEST = sha256(hashlib.sha256(CHECKPOINT).hexdigest())
KINDS = {"reflink": 0, "hardlink": 1, "symlink": 2}  # columns of the table
ROOT = 3
OWN, REFUSED, UNUSED = "its own bytes", "refused", "not used"
_EDIT = """
import sys
for path in sys.argv[1:]:
    try:
        with open(path, "r+b") as file:
            file.write(b"edited in place")
        print("its own bytes")
    except PermissionError:
        print("refused")
"""


def table() -> dict[str, list[str]]:
    """Return the cells of the table by the apps' titles."""
    part = PAGE.read_text().partition("<!-- in place: made")[2].partition("<!-- end of")[0]
    rows = [re.split(r" *\| *", line.strip("| ")) for line in part.splitlines() if line.startswith("| ")]
    return {title: cells for title, *cells in rows[1:]}


def install(app: ModelApp, home: Path) -> Path:
    """Install an app with one model; return the model."""
    for marker in app.markers:
        write(home / "apps" / app.name / marker, b"")
    folders = {"home": home, "cache": home / ".cache", "config": home / ".config", "data": home / ".local/share"}
    place = home / "apps" / app.name / app.folders[0] if app.markers else Path(app.places[0].format(**folders))
    return write(place / "dream.safetensors", CHECKPOINT)


def folded(preheat: Preheat, home: Path, library: Path, inside: tuple[str, ...], *words: str) -> Told:
    told = preheat("fold", "--json", "--yes", *words, "--library", str(library), inside=inside, HOME=str(home))
    assert told.status == 0, told.out + told.err
    assert {app["name"] for app in told.last["apps"]} == {app.name for app in APPS}
    return told


def edited(paths: Sequence[Path], inside: tuple[str, ...]) -> list[str]:
    """Write to each file in place; return what came of it."""
    words = [*inside, "python3", "-c", _EDIT, *map(str, paths)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()


def test_through_hard_links_a_user_is_refused(preheat: Preheat) -> None:
    paths = [install(app, preheat.folder) for app in APPS]
    folded(preheat, preheat.folder, preheat.library, AS_USER)
    blob = Library(preheat.library).path(DIGEST)
    assert all(path.samefile(blob) for path in paths)
    cells = table()
    assert edited(paths, AS_USER) == [cells[app.title][KINDS["hardlink"]] for app in APPS]
    assert blob.read_bytes() == CHECKPOINT


def test_through_reflinks_each_app_has_its_own_bytes(preheat: Preheat) -> None:
    with image(preheat.folder / "disk", 500_000_000, "mkfs.xfs", "-q", "-m", "reflink=1") as at:
        paths = [install(app, at) for app in APPS]
        assert folded(preheat, at, at / "library", ()).last["links"] == {"reflink": len(APPS)}
        cells = table()
        assert edited(paths, ()) == [cells[app.title][KINDS["reflink"]] for app in APPS]
        assert Library(at / "library").path(DIGEST).read_bytes() == CHECKPOINT


def test_through_symlinks_a_user_is_refused(preheat: Preheat) -> None:
    cells = table()
    with disk(preheat.folder / "other", "size=200m,mode=777") as other:
        paths = [install(app, other.path) for app in APPS]
        inside = (*other.inside, *(AS_USER or ("env",)))
        told = folded(preheat, other.mounted, preheat.library, inside, "--copy")
        named = [cells[app.title][KINDS["symlink"]] for app in APPS]
        assert told.last["links"] == {"symlink": named.count(REFUSED)}
        assert [UNUSED if not path.is_symlink() else REFUSED for path in paths] == named
        linked = [other.mounted / path.relative_to(other.path) for path in paths if path.is_symlink()]
        assert edited(linked, inside) == [REFUSED] * len(linked)
        assert Library(preheat.library).path(DIGEST).read_bytes() == CHECKPOINT


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write to what is read-only")
def test_as_root_apps_that_write_in_place_keep_their_own_files(preheat: Preheat) -> None:
    paths = dict(zip(APPS, [install(app, preheat.folder) for app in APPS], strict=True))
    told = folded(preheat, preheat.folder, preheat.library, ())
    cells, blob = table(), Library(preheat.library).path(DIGEST)
    own = [path for app, path in paths.items() if cells[app.title][ROOT] == UNUSED]
    assert [path for path in paths.values() if not path.samefile(blob)] == own
    assert set(told.last["links"]) <= {"hardlink"}
    assert edited(own, ()) == [OWN] * len(own)
    assert blob.read_bytes() == CHECKPOINT


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write to what is read-only")
def test_a_write_of_root_through_a_hard_link_is_reported_and_taken_out_of_use(preheat: Preheat) -> None:
    folders = (comfyui(preheat.folder), fooocus(preheat.folder))
    paths = [write(folder / "checkpoints/dream.safetensors", CHECKPOINT) for folder in folders]
    blob = Library(preheat.library).path(DIGEST)
    assert preheat("fold", "--json", "--yes").last["links"] == {"hardlink": len(paths)}
    with open(paths[0], "r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"edited in place")
    told = preheat("fold", "--json", "--yes")
    assert (told.status, told.last["folded"]) == (0, 0), told.out + told.err
    (model,) = told.last["models"]
    assert [one["state"] for one in model["files"]] == ["left"] * len(paths)
    assert all("written to it in place" in one["reason"] for one in model["files"])
    told = preheat("verify", "--json")
    assert told.status == 8, told.out + told.err
    assert not blob.exists()
    assert preheat("fold", "--json", "--yes").last["folded"] == len(paths)
    assert preheat("fold", "--undo", "--json").last["restored"] == len(paths)
    assert all(b"edited in place" in path.read_bytes() for path in paths)
