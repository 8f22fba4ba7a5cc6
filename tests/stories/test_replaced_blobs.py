"""An app changes the library's files: the next verb detects it, and uses the right bytes."""

import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub

RECIPE = """
[app]
name = "x"
command = ["/bin/sh", "-c", "cmp -s m/model.safetensors original"]

[[needs]]
ref = "hf:acme/tiny"
files = ["model.safetensors"]
view = "flat"
at = "m"
"""


def weights(library: Path) -> Path:
    return max(
        (path for path in (library / "blobs/sha256").rglob("*") if path.is_file()), key=lambda one: one.stat().st_size
    )


def in_place(blob: Path) -> None:
    with open(blob, "r+b") as file:
        file.write(b"EVIL")


def in_place_with_its_times_set_back(blob: Path) -> None:
    before = blob.stat()
    blob.chmod(0o644)
    in_place(blob)
    blob.chmod(0o444)
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))


def by_rename(blob: Path) -> None:
    other = blob.with_name("x")
    other.write_bytes(b"EVIL" + blob.read_bytes()[4:])
    other.chmod(0o444)
    os.utime(other, ns=(blob.stat().st_atime_ns, blob.stat().st_mtime_ns))
    other.rename(blob)


def in_place_with_one_more_name(blob: Path) -> None:
    in_place_with_its_times_set_back(blob)
    os.link(blob, blob.parents[4] / "one-more-name")


CHANGES = [in_place, in_place_with_its_times_set_back, by_rename, in_place_with_one_more_name]


@pytest.fixture
def app(preheat: Preheat, model: Path) -> Preheat:
    """A library with an app's model in it."""
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    (preheat.folder / "original").write_bytes((model / "model.safetensors").read_bytes())
    told = preheat("pull", "acme/tiny")
    assert told.status == 0, told.err
    return preheat


@pytest.mark.parametrize("change", CHANGES)
def test_pull_downloads_the_right_bytes_again(app: Preheat, change: Callable[[Path], None]) -> None:
    blob = weights(app.library)
    change(blob)
    told = app("pull", "acme/tiny")
    assert told.status == 0, told.err
    assert "corrupt: sha256:" in told.err
    assert blob.read_bytes() == (app.folder / "original").read_bytes()


@pytest.mark.parametrize("change", CHANGES)
def test_run_does_not_start_the_app_on_wrong_bytes(app: Preheat, change: Callable[[Path], None]) -> None:
    change(weights(app.library))
    told = app("run", "--max-restarts", "0")
    assert told.status == 5, told.err
    assert "preheat pull" in told.err
    assert app("run", "--max-restarts", "0", "--pull").status == 0


@pytest.mark.parametrize("change", CHANGES)
def test_build_puts_no_wrong_bytes_into_an_image(app: Preheat, change: Callable[[Path], None]) -> None:
    change(weights(app.library))
    told = app("build", "--base", "scratch", "--output", f"oci:{app.folder}/out:x")
    assert told.status == 5, told.err


@pytest.mark.parametrize("change", CHANGES)
def test_a_mirror_serves_no_wrong_bytes(app: Preheat, hub: FlakyHub, change: Callable[[Path], None]) -> None:
    mirror = app.start("mirror", "--listen", "127.0.0.1:0", "--upstream", f"hf={hub.url}", "--json")
    url = mirror.event("serving")["url"]
    right = (app.folder / "original").read_bytes()

    def given() -> bytes:
        with urllib.request.urlopen(f"{url}/acme/tiny/resolve/main/model.safetensors", timeout=30) as answer:
            body: bytes = answer.read()
            return body

    assert given() == right
    change(weights(app.library))
    assert given() == right
    mirror.kill(15)


def test_the_same_bytes_in_another_file_are_hashed_once(app: Preheat) -> None:
    blob = weights(app.library)
    other = blob.with_name("x")
    other.write_bytes(blob.read_bytes())
    other.rename(blob)
    first, second = app("run", "--max-restarts", "0", "-v"), app("run", "--max-restarts", "0", "-v")
    assert (first.status, second.status) == (0, 0), first.err
    assert "to verify" in first.err
    assert "to verify" not in second.err
