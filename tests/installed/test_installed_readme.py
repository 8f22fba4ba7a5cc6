"""README: each command that the READMEs show is run from an installed copy, in their order, against a small hub."""

import re
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.guard.net.network_namespace import why_not
from tests.command import Preheat, Running
from tests.flaky_hub import FlakyHub
from tests.guard.apps import free_port
from tests.installed.copies import ROOT
from tests.installed.webui import answer, write_webui

# Commands that work only in the source tree, and the test that runs them instead.
OF_THE_CLONE = {
    "pipx install .": "tests/installed/copies.py installs it in this way too",
    "make demo": "tests/stories/test_demo.py",
    "make test": "what runs this test",
}
# Verbs that run until they are stopped.
LASTING = ("run", "mirror")
PATH = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(name: str) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text in PATH.findall((ROOT / name).read_text(encoding="utf-8"))]


def commands(text: str) -> list[str]:
    return [line.removeprefix("$ ").partition("  #")[0].strip() for line in text.splitlines()]


def shown(name: str) -> list[str]:
    return [command for kind, text in blocks(name) if kind == "console" for command in commands(text)]


def test_both_readmes_show_the_same_commands_and_each_is_run_or_skipped_with_a_reason() -> None:
    assert shown("README.md") == shown("README.zh-CN.md")
    others = [command for command in shown("README.md") if not command.startswith("preheat ")]
    assert set(others) == set(OF_THE_CLONE)


@pytest.fixture
def python(installed: Preheat) -> Path:
    """A folder with a plain `python`, as an app's environment has."""
    folder = installed.folder / "bin"
    folder.mkdir()
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / "python").chmod(0o755)
    installed.env["PATH"] = f"{folder}:{installed.env['PATH']}"
    return folder / "python"


# By one installer: what the others install is the same, and each verb runs from all of them in test_installed_verbs.py.
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("copy", ["pip"], indirect=True)
def test_the_commands_work_in_the_order_of_the_readme(installed: Preheat, hub: FlakyHub, python: Path) -> None:
    # Public names in the README, and the local ones that replace them.
    here = {"7860": str(free_port()), "8000": str(free_port()), "https://huggingface.co": hub.url}
    library = installed.folder / "library"
    ran: list[str] = []
    lock: bytes | None = None
    for number, (recipe, text) in enumerate(_console()):
        installed.folder = _folder(library.parent / f"block-{number}", python)
        if recipe:
            (installed.folder / "preheat.toml").write_text(_mapped(recipe, here))
        if lock is not None:
            (installed.folder / "preheat.lock").write_bytes(lock)
        for command in commands(text):
            if command in OF_THE_CLONE or ("--network none" in command and why_not()):
                continue
            verb, *words = shlex.split(_mapped(command, here))[1:]
            if verb in LASTING:
                _lasts(installed.start(verb, *words), verb, here)
            else:
                # The default is to observe each start for another 30 s.
                told = installed.start(verb, *words, *(["--observe", "0s"] if verb == "prove" else [])).ended(180)
                assert told.status == 0, f"{command}: {told.out}{told.err}"
            ran.append(command)
        lock = _read(installed.folder / "preheat.lock") if recipe else None
    wanted = [command for command in shown("README.md") if command not in OF_THE_CLONE]
    assert ran == [command for command in wanted if "--network none" not in command or not why_not()]
    assert (library.parent / "block-4/proof.html").read_text(encoding="utf-8").rstrip().endswith("</html>")


def _console() -> Iterator[tuple[str, str]]:
    """Yield each block of commands, with the recipe that was shown last before it."""
    recipe = ""
    for kind, text in blocks("README.md"):
        if kind == "console":
            yield recipe, text
        elif kind == "toml":
            recipe = text


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _folder(folder: Path, python: Path) -> Path:
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/python").symlink_to(python)
    write_webui(folder, "openai/whisper-tiny.en", ["model.safetensors", "config.json", "note.txt"])
    return folder


def _mapped(text: str, here: dict[str, str]) -> str:
    for name, other in here.items():
        text = text.replace(name, other)
    return text


def _lasts(running: Running, verb: str, here: dict[str, str]) -> None:
    """Wait until its page responds, and stop it."""
    page = answer(running, f"http://127.0.0.1:{here['7860' if verb == 'run' else '8000']}/")
    assert (b"bytes are loaded" if verb == "run" else b"openai/whisper-tiny.en") in page
    told = running.kill(signal.SIGTERM)
    assert told.status == (128 + signal.SIGTERM if verb == "run" else 0), told.out + told.err
