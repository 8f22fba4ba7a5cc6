"""`run` with memory snapshots, end to end: without a network, with a model that is mapped from the library."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.guard.apps import free_port
from tests.guard.memory_snapshot.frozen import CRIU, needs_criu

pytestmark = [needs_criu, pytest.mark.slow]

# Answers with when it was started, what a variable was then, and the first bytes of its mapped model.
APP = """
import http.server, json, mmap, os, sys, time
started, setting = time.time_ns(), os.environ.get("SETTING")
with open(sys.argv[2], "rb") as file:
    model = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps([started, setting, model[:8].hex()]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


class Page:
    """An app with a mapped model and `memory_snapshot = true`; `url` is its page."""

    def __init__(self, preheat: Preheat) -> None:
        self.preheat = preheat
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        self.folder = preheat.folder / "app"
        self.folder.mkdir()
        (self.folder / "app.py").write_text(APP)
        command = json.dumps([sys.executable, "-u", "app.py", str(port), "weights/model.safetensors"])
        (self.folder / "preheat.toml").write_text(
            f'[app]\nname = "page"\ncommand = {command}\nready = "{self.url}"\n'
            f'first = "exec:{sys.executable} -c pass"\nmemory_snapshot = true\n'
            '[[needs]]\nref = "hf:acme/tiny"\nfiles = ["model.safetensors"]\nview = "flat"\nat = "weights"\n'
        )

    @contextmanager
    def running(self, said: str, inside: tuple[str, ...] = (), **env: str) -> Iterator[tuple[object, ...]]:
        """Run the app; yields its answer once the user has been told `said`."""
        self.preheat.env |= {"PREHEAT_CRIU": CRIU} | env
        running = self.preheat.start("run", str(self.folder), inside=inside)
        running.until(lambda one: said in one.err)
        with urllib.request.urlopen(self.url, timeout=10) as answer:
            found = tuple(json.load(answer))
        try:
            yield found
        finally:
            assert running.kill(signal.SIGTERM).status == 143


@pytest.fixture
def page(preheat: Preheat) -> Page:
    made = Page(preheat)
    assert preheat("pull", str(made.folder)).status == 0
    preheat.env["HF_ENDPOINT"] = "https://127.0.0.1:9"  # no hub from here on
    return made


def test_the_second_start_restores_the_first_and_reads_its_model_from_the_library(page: Page) -> None:
    with page.running("memory snapshot made") as first:
        pass
    with page.running("restored from memory") as second:
        assert second == first
    assert (page.preheat.library / "memory-snapshots/page").stat().st_mode & 0o077 == 0
    kept = page.preheat("ls", "--json").last["memory_snapshots"]
    assert [one["app"] for one in kept] == ["page"]


def test_a_user_without_root_restores_an_app_in_a_user_namespace(page: Page) -> None:
    as_user = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if subprocess.run([*as_user, "unshare", "--user", "true"], check=False).returncode:
        pytest.skip("this system does not permit user namespaces in one another")
    with page.running("memory snapshot made", as_user) as first:
        pass
    with page.running("restored from memory", as_user) as second:
        assert second == first
    with page.running("memory snapshot made") as of_root:
        assert of_root != first, "another user's snapshot is not restored"


def test_another_variable_or_another_model_is_a_new_start(page: Page, model: Path) -> None:
    with page.running("memory snapshot made", SETTING="a") as first:
        pass
    with page.running("memory snapshot made", SETTING="b") as other:
        assert other[:2] != first[:2]
        assert other[1] == "b"
    with page.running("restored from memory", SETTING="b", TERM="xterm", SSH_TTY="/dev/pts/7") as again:
        assert again == other
    blob = next(path for path in (page.preheat.library / "blobs/sha256").rglob("*") if path.is_file())
    assert blob.stat().st_size == (model / "model.safetensors").stat().st_size


def test_prune_removes_snapshots_only_when_asked_to(page: Page) -> None:
    with page.running("memory snapshot made"):
        pass
    left = page.preheat.library / "memory-snapshots/page/0123456789abcdef.new-4194305"
    left.mkdir()
    (left / "pages-1.img").write_bytes(bytes(4096))
    shown = page.preheat("prune", "--memory-snapshots", "--json").last
    assert shown["size"] > 4096
    assert page.preheat("prune", "--yes").status == 0
    assert not left.exists()
    assert len(page.preheat("ls", "--json").last["memory_snapshots"]) == 1
    done = page.preheat("prune", "--memory-snapshots", "--yes", "--json").last
    assert done["memory_snapshots"] == 1
    assert page.preheat("ls", "--json").last["memory_snapshots"] == []
    with page.running("memory snapshot made"):
        pass


def test_a_snapshot_is_shown_and_removed_by_its_apps_name(page: Page) -> None:
    with page.running("memory snapshot made"):
        pass
    shown = page.preheat("show", "memory:page", "--json").last
    assert (shown["app"], shown["changed"]) == ("page", "")
    assert 0 < shown["size"] < shown["resident"] + (1 << 20)
    assert "memory   page: " in page.preheat("status").out
    assert [one["app"] for one in page.preheat("status", "--json").last["memory_snapshots"]] == ["page"]
    assert "memory:page  memory snapshot, " in page.preheat("ls").out
    (page.folder / "app.py").write_text(APP + "# changed\n")
    assert f"has changed since: code or settings in {page.folder}" in page.preheat("show", "memory:page").out
    assert page.preheat("rm", "memory:page", "--json").last["memory_snapshots"] == 1
    assert page.preheat("ls", "--json").last["memory_snapshots"], "nothing is removed without --yes"
    assert page.preheat("rm", "memory:page", "--yes").status == 0
    assert page.preheat("ls", "--json").last["memory_snapshots"] == []
    for verb in ("show", "rm"):
        told = page.preheat(verb, "memory:page")
        assert (told.status, "no memory snapshot of page" in told.err) == (5, True)


def test_doctor_reports_whether_memory_can_be_saved(page: Page) -> None:
    told = page.preheat("doctor", str(page.folder), PREHEAT_CRIU=CRIU)
    assert "memory snapshots: possible" in told.err
    nowhere = page.preheat("doctor", str(page.folder), "--json", PREHEAT_CRIU="/nowhere/criu").last
    assert "cannot be run" in nowhere["symptoms"]["no_memory"]
