"""Doctor, end to end: problems are found, and nothing is changed."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.disk.filesystem import filesystem_of
from preheat.library.library import Library
from preheat.proof.limits.line_speed import Line
from preheat.verbs.doctor import DoctorInputs, doctor
from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.stories.kept import contents
from tests.stories.test_upkeep_disks import LINKLESS, image

RECIPE = """\
[app]
name = "talk"
[[needs]]
ref = "hf:acme/tiny"
files = ["model.safetensors", "config.json"]
"""


def causes(preheat: Preheat, *words: str, **env: str) -> dict[str, str]:
    """Return the problems found, each with the command that helps."""
    told = preheat("doctor", *words, "--json", inside=(), **env)
    assert told.status == 0, told.err
    return {remedy["cause"]: remedy["command"] for remedy in told.last["remedies"]}


def test_missing_files_are_reported_with_the_pull_command_and_nothing_is_changed(
    preheat: Preheat, hub: FlakyHub
) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    assert causes(preheat)["not-preloaded"] == "preheat pull preheat.toml"
    assert not preheat.library.exists()
    offline = causes(preheat, "preheat.toml", HF_HUB_OFFLINE="1")
    assert offline["offline-without-weights"] == "preheat pull preheat.toml"
    preheat("pull", "preheat.toml")
    before = contents(preheat.library)
    found = causes(preheat, "preheat.toml")
    assert found["asks-the-hub"] == "preheat run preheat.toml"
    assert "not-preloaded" not in found
    assert "asks-the-hub" not in causes(preheat, "preheat.toml", HF_HUB_OFFLINE="1")
    assert contents(preheat.library) == before


def test_an_unreachable_hub_is_reported_with_a_command(preheat: Preheat) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE.replace("acme/tiny", "acme/none"))
    told = preheat("doctor")
    assert told.status == 0
    assert "acme/none" in told.out
    assert "blocks" in told.out


def test_the_environment_is_examined_without_an_app(preheat: Preheat) -> None:
    assert causes(preheat) == {}
    found = causes(preheat, HTTP_PROXY="http://127.0.0.1:9", SSL_CERT_FILE="/none.pem")
    assert found == {
        "no-certificates": "unset SSL_CERT_FILE",
        "proxy-before-localhost": "export NO_PROXY=localhost,127.0.0.1,::1",
    }
    assert causes(preheat, HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="localhost,127.0.0.1") == {}
    assert preheat("doctor").out == "found nothing that would speed up a start\n"


def test_people_read_seconds_and_commands(preheat: Preheat) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    lines = preheat("doctor").out.splitlines()
    assert "9.0 MB are not in the library" in lines[0]
    assert lines[0].split()[1] == "s"
    assert lines[1].strip() == "$ preheat pull preheat.toml"


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder on tmpfs."""
    shared = Path("/dev/shm")
    if filesystem_of(shared) != "tmpfs":
        pytest.skip("/dev/shm is not on tmpfs here")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def test_a_library_that_is_deleted_with_its_container_is_found(tmp_path: Path, in_memory: Path) -> None:
    def at(root: Path) -> list[str]:
        inputs = DoctorInputs(lambda need: (), lambda source, snapshot: Line(1, 1, 1, 1), {"HOME": "/root"}, root=root)
        return [remedy.cause for remedy in doctor(None, Library(in_memory / "library"), inputs, lambda event: None)[1]]

    assert "library-not-kept" not in at(tmp_path)
    (tmp_path / ".dockerenv").touch()
    assert "library-not-kept" in at(tmp_path)


@LINKLESS
def test_a_view_that_would_be_a_second_copy_is_found(
    preheat: Preheat, make: tuple[str, ...], mount: tuple[str, ...]
) -> None:
    preheat("pull", "acme/tiny")
    with image(preheat.folder / "fat", 64 << 20, *make, mount=mount) as at:
        place = f'view = "flat"\nat = "{at}"\n'
        (preheat.folder / "preheat.toml").write_text(RECIPE.replace("[[needs]]\n", f"[[needs]]\n{place}"))
        assert causes(preheat)["view-copied"] == f"preheat pull preheat.toml --library {at}/.preheat"
        assert not list(at.iterdir())


STARTED = """\
[app]
name = "talk"
command = ["PYTHON", "{dir}/app.py"]
ready = "line:up"
[[needs]]
ref = "hf:acme/tiny"
files = ["config.json"]
"""
# Its imports take longer than all else.
IMPORTS = """
import heavy, time
print("up", flush=True)
time.sleep(60)
"""


def test_imports_are_named_once_a_start_was_measured(preheat: Preheat) -> None:
    (preheat.folder / "preheat.toml").write_text(STARTED.replace("PYTHON", sys.executable))
    (preheat.folder / "app.py").write_text(IMPORTS)
    (preheat.folder / "heavy.py").write_text("import time\ntime.sleep(0.7)\n")
    told = preheat("doctor")
    assert told.out.splitlines()[-1].endswith("is not measured yet; to measure it: preheat prove")
    told = preheat("prove", "--conditions=preloaded", "--observe=0s", "--json")
    assert told.status == 0, told.err
    told = preheat("doctor", PREHEAT_CRIU="/nowhere/criu")
    last = told.out.splitlines()[-1]
    assert last.startswith("a preloaded start on ")
    assert ": imports 0." in last
    assert "reading weights " in last
    assert " until the app is ready (heavy 0." in told.out
    assert "preheat trace --force -- " in told.out
    [start] = preheat("doctor", "--json").last["symptoms"]["starts"]
    assert start["condition"] == "preloaded"
    assert 0.7 <= start["imports_s"] <= start["ready_s"]
    assert start["slowest"][0][0] == "heavy"


def test_a_trace_notes_the_imports_too(preheat: Preheat, hub: FlakyHub) -> None:
    preheat.env["MODELSCOPE_ENDPOINT"] = hub.url
    (preheat.folder / "app.py").write_text(IMPORTS)
    (preheat.folder / "heavy.py").write_text("import time\ntime.sleep(0.7)\n")
    told = preheat("trace", "--no-replay", "--ready", "line:up", "--settle=0s", "--", sys.executable, "app.py")
    assert told.status == 0, told.err
    lines = preheat("doctor").out.splitlines()
    assert lines[-2].startswith("a traced start on ")
    assert ": imports 0." in lines[-2]
    assert lines[-1] == "the time of reading weights is not measured yet; to measure it: preheat prove"
