"""Two containers with one host name and one path share a library: neither loses what the other uses."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import preheat as package
from preheat.library.app_notes import AppNotes
from tests.command import Preheat
from tests.stories.kept import blobs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount the containers' roots")

Inside = tuple[str, ...]
PRUNE = ("prune", "--yes", "--younger", "0s")


@pytest.fixture
def containers(preheat: Preheat, tmp_path: Path) -> Iterator[tuple[Inside, Inside]]:
    """Two roots with this machine's files, whose changes are apart; they share the library.

    They are mounted in a mount namespace of their own, which ends with its only process: nothing that is mounted there
    can be seen, or removed, from outside.
    """
    store = tmp_path / "containers"
    store.mkdir()
    preheat.library.mkdir()
    shown = {Path(one).resolve() for one in (sys.prefix, sys.base_prefix, Path(package.__file__).parents[2])}
    shown = {path for path in shown if not any(path.is_relative_to(other) for other in shown - {path})}
    lines = ["set -e", f"mount -t tmpfs tmpfs {store}"]
    for name in "ab":
        root, changes = store / name / "root", store / name / "changes"
        lines += [
            f"mkdir -p {root} {changes} {store}/{name}/work",
            f"mount -t overlay overlay -o lowerdir=/,upperdir={changes},workdir={store}/{name}/work {root}",
            *(f"mount --rbind {path} {root}{path}" for path in ("/proc", "/dev", *sorted(shown), preheat.library)),
        ]
    lines += ["echo mounted", "exec sleep 600"]
    with subprocess.Popen(
        ["unshare", "--mount", "bash", "-c", "\n".join(lines)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as keeper:  # fmt: skip
        assert keeper.stdout is not None
        assert keeper.stderr is not None
        if keeper.stdout.readline() != "mounted\n":
            pytest.skip(f"no overlay can be mounted here: {keeper.stderr.read().strip()}")
        enter = ("nsenter", f"--target={keeper.pid}", "--mount", "chroot")
        try:
            yield (*enter, str(store / "a/root")), (*enter, str(store / "b/root"))
        finally:
            keeper.kill()


def readable(inside: Inside, path: str) -> bool:
    return subprocess.run([*inside, "cat", path], capture_output=True, check=False).returncode == 0


def test_a_prune_in_one_keeps_what_a_view_in_the_other_links_to(
    preheat: Preheat, containers: tuple[Inside, Inside]
) -> None:
    one, two = containers
    assert preheat("pull", "acme/tiny").status == 0
    told = preheat("view", "flat", "/models", "acme/tiny", "--link", "symlink", inside=one)
    assert told.status == 0, told.err
    assert readable(one, "/models/config.json")
    assert not readable(two, "/models/config.json")
    assert preheat("rm", "acme/tiny", "--yes", inside=two).status == 0
    assert preheat(*PRUNE, inside=two).status == 0
    assert readable(one, "/models/model.safetensors")
    # The same view in the other one has a claim of its own, which ends with it.
    assert preheat("pull", "acme/tiny", inside=two).status == 0
    assert preheat("view", "flat", "/models", "acme/tiny", "--link", "symlink", inside=two).status == 0
    assert len(list((preheat.library / "claims").iterdir())) == 2
    assert preheat("rm", "acme/tiny", "--yes", inside=two).status == 0
    subprocess.run([*two, "rm", "-r", "/models"], check=True)
    assert preheat(*PRUNE, inside=two).status == 0
    assert readable(one, "/models/model.safetensors")
    subprocess.run([*one, "rm", "-r", "/models"], check=True)
    assert preheat(*PRUNE, inside=one).status == 0
    assert blobs(preheat.library) == {}


def test_an_app_in_one_keeps_the_versions_that_its_lock_pins(
    preheat: Preheat, containers: tuple[Inside, Inside]
) -> None:
    one, two = containers
    recipe = '[app]\nname = "{}"\ncommand = ["true"]\n[[needs]]\nref = "acme/tiny"\n'
    for inside, name in ((one, "first"), (two, "second")):
        write = ["sh", "-c", 'printf %s "$1" > /srv/preheat.toml', "sh", recipe.format(name)]
        subprocess.run([*inside, *write], check=True)
        told = preheat("pull", "/srv/preheat.toml", inside=inside)
        assert told.status == 0, told.err
    notes = {note.name: note.here for note in AppNotes(preheat.library / "apps")}
    assert notes == {"first": False, "second": False}
