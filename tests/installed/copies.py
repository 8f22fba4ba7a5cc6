"""Copies: preheat as users get it: built, and installed by each installer into an empty environment."""

import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src/preheat"
KINDS = ("pip", "pipx", "uv tool")
_HANGS_S = 300.0


@dataclass(frozen=True, slots=True)
class Copy:
    """An installed preheat: the command that its user types, and the Python of its environment."""

    kind: str
    command: Path
    python: Path
    installer: Path
    # The installer's variables, which may be unset again when preheat prints a hint.
    told: dict[str, str] = field(default_factory=dict)


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from the sdist alone, in `folder`."""
    _done([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)], ROOT)
    [sdist] = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    [unpacked] = (folder / "unpacked").iterdir()
    _done([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], unpacked)
    [wheel] = folder.glob("*.whl")
    return sdist, wheel


def install(kind: str, wheel: Path, folder: Path) -> Copy:
    """Install the wheel in `folder` as the users of `kind` do; skip the test where that installer is missing."""
    commands = folder / "commands"
    if kind == "pip":
        _done([sys.executable, "-m", "venv", str(folder / "environment")], folder)
        python = folder / "environment/bin/python"
        _done([str(python), "-m", "pip", "install", "--quiet", str(wheel)], folder)
        return Copy(kind, python.with_name("preheat"), python, python)
    installer = _installer(kind.partition(" ")[0])
    if kind == "pipx":
        told = {"PIPX_HOME": str(folder / "home"), "PIPX_BIN_DIR": str(commands)}
        _done([str(installer), "install", str(wheel)], folder, told)
        python = folder / "home/venvs/preheat/bin/python"
    else:
        told = {"UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(commands)}
        _done([str(installer), "tool", "install", "--python", sys.executable, str(wheel)], folder, told)
        python = folder / "tools/preheat/bin/python"
    return Copy(kind, commands / "preheat", python, installer, told)


def environment() -> dict[str, str]:
    """Return this process's environment, without the variables of its own virtual environment."""
    return {
        name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    }


def _installer(name: str) -> Path:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return Path(found)


def _done(words: list[str], folder: Path, told: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment() | (told or {}),
        capture_output=True,
        text=True,
        timeout=_HANGS_S,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
