"""Run of an app that no restart can heal: it is started once, and the message names the reason."""

import json
import sys
from pathlib import Path

import pytest

from tests.command import Preheat, Told
from tests.guard.apps import free_port
from tests.stories.caches import write

COUNTED = "open('starts', 'a').write('.')\n"
IN_VAIN = {
    "a missing module": ("app.py", COUNTED + "import no_such_module"),
    "a missing name": ("app.py", COUNTED + "from os import no_such_name"),
    "a syntax error": ("app.py", COUNTED + "exec('for in')"),
    "a wrong option": (
        "app.py",
        COUNTED + "import argparse, sys; argparse.ArgumentParser().parse_args(['--no-such'])",
    ),
    "a program that the script does not find": ("start.sh", "printf . >> starts\nno-such-program --port 7860\n"),
    "a script of another folder": ("start.sh", f"printf . >> starts\nexec {sys.executable} no_such_file.py\n"),
    "a failure that is passed on": (
        "app.py",
        COUNTED + "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import no_such_module'], check=True)",
    ),
}


def run(preheat: Preheat, name: str, text: str) -> tuple[Told, int]:
    """Run an app that is never ready; return the result, and how often it was started."""
    write(preheat.folder / name, text.encode())
    program = sys.executable if name.endswith(".py") else "bash"
    told = preheat("run", "--json", "--ready", f"tcp:{free_port()}", "--", program, name)
    starts = preheat.folder / "starts"
    return told, len(starts.read_text()) if starts.exists() else 0


@pytest.mark.parametrize("kind", IN_VAIN)
def test_what_a_restart_cannot_change_is_started_once(preheat: Preheat, kind: str) -> None:
    told, starts = run(preheat, *IN_VAIN[kind])
    assert (told.status, starts) == (7, 1), told.err
    error = json.loads(told.err.splitlines()[-1])
    assert error["message"].endswith("; a restart would end in the same way")


def test_a_missing_module_is_named_with_what_to_do(preheat: Preheat) -> None:
    told, _ = run(preheat, "app.py", "import no_such_module")
    error = json.loads(told.err.splitlines()[-1])
    assert f"Python ({sys.executable}) cannot import no_such_module" in error["message"]
    assert "bin/python" in error["hint"]


HEALS = {
    "a refused connection": "if not again: raise ConnectionRefusedError(111, 'Connection refused')",
    "a missing module that it does without": (
        "try:\n    import no_such_module\nexcept ImportError as error:\n    print(error)\n"
        "if not again: raise OSError('the disk is not there yet')"
    ),
}


@pytest.mark.parametrize("kind", HEALS)
def test_what_may_heal_is_restarted(preheat: Preheat, kind: str) -> None:
    code = f"import os, sys\nagain = os.path.exists('starts')\n{COUNTED}{HEALS[kind]}\nprint('up', flush=True)\n"
    write(preheat.folder / "app.py", code.encode())
    told = preheat("run", "--json", "--ready", "line:up", "--", sys.executable, "app.py")
    assert told.status == 0, told.err
    assert Path(preheat.folder, "starts").read_text() == ".."
