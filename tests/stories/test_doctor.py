"""Doctor, end to end: problems are found, and nothing is changed."""

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
