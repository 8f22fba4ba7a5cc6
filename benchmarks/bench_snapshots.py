"""Memory snapshots: restored starts beside plain ones, clients that wake an idle app, and memory; sides in turns.

Needs root, CRIU, and a Python with gradio (and torch and transformers for the second page). Writes
benchmarks/results/snapshots.json and the tables of docs/memory-snapshots.md.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.document import fill
from benchmarks.machine import describe, load
from tests.guard.apps import free_port

from preheat.guard.kernel.process_tree import family

ROOT = Path(__file__).parents[1]
COMMAND = ROOT / ".venv" / "bin" / "preheat"
RESULTS = Path(__file__).parent / "results" / "snapshots.json"
DOCUMENT = ROOT / "docs" / "memory-snapshots.md"
BEGIN, END = "<!-- figures: make bench-snapshots -->", "<!-- end of figures -->"
IMPORTS = {"gradio": "import gradio", "torch, transformers, gradio": "import torch, transformers\nimport gradio"}
PAGE = """
import os
{imports}
def reverse(text):
    return text[::-1]
with gradio.Blocks() as page:
    given, found = gradio.Textbox(), gradio.Textbox()
    gradio.Button("Go").click(reverse, given, found, api_name="reverse")
page.launch(server_name="127.0.0.1", server_port=int(os.environ["GRADIO_SERVER_PORT"]), quiet=True)
"""
STARTED_WITHIN_S = 300.0
Times = list[float]


class Page:
    """A Gradio page with a recipe in a folder of its own; each start is a `preheat run`."""

    def __init__(self, folder: Path, python: str, imports: str) -> None:
        self.folder = folder
        self.port = free_port()
        folder.mkdir(parents=True)
        (folder / "app.py").write_text(PAGE.format(imports=imports))
        (folder / "preheat.toml").write_text(
            f'[app]\nname = "{folder.name}"\ncommand = ["{python}", "app.py"]\nready = "http://127.0.0.1:{self.port}/"\n'
            f'env = {{ GRADIO_SERVER_PORT = "{self.port}", GRADIO_ANALYTICS_ENABLED = "False" }}\n'
        )
        self.environ = {**os.environ, "PREHEAT_LIBRARY": str(folder.parent / "library"), "HOME": str(folder.parent)}

    @contextlib.contextmanager
    def run(self, *options: str, until: str = "", port: int = 0) -> Iterator[tuple[float, "subprocess.Popen[bytes]"]]:
        """Run it; yields the seconds until its page has come and `until` was said, and the guard's process."""
        said = self.folder / "said"
        with open(said, "wb") as output:
            began = time.monotonic()
            guard = subprocess.Popen(
                [COMMAND, "run", *options], cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL, stderr=output
            )
        try:
            wait(lambda: came(f"http://127.0.0.1:{port or self.port}/"))
            took = time.monotonic() - began
            wait(lambda: until in said.read_text())
            yield took, guard
        finally:
            guard.send_signal(signal.SIGTERM)
            guard.wait()

    def answer(self) -> str:
        """Return what the page's function makes of a text."""
        base = f"http://127.0.0.1:{self.port}/gradio_api/call/reverse"
        request = urllib.request.Request(base, b'{"data": ["abcd"]}', {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as asked:
            event = json.load(asked)["event_id"]
        with urllib.request.urlopen(f"{base}/{event}", timeout=30) as answered:
            return "dcba" if '["dcba"]' in answered.read().decode() else "wrong"


def main() -> None:
    """Measure each page, then clients that wake an idle one, then memory."""
    form = argparse.ArgumentParser(description=__doc__)
    form.add_argument("--venv", required=True, metavar="PYTHON", help="a Python with gradio, torch and transformers")
    form.add_argument("--rounds", type=int, default=5)
    form.add_argument("--restores", type=int, default=100, help="restores whose answers are checked")
    form.add_argument("--wakes", type=int, default=20)
    options = form.parse_args()
    machine = describe(Path("/var/tmp"))
    document: dict[str, object] = {"machine": machine}
    with tempfile.TemporaryDirectory(prefix="preheat-bench-", dir="/var/tmp") as name:
        work = Path(name)
        rows = []
        for number, (label, imports) in enumerate(IMPORTS.items()):
            page = Page(work / f"page{number}", options.venv, imports)
            measured = starts(page, options.rounds)
            document[label] = measured
            rows += table(label, measured)
            print("\n".join(rows[-6:]), flush=True)
        page = Page(work / "many", options.venv, IMPORTS["gradio"])
        document["restores"] = right = answers(page, options.restores)
        document["wakes"] = waited = wakes(page, options.wakes)
        document["memory"] = memory = idle_memory(work, options.venv)
    part = written(rows, right, options.restores, waited, memory)
    print(part)
    if options.rounds >= 5 and options.restores >= 100:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
        facts = ", ".join(f"{name} {value}" for name, value in machine.items())
        part += f"\n\n<sub>{facts}; {options.rounds} rounds.</sub>\n"
        DOCUMENT.write_text(fill(DOCUMENT.read_text(), BEGIN, END, part))


def starts(page: Page, rounds: int) -> dict[str, Times]:
    """Start the page without and with a snapshot, its files in the page cache and not, and with a damaged snapshot."""
    found: dict[str, Times] = {}

    def take(side: str, *options: str, cold: bool = False, until: str = "") -> None:
        if cold:
            drop_caches()
        with page.run(*options, until=until) as (took, _):
            found.setdefault(side, []).append(took)

    for _ in range(rounds):
        with page.run():
            pass  # compiles what is imported, and brings it into the page cache
        take("started")
        take("saved", "--memory-snapshot", until="memory snapshot made")
        take("restored", "--memory-snapshot", until="restored from memory")
        for pages in page.folder.parent.glob("library/memory-snapshots/*/*/pages-*.img"):
            with open(pages, "r+b") as dump:
                dump.seek(pages.stat().st_size // 2)
                dump.write(b"damage")
        take("damaged, so started", "--memory-snapshot", until="not used")
        with page.run("--memory-snapshot", until="memory"):
            pass  # makes another snapshot
        take("started, cold page cache", cold=True)
        take("restored, cold page cache", "--memory-snapshot", cold=True, until="restored from memory")
        subprocess.run(
            [COMMAND, "prune", "--memory-snapshots", "--yes"], env=page.environ, check=True, capture_output=True
        )
    return found


def answers(page: Page, restores: int) -> int:
    """Return how many restored pages answered rightly."""
    with page.run("--memory-snapshot", until="memory snapshot made"):
        pass
    right = 0
    for _ in range(restores):
        with page.run("--memory-snapshot", until="restored from memory"):
            right += page.answer() == "dcba"
    return right


def wakes(page: Page, count: int) -> Times:
    """Return how long clients waited who woke an idle page."""
    public, waited = free_port(), []
    recipe = page.folder / "preheat.toml"
    recipe.write_text(recipe.read_text().replace(str(page.port), "{port}"))
    options = ("--memory-snapshot", "--front", f"127.0.0.1:{public}", "--idle-after", "1s")
    with page.run(*options, until="memory snapshot made", port=public):
        for number in range(count):
            wait(lambda: (page.folder / "said").read_text().count("idle after") > number)  # noqa: B023 - asked at once
            began = time.monotonic()
            assert came(f"http://127.0.0.1:{public}/")
            waited.append(time.monotonic() - began)
    return waited


def idle_memory(work: Path, python: str, apps: int = 6) -> dict[str, int]:
    """Return the memory (PSS, bytes) of pages that run, and of the same pages when idle; guards included."""
    found = {}
    for side in ("running", "idle"):
        with contextlib.ExitStack() as running:
            guards = []
            for number in range(apps):
                page = Page(work / f"{side}{number}", python, IMPORTS["gradio"])
                text = (page.folder / "preheat.toml").read_text()
                (page.folder / "preheat.toml").write_text(text.replace(str(page.port), "{port}"))
                public = free_port()
                more = ("--idle-after", "1s") if side == "idle" else ()
                options = ("--memory-snapshot", "--front", f"127.0.0.1:{public}", *more)
                until = "idle after" if side == "idle" else "memory snapshot made"
                guards.append(running.enter_context(page.run(*options, until=until, port=public))[1])
            found[side] = sum(pss(member.pid) for guard in guards for member in family(guard.pid))
    return found


def written(rows: Sequence[str], right: int, restores: int, waited: Times, memory: dict[str, int]) -> str:
    """Return the figures as a part of the document."""
    p95 = sorted(waited)[max(0, round(0.95 * len(waited)) - 1)]
    return "\n".join(
        [
            "| page | start | seconds to the page: median (least–most) | of a plain start |",
            "| --- | --- | ---: | ---: |",
            *rows,
            "",
            f"{right} of {restores} restored pages answered a call rightly. {len(waited)} clients who woke an idle page"
            f" waited {statistics.median(waited):.2f} s, 95 % of them at most {p95:.2f} s. Six idle pages with their"
            f" guards use {memory['idle'] / 1e6:.0f} MB of memory, six that run"
            f" {memory['running'] / 1e6:.0f} MB: {memory['idle'] / memory['running']:.2f}×.",
        ]
    )


def table(label: str, measured: dict[str, Times]) -> list[str]:
    """Return the rows of one page."""
    rows = []
    for side, times in measured.items():
        plain = measured["started, cold page cache" if "cold" in side else "started"]
        ratio = statistics.median(one / other for one, other in zip(times, plain, strict=True))
        spread = f"{statistics.median(times):.2f} ({min(times):.2f}–{max(times):.2f})"
        rows.append(f"| {label} | {side} | {spread} | {ratio:.2f}× |")
    return rows


def pss(pid: int) -> int:
    """Return the memory of a process in bytes, with its share of what it shares."""
    with contextlib.suppress(OSError):
        found = re.search(r"^Pss:\s*(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0


def drop_caches() -> None:
    """Empty the page cache."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def came(url: str) -> bool:
    """Return whether the page answers."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return int(answer.status) == 200
    except OSError:
        return False


def wait(happens: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + STARTED_WITHIN_S
    while not happens():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


if __name__ == "__main__":
    print(f"load {load()}")
    main()
