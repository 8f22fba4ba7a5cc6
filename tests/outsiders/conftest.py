"""Outsiders: other people's programs, each in its own environment, to check the formats and APIs that we support."""

import hashlib
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from preheat.core.events import Event
from preheat.mirror.api.folders import Shelf
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.server import Server
from tests.authority import authority

_KEPT = Path(__file__).parents[2] / ".outsiders"

Outsider = Callable[..., Path]


@pytest.fixture(scope="session")
def outsider() -> Outsider:
    """Return a function from pinned requirements to a Python with them: `outsider("huggingface_hub==0.36.0")`.

    The environment is created once, and reused while the requirements are the same. If no package index can be reached,
    the test is skipped.
    """
    return environment


def environment(*requirements: str) -> Path:
    wanted = "\n".join((f"python {sys.version}", *requirements)) + "\n"
    name = requirements[0].replace("==", "-").replace("/", "-")
    home = _KEPT / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"
    python, complete = home / "bin" / "python", home / "complete"
    _KEPT.mkdir(exist_ok=True)
    with FileLock(_KEPT / f"{home.name}.lock"):
        if complete.is_file() and complete.read_text() == wanted:
            return python
        shutil.rmtree(home, ignore_errors=True)
        done = _install(home, requirements)
        if done.returncode:
            shutil.rmtree(home, ignore_errors=True)
            if "No matching distribution" in done.stderr and "connection" not in done.stderr.lower():
                pytest.fail(f"no package index knows {requirements}: {done.stderr}")
            pytest.skip(f"{requirements} cannot be installed here: {done.stderr.strip()[-300:]}")
        complete.write_text(wanted)
    return python


def _install(home: Path, requirements: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
    """Make an environment in `home`: by uv, which links what it has unpacked before, else by pip.

    Only pip reads pip's settings, which may name another index, or a folder with a small build of torch.
    """
    python = str(home / "bin/python")
    if not any(name.startswith("torch") for name in requirements):
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(home)], check=True)
        words = [uv, "pip", "install", "--quiet", "--python", python, *requirements]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if not done.returncode:
            return done
        shutil.rmtree(home)
    venv.create(home, with_pip=True)
    words = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *requirements]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def evaluator(python: Path, environ: Mapping[str, str], prelude: str) -> Callable[..., object]:
    """Return a function that evaluates an expression after `prelude` in another Python, `inside` another program."""

    def evaluate(expression: str, inside: tuple[str, ...] = ()) -> object:
        script = f"{prelude}\nprint('\\n' + json.dumps({expression}))"
        done = subprocess.run([*inside, python, "-c", script], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answer: object = json.loads(done.stdout.splitlines()[-1])
        return answer

    return evaluate


class Served:
    """A mirror with a model and a dataset, and the requests that it received."""

    def __init__(self, folder: Path, url: str, events: list[Event]) -> None:
        self.folder = folder
        self.url = url
        self.events = events


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve one folder as the model `acme/tiny`, the model `solo` and the dataset `acme/rows`."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "voices" / "deep").mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "tiny"}\n')
    (folder / "empty.txt").touch()
    (folder / "voices" / "müde & froh #1.txt").write_text("hmm\n")
    (folder / "voices" / "deep" / "low.bin").write_bytes(bytes(range(256)) * 8)
    # Above 10 MB, clients use other methods: progress, resume, parts.
    (folder / "model.safetensors").write_bytes(b"".join(i.to_bytes(4, "big") for i in range(3_000_000)))
    events: list[Event] = []
    shelf = Shelf(dict.fromkeys(("acme/tiny", "solo", "datasets/acme/rows"), folder))
    with Server(("127.0.0.1", 0), partial(answer, find=shelf.find), events.append, tls=authority().context) as server:
        yield Served(folder, server.url, events)
