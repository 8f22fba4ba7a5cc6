"""Workbench: what an app writes is seen, and the user's files stay as they were; as root, and as anybody."""

import codecs
import ctypes
import json
import os
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from preheat.disk.temporary_file import TRACE
from preheat.proof.conditions.scratch_folder import fresh, sweep
from preheat.verbs.tracing.workbench import IN_PLACE, OVERLAY, AppFolders, Workbench

NOBODY = 65534
WRITES = (
    "echo new > new; echo more >> kept; rm gone; mkdir -p made/deep; echo x > made/deep/one; mv made moved;"
    "mkfifo pipe; ln -s new link; touch -r kept kept; echo seen > ../home/.seen; rm -f new2; : < kept"
)


@pytest.fixture(params=["root", "user"])
def user(request: pytest.FixtureRequest) -> int:
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    return 0 if request.param == "root" else NOBODY


@pytest.fixture
def place(user: int) -> Iterator[Path]:
    """Give a folder of the user's, with an app in it; below /tmp, for pytest's own is root's."""
    folder = Path(tempfile.mkdtemp(prefix="workbench-"))
    for name in ("app", "home", "library"):
        (folder / name).mkdir()
    (folder / "app" / "kept").write_text("kept\n")
    (folder / "app" / "gone").write_text("gone\n")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user)
    yield folder
    shutil.rmtree(folder)


def as_user(user: int, act: Callable[[], Any]) -> Any:
    """Return what `act` returns in a child of this process, which is that user."""
    codecs.lookup("ascii")  # the user may not be able to read Python's own modules
    ours, its = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if user:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
                # A process that changed its user may not write its maps otherwise: prctl(2), PR_SET_DUMPABLE.
                ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
            os.write(its, json.dumps(act()).encode())
        except BaseException as error:  # noqa: BLE001 - told to the parent
            os.write(its, json.dumps({"error": repr(error)}).encode())
        finally:
            os._exit(0)
    os.close(its)
    with open(ours, "rb") as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return json.loads(said)


def on_bench(place: Path, act: Callable[[Workbench], Any], *, overlay: bool = True) -> Any:
    os.chdir(place / "app")
    with fresh(place / "library", TRACE) as workplace:
        bench = Workbench.open(AppFolders(place / "app", place / "home"), place / "library", workplace, overlay=overlay)
        return [bench.how, bench.detail, act(bench)]


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def shell(words: str) -> None:
    subprocess.run(["sh", "-c", words], check=True)


def test_writes_are_listed_and_dropped(user: int, place: Path) -> None:
    before = contents(place / "app")

    def act(bench: Workbench) -> Any:
        shell(WRITES)
        real = {path: bench.real(path).read_text() for path in bench.written()}
        os.link(bench.real(f"{place}/app/new"), place / "library" / "linked")
        outside = bench.outside(place / "app" / "recipe.toml")
        outside.write_text("stays")
        return real

    told = as_user(user, lambda: on_bench(place, act))
    if told[:1] == [IN_PLACE]:
        pytest.skip(f"no overlays here: {told}")
    how, detail, real = told
    assert (how, "user namespace" in detail) == (OVERLAY, bool(user))
    names = {path.removeprefix(f"{place}/"): text for path, text in real.items()}
    assert names == {
        "app/new": "new\n", "app/kept": "kept\nmore\n", "app/moved/deep/one": "x\n", "home/.seen": "seen\n"
    }  # fmt: skip
    assert contents(place / "app") == before | {"recipe.toml": "stays"}
    assert contents(place / "home") == {}
    assert contents(place / "library") == {"linked": "new\n"}


def test_each_ground_is_as_before_the_start(user: int, place: Path) -> None:
    def act(bench: Workbench) -> Any:
        seen = []
        shell(WRITES)
        for _ in range(2):
            with bench.ground() as ground:
                folder = Path(ground.folder)
                seen.append([contents(folder), contents(ground.home), ground.covers(folder / "some/where")])
                shell(f"cd {folder}; echo again > {folder}/new; echo again > kept; echo h > {ground.home}/h")
        return seen

    told = as_user(user, lambda: on_bench(place, act))
    assert isinstance(told, list), told
    if told[0] == IN_PLACE:
        pytest.skip(f"no overlays here: {told}")
    was = {"kept": "kept\n", "gone": "gone\n"}
    assert told[2] == [[was, {}, True]] * 2
    assert contents(place / "app") == was


def test_in_place_a_ground_is_a_copy_without_what_was_created(user: int, place: Path) -> None:
    def act(bench: Workbench) -> Any:
        shell("echo new > new; mkfifo pipe; ln -s ../home out; truncate -s 2M large; mv large kept2")
        with bench.ground() as ground:
            names = sorted(path.name for path in ground.folder.iterdir())
            return [sorted(bench.written()), names, ground.here(f"{place}/app/kept"), ground.covers(place / "app")]

    Path(place / "app" / "weights").write_bytes(bytes(2 << 20))
    how, _, (written, names, moved, covered) = as_user(user, lambda: on_bench(place, act, overlay=False))
    assert how == IN_PLACE
    assert written == [f"{place}/app/kept2", f"{place}/app/new"]
    assert names == ["gone", "kept", "out", "weights"]
    assert moved.endswith("/app/kept")
    assert not moved.startswith(f"{place}/app")
    assert not covered


def test_threaded_process_is_not_moved(user: int, place: Path) -> None:
    def act() -> Any:
        over = threading.Event()
        thread = threading.Thread(target=over.wait)
        thread.start()
        try:
            return on_bench(place, lambda bench: bench.reason)
        finally:
            over.set()

    how, _, reason = as_user(user, act)
    assert how == IN_PLACE
    assert "several threads" in reason


def test_layers_of_a_killed_trace_are_swept(user: int, place: Path) -> None:
    def killed() -> Any:
        child = os.fork()
        if child == 0:
            on_bench(place, lambda _: os._exit(9))
        os.waitpid(child, 0)
        left = [path.name for path in (place / "library").glob(f"{TRACE}*")]
        sweep(place / "library")
        return left

    assert as_user(user, killed)
    assert not list((place / "library").glob(f"{TRACE}*"))
    assert stat.S_ISDIR(place.stat().st_mode)
