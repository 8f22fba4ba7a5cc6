"""`rm` and `prune` free the bytes that they announce, and name what keeps the rest."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.command import Preheat, Told
from tests.stories.caches import write
from tests.stories.disk import Disk, disk
from tests.stories.test_upkeep_disks import image

SIZE = 3_000_000


def model(folder: Path, name: str, **files: bytes) -> str:
    """Make a folder with a model's files; return its ref."""
    for path, data in files.items():
        write(folder / name / path.replace("_", "."), data)
    return f"file:{folder / name}"


class Removing:
    """A library on a small separate disk, whose free space is measured."""

    def __init__(self, preheat: Preheat, at: Path, inside: tuple[str, ...], seen: Path) -> None:
        self._preheat, self._at, self._inside, self._seen = preheat, at, inside, seen

    def __call__(self, verb: str, *words: str) -> Told:
        told = self._preheat(verb, *words, "--json", "--library", f"{self._at}/library", inside=self._inside)
        assert told.status == 0, told.out + told.err
        return told

    def frees(self, *words: str) -> tuple[int, dict[str, int]]:
        """Plan a removal and execute it; return the bytes freed, and what keeps others."""
        plan = self(*words).last
        before = os.statvfs(self._seen)
        done = self(*words, "--yes").last
        after = os.statvfs(self._seen)
        assert plan["size"] == done["size"], "as promised"
        assert plan["kept_by"] == done["kept_by"]
        freed = (after.f_bavail - before.f_bavail) * after.f_frsize
        assert abs(freed - done["size"]) < 200_000, "records and logs are small"
        return int(done["size"]), {one["by"]: one["size"] for one in plan["kept_by"]}


def on(small: Disk, preheat: Preheat) -> Removing:
    return Removing(preheat, small.mounted, small.inside, small.path)


@pytest.mark.parametrize("link", ["hardlink", "symlink", "copy"])
def test_a_view_keeps_the_files_that_it_links_to(preheat: Preheat, link: str) -> None:
    ref = model(preheat.folder, "voice", model_bin=os.urandom(SIZE))
    with disk(preheat.folder / "small", "size=120m") as small:
        there = on(small, preheat)
        there("pull", ref, "--view", f"flat={small.mounted}/app", "--link", link)
        freed, kept = there.frees("rm", ref)
        expected = {
            "hardlink": f"hard links in {small.mounted}/app",
            "symlink": f"the view {small.mounted}/app links to it",
        }
        if link == "copy":
            assert (freed >= SIZE, kept) == (True, {})
        else:
            assert freed == 0
            assert {by for by, size in kept.items() if size >= SIZE} == {expected[link]}
        assert os.path.lexists(small.path / "app/model.bin")


def test_versions_that_share_files_keep_them(preheat: Preheat) -> None:
    shared, own = os.urandom(SIZE), os.urandom(SIZE // 3)
    one = model(preheat.folder, "one", model_bin=shared, extra_bin=own)
    two = model(preheat.folder, "two", model_bin=shared)
    with disk(preheat.folder / "small", "size=120m") as small:
        there = on(small, preheat)
        there("pull", one, two)
        freed, kept = there.frees("rm", one)
        assert SIZE // 3 <= freed < SIZE
        assert kept == {two: SIZE}
        assert there.frees("rm", two)[0] >= SIZE


def test_an_adopted_cache_keeps_its_files_and_prune_reports_it(preheat: Preheat) -> None:
    with disk(preheat.folder / "small", "size=120m") as small:
        write(small.path / "checkpoints/model.bin", os.urandom(SIZE))
        there = on(small, preheat)
        there("adopt", f"{small.mounted}/checkpoints", "--as", "acme/voice")
        plan = there("rm", "acme/voice").last
        assert plan["size"] == 0
        assert [one["by"] for one in plan["kept_by"]] == [f"hard links in {small.mounted}/checkpoints"]
        shutil.rmtree(small.path / "library/records")
        freed, kept = there.frees("prune", "--younger", "0s")
        assert (freed, list(kept)) == (0, [f"hard links in {small.mounted}/checkpoints"])


def test_reflinks_share_their_extents(preheat: Preheat) -> None:
    ref = model(preheat.folder, "voice", model_bin=os.urandom(SIZE))
    with image(preheat.folder / "disk", 400_000_000, "mkfs.xfs", "-q", "-m", "reflink=1") as at:
        there = Removing(preheat, at, (), at)
        there("pull", ref, "--view", f"flat={at}/app", "--link", "reflink")
        subprocess.run(["sync", "-f", str(at)], check=True)
        plan = there("rm", ref).last
        assert plan["size"] == 0
        assert [one["by"] for one in plan["kept_by"]] == ["files that share their extents (reflink)"]
        assert there("rm", ref, "--yes").last["size"] == 0
        shutil.rmtree(at / "app")


def test_people_read_which_bytes_stay_and_why(preheat: Preheat) -> None:
    ref = model(preheat.folder, "voice", model_bin=os.urandom(SIZE))
    assert preheat("pull", ref, "--view", "flat=app", "--link", "hardlink").status == 0
    said = preheat("rm", ref).out
    assert "0 B would be freed" in said
    assert f"3.0 MB would stay on disk: hard links in {preheat.folder}/app" in said
    assert f"3.0 MB stay on disk: hard links in {preheat.folder}/app" in preheat("rm", ref, "--yes").out


def test_rm_names_the_command_that_removes_the_links_of_a_view(preheat: Preheat) -> None:
    app = preheat.folder / "my app"
    app.mkdir()
    (app / "own.txt").write_text("mine")
    assert preheat("pull", "acme/tiny", "--view", f"flat={app}", "--link", "symlink").status == 0
    shown = preheat("rm", "acme/tiny")
    assert f"would stay on disk: the view {app} links to it\n    to remove that view's links first: find " in shown.out
    (kept,) = preheat("rm", "acme/tiny", "--json").last["kept_by"]
    subprocess.run(["sh", "-c", kept["remedy"]], check=True)
    assert sorted(path.name for path in app.rglob("*") if not path.is_dir()) == ["own.txt"]
    done = preheat("rm", "acme/tiny", "--yes", "--json").last
    assert (done["kept_by"], done["size"] > 12_000_000) == ([], True)


def test_after_rm_the_blobs_of_a_view_in_the_library_are_freed_as_told(preheat: Preheat) -> None:
    recipe = '[app]\nname = "talk"\ncommand = ["true"]\n[[needs]]\nref = "hf:acme/tiny"\n'
    (preheat.folder / "preheat.toml").write_text(recipe)
    assert preheat("pull").status == 0
    assert preheat("run", "--link", "symlink").status == 0
    done = preheat("rm", "acme/tiny", "--yes").out
    assert f"stay on disk: the view {preheat.library}/views/talk links to it\n" in done
    remedy, prune = done.partition("to free them: ")[2].strip().split("; ")
    subprocess.run(["sh", "-c", remedy], check=True)
    assert preheat(*prune.split()[1:]).status == 0
    assert not [path for path in (preheat.library / "blobs").rglob("*") if path.is_file()]
