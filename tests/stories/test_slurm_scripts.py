"""The Slurm scripts in docs/stage.md, run as slurmd runs them: with a bare environment, and SLURM_ variables."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.stories.two_machines import NOWHERE, locked

TEXT = (Path(__file__).parents[2] / "docs/stage.md").read_text(encoding="utf-8")
RECIPE = """
[app]
name = "demo"
command = ["sh", "-c", "cat $HF_HUB_CACHE/models--acme--tiny/snapshots/*/config.json"]
[[needs]]
ref = "acme/tiny"
files = ["config.json"]
"""


class Node:
    """A compute node: the scripts, their settings, and a `logger` that writes to a file."""

    def __init__(self, preheat: Preheat) -> None:
        folder = self.folder = preheat.folder
        self.stage = folder / "nvme"
        apps, programs = folder / "apps", folder / "programs"
        (apps / "demo").mkdir(parents=True)
        for name in ("preheat.toml", "preheat.lock"):
            (apps / "demo" / name).write_bytes((folder / name).read_bytes())
        programs.mkdir()
        (programs / "logger").write_text(f'#!/bin/sh\necho "$@" >> {folder}/log\n')
        (programs / "logger").chmod(0o755)
        (programs / "preheat").symlink_to(preheat.command)
        settings = script("stage.env")
        for old, new in {
            "/opt/preheat/bin": programs,
            "/shared/preheat": preheat.library,
            "/local/nvme/preheat": self.stage,
            "/etc/preheat/apps": apps,
            "http://head1:8000": "http://127.0.0.1:9",
            "http://head2:8000": "http://127.0.0.1:10",
        }.items():
            assert old in settings
            settings = settings.replace(old, str(new))
        self.settings = folder / "stage.env"
        self.settings.write_text(settings)

    def run(self, name: str, comment: str | None, job: str = "17") -> subprocess.CompletedProcess[str]:
        env = {"SLURM_JOB_ID": job, "PREHEAT_STAGE_ENV": str(self.settings), "HOME": str(self.folder)}
        env |= {"HF_ENDPOINT": NOWHERE} | ({} if comment is None else {"SLURM_JOB_COMMENT": comment})
        return subprocess.run(["sh", "-c", script(name)], env=env, cwd="/", capture_output=True, text=True, check=False)

    @property
    def log(self) -> str:
        log = self.folder / "log"
        return log.read_text() if log.is_file() else ""

    def holds(self) -> list[str]:
        return [path.name for path in self.stage.glob("stages/*/holds/*")]


def script(name: str) -> str:
    """Return a script of the document by the path before it."""
    found = re.search(rf"^`/etc/[^`]*{re.escape(name)}`[^\n]*\n\n```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found[1]


@pytest.fixture
def node(preheat: Preheat) -> Node:
    return Node(locked(preheat, RECIPE))


def test_a_jobs_files_are_there_before_it_and_released_after_it(node: Node, preheat: Preheat) -> None:
    before = node.run("prolog.d/50-preheat", "preheat:demo")
    assert (before.returncode, before.stdout, node.log) == (0, "", ""), before
    assert node.holds() == ["17"]
    said = node.run("taskprolog.d/50-preheat", "preheat:demo").stdout
    assert said == f"export PREHEAT_LIBRARY={node.stage}\n"
    started = preheat("run", PREHEAT_LIBRARY=str(node.stage), HF_ENDPOINT=NOWHERE)
    assert (started.status, "tiny" in started.out) == (0, True), started.err
    assert node.run("epilog.d/50-preheat", "preheat:demo").returncode == 0
    assert (node.holds(), node.log) == ([], "")


@pytest.mark.parametrize(
    "comment", [None, "", "a word", "preheat:", "preheat:none", "preheat:../demo", "preheat:.", "preheat:demo; x"]
)
def test_other_comments_are_none_of_its_business(node: Node, comment: str | None) -> None:
    assert node.run("prolog.d/50-preheat", comment).returncode == 0
    assert (node.stage.exists(), node.log) == (False, "")
    assert node.run("epilog.d/50-preheat", comment).returncode == 0
    assert "PREHEAT_LIBRARY" not in node.run("taskprolog.d/50-preheat", "a word").stdout


def test_a_failure_is_logged_and_does_not_drain_the_node(node: Node, preheat: Preheat) -> None:
    preheat.library.rename(node.folder / "unmounted")
    assert node.run("prolog.d/50-preheat", "preheat:demo").returncode == 0
    assert "demo: not staged" in node.log
    node.stage.mkdir(exist_ok=True)
    (node.stage / "format").write_text("99\n")
    assert node.run("prolog.d/50-preheat", "preheat:demo").returncode == 0
    assert "no room, or a disk error" in node.log
