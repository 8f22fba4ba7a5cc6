"""Saved page: an app with a mapped model and `memory_snapshot = true`, for the stories of memory snapshots."""

import json
import signal
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tests.command import Preheat
from tests.guard.apps import free_port
from tests.guard.memory_snapshot.frozen import CRIU

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


class SavedPage:
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
