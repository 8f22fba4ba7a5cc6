"""Page starts: the time to an app's page by `preheat run` and by hand, in pairs whose order alternates."""

import contextlib
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from preheat.recipes.offline_env import offline
from preheat.recipes.recipe import read_recipe

COMMAND = Path(__file__).parents[1] / ".venv" / "bin" / "preheat"
WANTED = 1.02
_LOOKS_EVERY_S = 0.005
_PORT = 17863
# Imports, hashing as a stand-in for the imports of a large framework, reading its weights: then a page, on one core.
STAND_IN = """
import argparse, asyncio, email, hashlib, http.server, json, logging, sqlite3, sys, urllib.request, xml.dom
block = bytes(1 << 20)
for _ in range(1500): hashlib.sha256(block)
with open("weights/model.bin", "rb") as weights: size = sum(map(len, iter(lambda: weights.read(1 << 20), b"")))
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""
_WEIGHTS = 200 << 20


@dataclass(frozen=True)
class Pairs:
    """Seconds to the page, by hand and by `run`, pair by pair."""

    app: str
    by_hand: list[float]
    by_run: list[float]

    @property
    def ratios(self) -> list[float]:
        """Return by how much each `run` took longer than its neighbour by hand."""
        return [ours / bare for bare, ours in zip(self.by_hand, self.by_run, strict=True)]

    def row(self) -> str:
        """Return a row of a table: the app, both times and the ratio, as medians with least and most."""
        cells = (_said(self.by_hand, " s"), _said(self.by_run, " s"), _said(self.ratios, "×"))
        return f"| {self.app}, {len(self.by_run)} pairs | {' | '.join(cells)} |"

    def document(self) -> dict[str, object]:
        """Return the figures as a JSON object."""
        return {**asdict(self), "median_ratio": round(statistics.median(self.ratios), 4)}


def measure(recipe: Path | None, work: Path, pairs: int) -> Pairs:
    """Measure starts of the app of `recipe`, whose needs are in the user's library; None for a stand-in."""
    environ = dict(os.environ)
    if recipe is None:
        recipe = _stand_in(work)
        environ["PREHEAT_LIBRARY"] = str(work / "library")
        subprocess.run([COMMAND, "pull", recipe], env=environ, check=True, capture_output=True)
    app = read_recipe(recipe)
    by_hand: list[float] = []
    by_run: list[float] = []
    sides = ((by_hand, (*app.command,)), (by_run, (str(COMMAND), "run", str(recipe))))
    views = placed(recipe, environ)
    for turn in range(-1, pairs):
        for times, words in sides if turn % 2 else sides[::-1]:
            hand = {**offline(environ), **views, **app.env} if times is by_hand else environ
            took = _start(words, app.folder, app.ready, hand)
            if turn >= 0:  # the first pair fills the page cache and places the views
                times.append(took)
    return Pairs(app.name, by_hand, by_run)


def _stand_in(work: Path) -> Path:
    (work / "model").mkdir(parents=True)
    with (work / "model/model.bin").open("wb") as weights:
        for _ in range(_WEIGHTS >> 20):
            weights.write(os.urandom(1 << 20))
    (work / "app.py").write_text(STAND_IN)
    command = json.dumps([sys.executable, "app.py", str(_PORT)])
    recipe = work / "preheat.toml"
    recipe.write_text(
        f'[app]\nname = "stand-in"\ncommand = {command}\nready = "http://127.0.0.1:{_PORT}/"\n'
        f'[[needs]]\nref = "file:{work}/model"\nview = "flat"\nat = "weights"\n'
    )
    return recipe


def placed(recipe: Path, environ: dict[str, str], python: str = sys.executable) -> dict[str, str]:
    """Return the variables that lead an app to its views, as a process of `run` gets them; places the views.

    `python` is the app's.
    """
    words = [
        COMMAND,
        "run",
        str(recipe),
        "--",
        python,
        "-c",
        "import json, os; print(json.dumps(dict(os.environ)))",
    ]
    done = subprocess.run([*words[:3], "--ready", "line:.", *words[3:]], env=environ, capture_output=True, check=True)
    seen: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return {name: value for name, value in seen.items() if environ.get(name) != value}


def _start(words: tuple[str, ...], folder: Path, url: str, environ: dict[str, str]) -> float:
    """Return the seconds until a GET of the page is answered; then end the app."""
    address, _, path = url.removeprefix("http://").partition("/")
    began = time.monotonic()
    process = subprocess.Popen(
        words, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not answers(address, f"/{path}"):
            if process.poll() is not None:
                raise RuntimeError(f"{words[0]} ended with status {process.returncode}")
            time.sleep(_LOOKS_EVERY_S)
        return time.monotonic() - began
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def answers(address: str, path: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _said(values: list[float], unit: str) -> str:
    return f"{statistics.median(values):.3f}{unit} ({min(values):.3f}–{max(values):.3f})"
