"""Starts that misbehave while they are traced: a clear result, and the app's own files as they were."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from preheat.library.library import Library
from preheat.recipes.lock_file import read_lock
from tests.command import Preheat, Told
from tests.stories.disk import disk
from tests.stories.test_replay import CONFINED
from tests.stories.test_trace_kinds import Site, site, traced

__all__ = ["site", "traced"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SCRIPT = (sys.executable, "-u", "app.py")
WAYS = pytest.mark.parametrize("inside", [(), CONFINED], ids=["overlay", "in place"])


def trace(traced: Preheat, code: str, *words: str, inside: tuple[str, ...] = ()) -> Told:
    if inside and subprocess.run([*inside, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    (traced.folder / "app.py").write_text(code)
    return traced("trace", "--settle", "0s", *words, "--", *SCRIPT, inside=inside)


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the app's own files with their bytes."""
    own = ("app.py", "preheat.toml", "preheat.lock")
    skipped = ("library", "said-", "__pycache__")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in own and not str(path.relative_to(folder)).startswith(skipped)
    }


def kept(traced: Preheat) -> set[str]:
    """Return the names of the files in the recipe; the library has them."""
    lock = read_lock(traced.folder / "preheat.lock")
    assert lock is not None
    for pinned in lock.needs:
        assert Library(traced.library).missing(pinned.snapshot) == ()
    return {file.path for pinned in lock.needs for file in pinned.snapshot.files}


GETS = """
import os, sys, urllib.request
def get(name, path):
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        body = urllib.request.urlopen({url!r} + name).read()
        with open(path, "wb") as file:
            file.write(body)
    return open(path, "rb").read()
"""


@WAYS
def test_gigabytes_of_logs_and_temporary_files_are_said_and_not_kept(
    traced: Preheat, site: Site, inside: tuple[str, ...]
) -> None:
    writes = """
get("/voice.ckpt", "cache/voice.bin")
for name in ("app.log", "cache/scratch.bin", "logs/2026.txt"):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    with open(name, "wb") as file:
        file.write(b"x" * 100_000)
        file.truncate(1 << 30)
"""
    told = trace(traced, GETS.format(url=site.url) + writes, inside=inside)
    assert told.status == 0, told.err
    assert "the start wrote 3.2 GB in" in told.err
    assert kept(traced) == {"voice.ckpt"}
    library = sum(path.lstat().st_blocks * 512 for path in traced.library.rglob("*"))
    assert library < 10_000_000
    left = {"app.log", "cache/voice.bin", "cache/scratch.bin", "logs/2026.txt"}
    assert set(files_of_names(traced.folder)) == (left if inside else set())


def files_of_names(folder: Path) -> list[str]:
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    return [name for name in names if not name.startswith(("library", "said-", "app.py", "preheat.", "__pycache__"))]


def test_an_app_that_deletes_what_it_downloaded_ends_trace_with_8_and_the_url(traced: Preheat, site: Site) -> None:
    deletes = 'print(len(get("/voice.ckpt", "tmp.bin"))); os.unlink("tmp.bin")\n'
    told = trace(traced, GETS.format(url=site.url) + deletes)
    assert told.status == 8, told.err
    assert f"{site.url}/voice.ckpt" in told.err
    assert files_of(traced.folder) == {}


def test_what_a_start_installs_is_seen_by_nobody_else(
    traced: Preheat, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(home)
    (site_packages,) = home.glob("lib/python3*/site-packages")
    (site_packages / "grown.py").write_text("VALUE = 1\n")
    before = sorted(path.name for path in site_packages.rglob("*"))
    code = """
import importlib, pathlib, sysconfig, time
site = pathlib.Path(sysconfig.get_path("purelib"))
if not (site / "brought.py").exists():
    (site / "brought.py").write_text("VALUE = 2\\n")
    (site / "grown.py").write_text("VALUE = 3\\n")
    print("installed", flush=True)
    time.sleep(3)
importlib.invalidate_caches()
import brought, grown
print("read", brought.VALUE, grown.VALUE)
"""
    (traced.folder / "app.py").write_text(code)
    python = str(home / "bin/python")
    running = traced.start("trace", "--settle", "0s", "--", python, "-u", "app.py")
    running.until(lambda running: "installed" in running.err)
    others = "import importlib.util as u, grown; print(grown.VALUE, u.find_spec('brought'))"
    for _ in range(5):
        said = subprocess.run([python, "-c", others], capture_output=True, text=True, check=True).stdout
        assert said == "1 None\n"
    told = running.ended()
    assert told.status in (0, 8), told.err
    assert "read 2 3" in told.err
    assert (
        sorted(path.name for path in site_packages.rglob("*") if path.name != "__pycache__" and path.suffix != ".pyc")
        == before
    )


@WAYS
def test_anything_in_the_folder_of_notes_is_no_error(traced: Preheat, site: Site, inside: tuple[str, ...]) -> None:
    spoils = """
get("/voice.ckpt", "cache/voice.bin")
if notes := os.environ.get("PREHEAT_TRACE"):
    os.mkfifo(notes + "/1.trace"); os.symlink("/etc/passwd", notes + "/2.trace"); os.mkdir(notes + "/3.trace")
    open(notes + "/4.trace", "w").write("[" * 1_000_000 + "\\n")
    open(notes + "/5.trace", "w").write('["open", 1, {"deep": ' + "[" * 100_000 + "]" * 100_000 + "}]\\n")
    open(notes + "/6.trace", "wb").write(b'["open", "x", 3]\\n["http"]\\n[]\\nnull\\n\\xff\\0\\n["rename", 1, "a"]\\n')
    open(notes + "/7.trace", "wb").truncate(1 << 40)
"""
    told = trace(traced, GETS.format(url=site.url) + spoils, inside=inside)
    assert told.status == 0, told.err
    assert "Traceback" not in told.err
    assert kept(traced) == {"voice.ckpt"}


@WAYS
def test_an_app_whose_clock_jumps_is_traced_all_the_same(traced: Preheat, site: Site, inside: tuple[str, ...]) -> None:
    jumps = """
import subprocess, time
class Stopped:
    pass
time.time = lambda: Stopped()
get("/voice.ckpt", "cache/voice.bin")
time.time = lambda: 0.0
if not os.path.exists("cache/made.txt"):
    with open("cache/made.txt", "w") as file: file.write("made")
    subprocess.run(["sh", "-c", "printf native > cache/native.txt"], check=True)
for name in ("cache/made.txt", "cache/native.txt", "cache/voice.bin"):
    os.utime(name, (4e9, 4e9))
open("cache/made.txt").read(), open("cache/native.txt").read()
"""
    told = trace(traced, GETS.format(url=site.url) + jumps, "--first", "exec:true", inside=inside)
    assert told.status == 0, told.err
    assert kept(traced) == {"voice.ckpt", "made.txt", "native.txt"}


@WAYS
def test_an_app_that_is_killed_while_it_downloads_leaves_no_recipe(
    traced: Preheat, site: Site, inside: tuple[str, ...]
) -> None:
    (traced.folder / "own.txt").write_text("mine")
    dies = """
with open("own.txt", "a") as file: file.write(", and the app's")
get("/voice.ckpt", "cache/voice.bin")
os.kill(os.getpid(), 9)
"""
    told = trace(traced, GETS.format(url=site.url) + dies, inside=inside)
    assert told.status == 7, told.err
    assert not (traced.folder / "preheat.toml").exists()
    assert not list(traced.library.glob("trace-*"))
    if not inside:
        assert files_of(traced.folder) == {"own.txt": b"mine"}


def test_a_full_disk_is_an_error_and_leaves_nothing(traced: Preheat, site: Site, tmp_path: Path) -> None:
    with disk(tmp_path / "small", "size=1500k") as small:
        (traced.folder / "app.py").write_text(GETS.format(url=site.url) + 'get("/voice.ckpt", "cache/voice.bin")\n')
        words = ("--library", str(small.mounted / "library"), "trace", "--settle", "0s", "--", *SCRIPT)
        told = traced(*words, inside=(*small.inside[:-1], f"--wd={traced.folder}"))
        assert told.status == 5, told.err
        assert "no space left" in told.err
        assert not list((small.path / "library").rglob("trace-*"))
    assert set(files_of_names(traced.folder)) <= {"cache/voice.bin"}
