"""Prove, end to end: a real app, started cold from a hub and preloaded from a library, in turns."""

import json
import signal
import sys
from collections.abc import Callable

import pytest
from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.guard.apps import free_port, runs
from tests.stories.kept import contents

# An app as apps are: it fetches its weights into HF_HOME at each start, unless it is told to be offline.
APP = """
import http.client, http.server, os, pathlib, sys

PORT, FILES = int(sys.argv[1]), sys.argv[2:]

def fetched(name):
    host = os.environ["HF_ENDPOINT"].partition("://")[2]
    connection = http.client.HTTPConnection(host)
    connection.request("GET", "/acme/tiny/resolve/main/" + name)
    home = pathlib.Path(os.environ["HF_HOME"], "hub")
    home.mkdir(parents=True, exist_ok=True)
    home.joinpath(name).write_bytes(connection.getresponse().read())
    return home / name

def preloaded(name):
    repository = pathlib.Path(os.environ["HF_HUB_CACHE"], "models--acme--tiny")
    return repository / "snapshots" / repository.joinpath("refs/main").read_text() / name

print("app", os.getpid(), flush=True)
find = preloaded if os.environ.get("HF_HUB_OFFLINE") == "1" else fetched
weights = [find(name).read_bytes() for name in FILES]

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"%d" % sum(map(len, weights)))

    def log_message(self, *words):
        pass

http.server.HTTPServer(("127.0.0.1", PORT), Page).serve_forever()
"""

FIRST = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("GET", "/")
sys.exit(connection.getresponse().read() != b"9000023")
"""

Recipe = Callable[..., int]


@pytest.fixture
def recipe(preheat: Preheat) -> Recipe:
    """Give a function that writes the app with its recipe, and returns its port."""

    def write(*files: str, ref: str = "hf:acme/tiny", app: str = APP) -> int:
        port = free_port()
        (preheat.folder / "app.py").write_text(app)
        (preheat.folder / "first.py").write_text(FIRST)
        python = [sys.executable, "-I", "-S"]
        (preheat.folder / "preheat.toml").write_text(
            "[app]\n"
            'name = "talk"\n'
            f"command = {json.dumps([*python, '{dir}/app.py', str(port), *files])}\n"
            f'ready = "http://127.0.0.1:{port}/"\n'
            f'first = "exec:{" ".join(python)} {{dir}}/first.py {port}"\n'
            f'[[needs]]\nref = "{ref}"\nfiles = ["model.safetensors", "config.json"]\n'
        )
        return port

    return write


def left_behind(preheat: Preheat) -> dict[str, bytes]:
    """Read what a proof has left in the library's folder, besides that it is one."""
    return {name: body for name, body in contents(preheat.library).items() if name != "format"}


def failed(told: Told, status: int, *words: str) -> None:
    """Whether it ended as it should: with that status, those words and a hint, and no traceback."""
    assert told.status == status, told.out + told.err
    assert "Traceback" not in told.err
    assert "hint:" in told.err
    for word in words:
        assert word in told.err


def test_the_gain_is_measured_and_the_network_counted(preheat: Preheat, hub: FlakyHub, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json")
    told = preheat("prove", "--runs", "2", "--json")
    assert told.status == 0, told.out + told.err
    assert [(event["condition"], event["round"]) for event in told.events if event["event"] == "trial-started"] == [
        (condition, number)
        for number in (1, 2)
        for condition in ("cold", "preloaded", "warm", "restart", "limits")
    ]
    figures = told.last
    assert figures["weights"] == figures["cold"]["fetched"] == 9_000_023
    assert figures["preloaded"]["fetched"] > 9_000_023
    assert figures["preloaded"]["pull_s"] > 0
    assert figures["cold"]["pull_s"] is None
    for condition in ("cold", "preloaded", "warm", "restart"):
        assert 0 < figures[condition]["ready_s"] < figures[condition]["first_s"]
        assert figures[condition]["peak_rss"] > 9_000_000
    assert len(figures["timelines"]) == 8
    if figures["cold"]["outbound"] is not None:
        assert figures["cold"]["outbound"] == 2
        assert figures["preloaded"]["outbound"] == 0
    assert left_behind(preheat) == {}
    assert not list(preheat.library.glob("proof-*"))


def test_the_table_says_it_to_people(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json")
    told = preheat("prove", "preheat.toml")
    assert told.status == 0, told.err
    lines = told.out.splitlines()
    assert "sooner; " in lines[0]
    assert lines[0].startswith("talk starts in ")
    assert lines[2].split() == ["cold", "preloaded", "warm", "restart", "change"]
    names = [line.partition("  ")[0] for line in lines[3:]]
    assert names[:5] == ["pull, once", "start to page", "start to first use", "bytes fetched", "outbound requests"]
    assert {"peak memory (RSS)", "peak memory (PSS)", "video memory", "read from disk"} <= set(names)
    assert "9.0 MB" in lines[6]
    assert "round 1 of 1: preloaded" in told.err


def test_the_library_that_is_here_is_neither_used_nor_changed(preheat: Preheat, hub: FlakyHub, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json")
    preheat("pull", "acme/tiny")
    hub.recovers()
    before = contents(preheat.library)
    assert preheat("prove").status == 0
    assert contents(preheat.library) == before
    # Once by the app, once by the pull, and what measuring the line took.
    assert hub.sent("model.safetensors") >= 18_000_000


def test_a_gain_that_is_none_is_refused(preheat: Preheat, recipe: Recipe) -> None:
    recipe(app=APP.replace("sum(map(len, weights))", "9000023"))
    failed(preheat("prove"), 8, "the cold start fetched nothing", "HF_HOME")
    assert left_behind(preheat) == {}


def test_an_app_that_is_never_ready_is_told_with_its_last_words(preheat: Preheat, recipe: Recipe) -> None:
    recipe(app="import sys; sys.exit('no voice found')")
    failed(preheat("prove"), 7, "never ready", "   | no voice found")
    recipe(app="import time; print('still loading', flush=True); time.sleep(60)")
    failed(preheat("prove", "--ready-within", "500ms"), 7, "not ready in time", "   | still loading")
    assert left_behind(preheat) == {}


def test_a_first_use_that_fails_is_no_gain(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors")
    failed(preheat("prove"), 7, "first use failed", "first.py")
    path = preheat.folder / "preheat.toml"
    path.write_text(path.read_text().replace('first = "exec:', 'first = "exec:no-such-program '))
    failed(preheat("prove"), 7, "first use could not be tried", "no-such-program")
    path.write_text(path.read_text().replace("no-such-program", "sh -c 'sleep 60'"))
    failed(preheat("prove", "--ready-within", "2s"), 7, "first use did not end in time")


def test_needs_that_are_nowhere_are_said(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json", ref="hf:acme/none")
    failed(preheat("prove"), 3, "hf:acme/none")
    assert left_behind(preheat) == {}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_leaves_neither_app_nor_files(preheat: Preheat, recipe: Recipe, number: int, status: int) -> None:
    tells = preheat.folder / "pid"
    recipe(app=f"import os, time; open({str(tells)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    running = preheat.start("prove")
    running.until(lambda running: tells.exists() and tells.read_text())
    told = running.kill(number)
    assert told.status == status
    assert "Traceback" not in told.err
    assert not runs(int(tells.read_text()))
    assert left_behind(preheat) == {}
    assert not list(preheat.library.glob("proof-*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "does not say how it starts"),
        ('ready = "soon"\n[[needs]]\nref = "acme/tiny"', "soon is not a probe"),
        ('ready = "exec:no-such"\n[[needs]]\nref = "acme/tiny"', "there is no command no-such"),
        ('ready = "tcp:1"\nfirst = "soon"\n[[needs]]\nref = "acme/tiny"', "'soon' is not a first use"),
        ('ready = "tcp:1"\nfirst = "exec:a \'b"\n[[needs]]\nref = "acme/tiny"', "is not a first use"),
        ('ready = "tcp:1"', "needs nothing that could be preloaded"),
    ],
)
def test_a_recipe_that_proves_nothing_is_refused(preheat: Preheat, words: str, said: str) -> None:
    (preheat.folder / "preheat.toml").write_text(f'[app]\nname = "talk"\ncommand = ["true"]\n{words}\n')
    failed(preheat("prove"), 2, said)
    assert left_behind(preheat) == {}
