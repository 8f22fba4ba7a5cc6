"""The examples of the Python API run unchanged, against a local hub."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority import authority
from tests.flaky_hub import FlakyHub

ROOT = Path(__file__).parents[2]
MODEL = "openai/whisper-tiny.en"


@pytest.fixture
def hub(model: Path) -> Iterator[FlakyHub]:
    with FlakyHub({MODEL: model}) as hub:
        yield hub


def ran(words: list[str], folder: Path, hub: FlakyHub) -> "subprocess.CompletedProcess[str]":
    own = {"PREHEAT_LIBRARY": str(folder / "library"), "HF_ENDPOINT": hub.url, **authority().environ}
    return subprocess.run(words, cwd=folder, env={**os.environ, **own}, capture_output=True, text=True, check=False)


def test_the_notebook_runs_from_the_first_cell_to_the_last(tmp_path: Path, hub: FlakyHub) -> None:
    cells = json.loads((ROOT / "examples/notebook.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    done = ran([sys.executable, "-c", code], tmp_path, hub)
    assert done.returncode == 0, done.stderr
    assert "12.0 MB downloaded" in done.stdout
    assert (tmp_path / "hf-cache/models--openai--whisper-tiny.en/refs/main").is_file()


def test_the_examples_in_the_document_run(tmp_path: Path, hub: FlakyHub) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs/api.md").read_text(), re.DOTALL))
    done = ran([sys.executable, "-c", code], tmp_path, hub)
    assert done.returncode == 0, done.stderr
    assert "9.0 MB downloaded" in done.stdout


def test_the_ci_example_reports_a_missing_lock_and_what_is_ready(tmp_path: Path, hub: FlakyHub) -> None:
    script = [sys.executable, str(ROOT / "examples/warm_ci.py")]
    (tmp_path / "preheat.toml").write_text(f'[app]\nname = "job"\n\n[[needs]]\nref = "{MODEL}"\n')
    without = ran(script, tmp_path, hub)
    assert without.returncode == 8
    assert "has no lock" in without.stderr
    locked = ran([sys.executable, "-c", "from preheat import api; api.lock()"], tmp_path, hub)
    assert locked.returncode == 0, locked.stderr
    done = ran(script, tmp_path, hub)
    assert done.returncode == 0, done.stderr
    assert "preheat.toml: 12.0 MB ready" in done.stdout


def test_a_command_runs_behind_a_mirror(tmp_path: Path, hub: FlakyHub) -> None:
    client = f"""
import os, urllib.request
with urllib.request.urlopen(os.environ["HF_ENDPOINT"] + "/{MODEL}/resolve/main/config.json") as answer:
    print(len(answer.read()), "bytes")
raise SystemExit(7)
"""
    done = ran([sys.executable, str(ROOT / "examples/behind_a_mirror.py"), sys.executable, "-c", client], tmp_path, hub)
    assert done.returncode == 7, done.stderr
    assert done.stdout.endswith(" bytes\n")
    assert list((tmp_path / "library/blobs").rglob("*"))
