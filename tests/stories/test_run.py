"""Run, end to end: real apps, offline with the library's files, monitored and restarted."""

import json
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.guard.apps import free_port, runs

PYTHON = (sys.executable, "-I", "-S", "-u")

# A page that responds with its environment.
PAGE = """
import http.server, json, os, sys

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *words):
        pass

print(json.dumps(dict(os.environ)), flush=True)
print("pid", os.getpid(), file=sys.stderr, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


@pytest.fixture
def page(preheat: Preheat) -> str:
    """The page's file, as an argument of a command."""
    (preheat.folder / "page.py").write_text(PAGE)
    return str(preheat.folder / "page.py")


@pytest.fixture
def recipe(preheat: Preheat) -> Callable[..., Path]:
    """Return a function that writes a preheat.toml for an app that runs some Python."""

    def write(code: str, ready: str = "", needs: str = 'ref = "hf:acme/tiny"\nfiles = ["*.json"]') -> Path:
        (preheat.folder / "app.py").write_text(code)
        command = json.dumps([*PYTHON, "{dir}/app.py"])
        path = preheat.folder / "preheat.toml"
        path.write_text(
            f'[app]\nname = "talk"\ncommand = {command}\nready = "{ready}"\nenv = {{ MINE = "{{dir}}" }}\n'
            + (f"[[needs]]\n{needs}\n" if needs else "")
        )
        return path

    return write


def failed(told: Told, status: int, *words: str) -> None:
    """Return whether it ended with this status, these words and a hint, and no traceback of preheat."""
    assert told.status == status, told.out + told.err
    assert "preheat/cli" not in told.err
    assert "hint:" in told.err
    for word in words:
        assert word in told.err


# ---- success------------------------------------------------------------------------------------------------


def test_the_app_runs_offline_on_the_view_until_ctrl_c(
    preheat: Preheat, hub: FlakyHub, page: str, recipe: Callable[..., Path]
) -> None:
    port = free_port()
    preheat("pull", "acme/tiny", "--files", "*.json")
    hub.recovers()
    recipe("", f"http://127.0.0.1:{port}/")
    running = preheat.start("run", "--json", "--", *PYTHON, page, str(port))
    running.until(lambda running: '"life":"running"' in running.err and "\n" in running.out)
    seen = json.loads(running.out.splitlines()[0])
    assert seen["HF_HUB_OFFLINE"] == seen["TRANSFORMERS_OFFLINE"] == seen["HF_DATASETS_OFFLINE"] == "1"
    assert seen["MINE"] == str(preheat.folder)
    cache = Path(seen["HF_HUB_CACHE"])
    commit = (cache / "models--acme--tiny/refs/main").read_text()
    assert (cache / f"models--acme--tiny/snapshots/{commit}/config.json").is_file()
    assert cache.is_relative_to(preheat.library)
    pid = int(next(line for line in running.err.splitlines() if line.startswith("pid ")).split()[1])
    assert runs(pid)
    told = running.kill(signal.SIGINT)
    assert told.status == 130
    assert not runs(pid)
    assert not hub.asked()
    # Its stdout is its own; ours is on stderr, one object a line beside the app's.
    assert told.out.count("\n") == 1
    lives = [json.loads(line)["life"] for line in told.err.splitlines() if "app-changed" in line]
    assert lives == ["starting", "running", "stopped"]


def test_sigterm_stops_it_as_a_service_is_stopped(preheat: Preheat, page: str) -> None:
    port = free_port()
    running = preheat.start("run", "--ready", f"tcp:{port}", "--", *PYTHON, page, str(port))
    running.until(lambda running: "app running" in running.err)
    told = running.kill(signal.SIGTERM)
    assert told.status == 143
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_an_app_that_exits_passes_its_status_on(preheat: Preheat) -> None:
    told = preheat("run", "--", *PYTHON, "-c", "print('done it')")
    assert told.status == 0
    assert told.out == "done it\n"


def test_a_command_without_a_recipe_can_use_all_complete_models(preheat: Preheat, model: Path) -> None:
    preheat("pull", "acme/tiny", "hf:datasets/acme/rows")
    code = "import os; print(sorted(os.listdir(os.environ['HF_HUB_CACHE'])))"
    told = preheat("run", "--", *PYTHON, "-c", code)
    assert told.out == "['datasets--acme--rows', 'models--acme--tiny']\n"


def test_run_with_pull_downloads_missing_files_first(preheat: Preheat, recipe: Callable[..., Path]) -> None:
    recipe("import os; print(os.listdir(os.environ['HF_HUB_CACHE']))")
    told = preheat("run", "--pull")
    assert told.status == 0, told.err
    assert "models--acme--tiny" in told.out


def test_events_can_be_written_to_a_file(preheat: Preheat) -> None:
    told = preheat("run", "--events", "events.jsonl", "-q", "--", *PYTHON, "-c", "print(1)")
    assert (told.status, told.out, told.err) == (0, "1\n", "")
    lines = [json.loads(line) for line in (preheat.folder / "events.jsonl").read_text().splitlines()]
    assert lines[-1] == {"event": "done", "status": 0}


def test_a_crashed_app_is_restarted(preheat: Preheat, recipe: Callable[..., Path]) -> None:
    recipe(
        "import os, sys\nif not os.path.exists('crashed'):\n    open('crashed', 'w')\n    sys.exit(3)\nprint('fine')",
        needs="",
    )
    told = preheat("run")
    assert told.status == 0, told.err
    assert told.out == "fine\n"
    assert "ended with status 3; restarts in " in told.err


@pytest.mark.parametrize(("ending", "status"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 11)", 139)])
def test_an_app_without_restarts_passes_its_status_on(preheat: Preheat, ending: str, status: int) -> None:
    told = preheat("run", "--max-restarts", "0", "--", *PYTHON, "-c", f"import os, sys; {ending}")
    assert told.status == status


# ---- failures--------------------------------------------------------------------------------------------


def test_missing_files_are_reported_before_the_app_starts(preheat: Preheat, recipe: Callable[..., Path]) -> None:
    recipe("open('started', 'w')")
    failed(preheat("run"), 5, "hf:acme/tiny is not in", "hint: preheat pull")
    preheat("pull", "acme/tiny", "--files", "note.txt")
    failed(preheat("run"), 5, "missing", ".json", "hint: preheat pull")
    assert not (preheat.folder / "started").exists()
    assert not (preheat.library / "views").exists()


def test_the_command_in_the_hint_solves_the_problem(preheat: Preheat, recipe: Callable[..., Path]) -> None:
    recipe("")
    hint = preheat("run", "--json").err.splitlines()[-1]
    words = json.loads(hint)["hint"].replace("'", "").split()
    assert words[:2] == ["preheat", "pull"]
    assert preheat(*words[1:]).status == 0
    assert preheat("run").status == 0


def test_an_app_that_crashes_repeatedly_is_given_up(preheat: Preheat) -> None:
    code = "import sys; print('no voice found', file=sys.stderr); sys.exit(3)"
    told = preheat("run", "--max-restarts", "1", "--", *PYTHON, "-c", code)
    failed(told, 7, "ended with status 3; started 2 times", "   | no voice found")


def test_an_app_that_is_never_ready_is_given_up(preheat: Preheat) -> None:
    code = "import time; print('still loading'); time.sleep(60)"
    ready = f"http://127.0.0.1:{free_port()}/"
    told = preheat("run", "--ready", ready, "--ready-within", "1s", "--", *PYTHON, "-c", code)
    failed(told, 7, "not ready", "   | still loading", "--ready-within")


def test_a_taken_port_is_reported_before_the_app_starts(preheat: Preheat) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        told = preheat("run", "--ready", f"tcp:{port}", "--", *PYTHON, "-c", "open('started', 'w')")
    failed(told, 7, f"port {port} is taken", "another port")
    assert not (preheat.folder / "started").exists()


@pytest.mark.parametrize("command", ["no-such-program", "./note.txt", "."])
def test_a_command_that_cannot_be_started_is_reported(preheat: Preheat, command: str) -> None:
    (preheat.folder / "note.txt").write_text("hm")
    failed(preheat("run", "--", command), 7, command)


def test_the_apps_own_arguments_are_not_parsed(preheat: Preheat) -> None:
    code = "import sys; print('{\"event\": \"mine\"}'); print('[bold]loud[/bold]', file=sys.stderr)"
    told = preheat("run", "--json", "--", *PYTHON, "-c", code)
    assert told.out == '{"event": "mine"}\n'
    ours = [line for line in told.err.splitlines() if line != "[bold]loud[/bold]"]
    assert {json.loads(line)["event"] for line in ours} == {"app-changed", "done"}


# ---- the network --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "outbound"),
    [
        ("print(1)", 0),
        ("import socket; s = socket.socket(); s.settimeout(1); s.connect_ex(('192.0.2.1', 9))", 1),
        ("import socket; [socket.socket().connect_ex(('127.0.0.1', 1)) for _ in range(3)]", 3),
    ],
)
def test_outbound_attempts_of_the_app_are_counted(preheat: Preheat, code: str, outbound: int) -> None:
    told = preheat("run", "--network", "watch", "--json", "--", *PYTHON, "-c", code)
    if "cannot be counted" in told.err:
        pytest.skip(told.err)
    assert told.status == 0, told.err
    seen = next(event for event in map(json.loads, told.err.splitlines()) if event["event"] == "network-seen")
    assert (seen["outbound"], seen["lookups"]) == (outbound, 0)


# ---- invalid options---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (b"[app", "at end of document"),
        (b"", "app"),
        (b'[app]\nname = "talk"\ncomand = ["true"]', "comand"),
        (b'[app]\nname = "talk"\ncommand = "true"', "preheat.toml:3: command must be a list in brackets"),
        (b'[app]\nname = "../talk"\ncommand = ["true"]', "is not an app's name"),
        (b'[app]\nname = "talk"\ncommand = []', "no command"),
        (b'[app]\nname = "talk"\ncommand = ["true"]\n[[needs]]\nref = "s3:talk"', "s3:"),
        (b'[app]\nname = "talk"\ncommand = ["true"]\nready = "soon"', "soon is not a probe"),
        (b'[app]\nname = "t\xe4lk"', "preheat.toml"),
        (b'[app]\nname = "talk"\ncommand = ["true", "a\\u0000b"]', "preheat.toml"),
        (b'[app]\nname = "talk"\ncommand = ["true"]\nenv = { A = "a\\u0000b" }', "preheat.toml"),
        (b'[app]\nname = "talk"\ncommand = ["true"]\nenv = { "A=B" = "a" }', "preheat.toml"),
        (b'[app]\nname = "ta\\u0000lk"\ncommand = ["true"]', "preheat.toml"),
    ],
)
def test_a_recipe_with_a_mistake_is_rejected_with_its_line(preheat: Preheat, recipe: bytes, said: str) -> None:
    (preheat.folder / "preheat.toml").write_bytes(recipe)
    failed(preheat("run"), 2, said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "there is no recipe at preheat.toml"),
        (["nowhere.toml"], "there is no recipe at nowhere.toml"),
        (["--ready", "soon", "--", "true"], "soon is not a probe"),
        (["--ready", "line:[", "--", "true"], "is not a regular expression"),
        (["--ready", "tcp:99999", "--", "true"], "a port must be between 1 and 65535"),
        (["--ready-within", "soon", "--", "true"], "'soon' is not a time"),
        (["--max-restarts", "-1", "--", "true"], "restarts"),
        (["--max-restarts", "many", "--", "true"], "many"),
        (["--network", "nobody", "--", "true"], "nobody"),
        (["--", ""], "the command's name is empty"),
    ],
)
def test_invalid_options_are_reported(preheat: Preheat, words: list[str], said: str) -> None:
    failed(preheat("run", *words), 2, said)
