"""Cold starts: the time to an app's page from a slow disk, by hand, by `run` as it was, and by `run` with a start list.

Root only: the app, its environment and the library lie on a disk of their own, a loop device, whose rate the blkio
cgroup (version 1) limits; before each start, the whole machine's page cache is dropped. Sides take turns.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.page_starts import COMMAND, answers, placed
from tests.guard.apps import free_port

from preheat.guard.kernel.process_tree import family
from preheat.recipes.offline_env import offline
from preheat.recipes.recipe import read_recipe

ROOT = Path(__file__).parents[1]
DEMO, HUB = ROOT / "examples" / "speech_webui", ROOT / ".demo" / "hub" / "preheat-demo"
WANTED = 0.67
RATES = (200, 60, 0)  # MB/s; 0: from the page cache
_GROUPS = Path("/sys/fs/cgroup/blkio")
_SIZE = 8 << 30
# Linux' own; distributions keep it, other than cloud images with disks of their own.
_READ_AHEAD_KB = 128
_WITHIN_S = 300.0
_SIDES = ("by hand", "run, weights only", "run, start list")
TORCH = """
import sys
import torch
from transformers import BertConfig, BertModel
import gradio
model = BertModel(BertConfig(num_hidden_layers=2)).eval()
def length(text):
    with torch.no_grad():
        return float(model(torch.tensor([[len(text)]])).pooler_output.norm())
with gradio.Blocks() as page:
    given, found = gradio.Textbox(), gradio.Number()
    gradio.Button("Go").click(length, given, found)
page.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True)
"""


@dataclass(frozen=True)
class ColdStarts:
    """Seconds to the page, and the app's major page faults until then, by side.

    `rate` is the disk's in MB/s; 0: everything in the page cache.
    """

    app: str
    rate: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    faults: dict[str, list[int]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Return the median with a start list, compared to that of `run` as it was."""
        return statistics.median(self.seconds[_SIDES[2]]) / statistics.median(self.seconds[_SIDES[1]])

    def row(self) -> str:
        """Return a row of a table: medians, with least and most."""
        cells = [f"{_said(self.seconds[side])}, {statistics.median(self.faults[side]):.0f} faults" for side in _SIDES]
        disk = f"{self.rate} MB/s" if self.rate else "page cache"
        return f"| {self.app} | {disk} | {' | '.join(cells)} | {self.ratio:.2f}× |"

    def document(self) -> dict[str, object]:
        """Return the figures as a JSON object."""
        return {**asdict(self), "ratio": round(self.ratio, 3)}


class SlowDisk:
    """A disk of its own at `folder`, and the cgroup whose processes read from it, and from the main disk, slowly."""

    def __init__(self, work: Path) -> None:
        self.folder = work / "disk"
        self.group = _GROUPS / f"preheat-slow-disk-{os.getpid()}"
        self._image = work / "disk.img"
        self._device = ""
        self._own = work.stat().st_dev

    def __enter__(self) -> "SlowDisk":
        if not self._image.exists():
            self.folder.mkdir(parents=True)
            with self._image.open("wb") as image:
                image.truncate(_SIZE)
            _do("mkfs.ext4", "-q", self._image)
        elif _do("losetup", "--associated", self._image):
            raise RuntimeError(f"{self._image} is in use: two mounts of it would damage it")
        self._device = _do("losetup", "--find", "--show", "--direct-io=on", self._image).strip()
        _do("mount", self._device, self.folder)
        Path(f"/sys/block/{Path(self._device).name}/queue/read_ahead_kb").write_text(f"{_READ_AHEAD_KB}\n")
        self.group.mkdir(exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.5)
        with contextlib.suppress(OSError):
            self.group.rmdir()
        _do("umount", "--lazy", self.folder)
        _do("losetup", "--detach", self._device)

    def limit(self, rate: int) -> None:
        """Let the group read `rate` MB/s from each of the two disks; 0 for no limit."""
        for device in (self._own, self.folder.stat().st_dev):
            line = f"{os.major(device)}:{os.minor(device)} {rate * 1_000_000}"
            (self.group / "blkio.throttle.read_bps_device").write_text(line)


def measure(work: Path, rounds: int, python: str, rates: tuple[int, ...] = RATES) -> Iterator[ColdStarts]:
    """Yield the figures of each page at each rate; 0 is the page cache. `python` has torch, transformers and gradio.

    Without `python`, only the demo's page is measured, which `make demo` has made. The disk stays in `work`, with the
    traced pages, so that the next rounds can use it.
    """
    if os.geteuid() or not os.access(_GROUPS, os.W_OK):
        print("cold starts: root and the blkio cgroup (version 1) are required")
        return
    with SlowDisk(work) as disk:
        for page in (*_demo(disk.folder), *(_torch(disk.folder, Path(python)) if python else ())):
            for rate in rates:
                yield page.turns(disk, rate, rounds)


@dataclass(frozen=True)
class _Page:
    """A traced page: `recipe` with a start list in its lock, and `before` without."""

    name: str
    recipe: Path
    before: Path
    environ: dict[str, str]

    def turns(self, disk: SlowDisk, rate: int, rounds: int) -> ColdStarts:
        app = read_recipe(self.recipe)
        hand = {
            **offline(self.environ),
            **placed(self.before, self.environ, str(app.folder / app.command[0])),
            **app.env,
        }
        sides = {
            "by hand": (app.command, hand),
            "run, weights only": ((str(COMMAND), "run", str(self.before)), self.environ),
            "run, start list": ((str(COMMAND), "run", str(self.recipe)), self.environ),
        }
        found = ColdStarts(self.name, rate, {side: [] for side in sides}, {side: [] for side in sides})
        disk.limit(0)
        for words, environ in () if rate else sides.values():
            _start(words, app.folder, app.ready, environ, disk.group)
        disk.limit(rate)
        for turn in range(rounds):
            for side, (words, environ) in list(sides.items())[:: 1 if turn % 2 else -1]:
                if rate:
                    _drop()
                seconds, faults = _start(words, app.folder, app.ready, environ, disk.group)
                found.seconds[side].append(seconds)
                found.faults[side].append(faults)
        disk.limit(0)
        return found


def _demo(disk: Path) -> list[_Page]:
    """Return the demo's page, which `make demo` has made; none if it has not."""
    if not (DEMO / ".venv/installed").exists() or not HUB.is_dir():
        print("cold starts: make demo makes the first page")
        return []
    folder = disk / "speech-webui"
    if not folder.exists():
        shutil.copytree(DEMO, folder, symlinks=True)
    port = str(free_port())
    command = (".venv/bin/python", "app.py", "--host", "127.0.0.1", "--port", port)
    folders = [f"--folder=preheat-demo/{one.name}={one}" for one in sorted(HUB.iterdir())]
    with _mirror(*folders, f"--library={disk / 'none'}") as url:
        return [_traced("demo page", folder, port, command, url)]


def _torch(disk: Path, python: Path) -> list[_Page]:
    folder = disk / "torch-page"
    if not folder.exists():
        folder.mkdir()
        shutil.copytree(python.parents[1], folder / ".venv", symlinks=True)
    (folder / "app.py").write_text(TORCH)
    port = str(free_port())
    return [_traced("torch, transformers, Gradio", folder, port, (".venv/bin/python", "app.py", port), "")]


def _traced(name: str, folder: Path, port: str, command: tuple[str, ...], url: str) -> _Page:
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "PREHEAT_LIBRARY": str(folder / "library")}
    environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    recipe, before = folder / "preheat.toml", folder / "before.toml"
    ready = ("--ready", f"http://127.0.0.1:{port}/", "--ready-within", "10m")
    words = (COMMAND, "trace", "--force", "-o", recipe, *ready, "--", *command)
    if before.with_suffix(".lock").exists():
        return _Page(name, recipe, before, environ)
    lead = {"HF_ENDPOINT": url} if url else {}
    _do(*words, environ={**environ, **lead}, folder=folder, ends=(0, 8))
    text = recipe.read_text()
    before.write_text(text)
    lock = recipe.with_suffix(".lock").read_text()
    before.with_suffix(".lock").write_text(re.sub(r"\n# [^\n]*\n\[start\].*", "\n", lock, flags=re.DOTALL))
    return _Page(name, recipe, before, environ)


@contextlib.contextmanager
def _mirror(*options: str) -> Iterator[str]:
    words = [COMMAND, "mirror", "--json", "--listen=127.0.0.1:0", *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as hub:
        assert hub.stdout is not None
        try:
            yield next(event["url"] for line in hub.stdout if (event := json.loads(line))["event"] == "serving")
        finally:
            hub.terminate()


def _drop() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def _start(words: tuple[str, ...], folder: Path, url: str, environ: dict[str, str], group: Path) -> tuple[float, int]:
    """Return the seconds until a GET of the page is answered, and the app's major faults; then end the app."""
    address, _, path = url.removeprefix("http://").partition("/")
    join: Callable[[], object] = lambda: (group / "cgroup.procs").write_text(str(os.getpid()))  # noqa: E731
    began = time.monotonic()
    process = subprocess.Popen(
        words,
        cwd=folder,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=join,
    )
    try:
        while not answers(address, f"/{path}"):
            if process.poll() is not None:
                raise RuntimeError(f"{words[0]} ended with status {process.returncode}")
            if time.monotonic() - began > _WITHIN_S:
                raise RuntimeError(f"{words[0]} brought no page")
            time.sleep(0.005)
        took = time.monotonic() - began
        # The app is the process with the most of them, whoever started it.
        return took, max(_major_faults(member.pid) for member in family(process.pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _major_faults(pid: int) -> int:
    """Return how often a process had to wait for a page of a file: majflt in proc_pid_stat(5)."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[9])
    return 0


def _do(
    *words: object, environ: dict[str, str] | None = None, folder: Path | None = None, ends: tuple[int, ...] = (0,)
) -> str:
    done = subprocess.run([str(word) for word in words], env=environ, cwd=folder, capture_output=True, text=True)
    if done.returncode not in ends:
        raise RuntimeError(f"{words[0]}: {done.stderr[-2000:]}")
    return done.stdout


def _said(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s ({min(values):.2f}–{max(values):.2f})"


if __name__ == "__main__":
    sys.exit("python -m benchmarks.bench_start --cold")
