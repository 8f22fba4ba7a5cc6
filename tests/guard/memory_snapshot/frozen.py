"""An app with all that a process can hold, supervised with memory snapshots, and the CRIU that makes them."""

import json
import os
import shutil
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from preheat.guard.memory_snapshot.memory_snapshots import MemoryPolicy
from preheat.guard.model.app import App
from preheat.guard.model.life import RestartPolicy
from preheat.guard.options import GuardOptions, GuardSetup
from preheat.guard.setup import keep
from preheat.guard.supervise.supervisor import AppStarted, Changed, Event, Notice
from tests.guard.apps import SILENT, free_port, until

_UNPACKED = Path(__file__).parents[3] / "build/criu/criu"  # by .ci/get-criu
CRIU = os.environ.get("PREHEAT_CRIU") or shutil.which("criu") or (str(_UNPACKED) if _UNPACKED.exists() else "")

needs_criu = pytest.mark.skipif(
    not CRIU or os.geteuid() != 0, reason="needs root and CRIU 4: .ci/get-criu, or PREHEAT_CRIU=PATH"
)

# Answers with a count that lives in its memory only, and with what its thread, its child and its descriptors still do.
HOLDER = r"""
import ctypes, http.server, json, mmap, os, select, socket, sys, threading, time
port, mapped_path, watched = int(sys.argv[1]), sys.argv[2], sys.argv[3]
started = time.time_ns()
count = 0
ticks = 0
def tick():
    global ticks
    while True:
        time.sleep(0.01)
        ticks += 1
threading.Thread(target=tick, daemon=True).start()
ours, theirs = socket.socketpair()
shared = mmap.mmap(-1, 4096)  # MAP_SHARED between the two processes
if os.fork() == 0:
    ours.close()
    while theirs.recv(1):
        shared[0] = (shared[0] + 1) % 256
        theirs.send(b"!")
    os._exit(0)
theirs.close()
event = os.eventfd(0, os.EFD_NONBLOCK)
waiting = select.epoll()
waiting.register(event, select.EPOLLIN)
inotify = ctypes.CDLL(None).inotify_init1(os.O_NONBLOCK)
ctypes.CDLL(None).inotify_add_watch(inotify, watched.encode(), 0x100)  # IN_CREATE
with open(mapped_path, "rb") as file:
    weights = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
one_at_a_time = threading.Lock()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        with one_at_a_time:
            self.answer()
    def answer(self):
        global count
        count += 1
        before = ticks
        ours.send(b"?")
        ours.recv(1)
        os.eventfd_write(event, 1)
        woken = bool(waiting.poll(1))
        os.eventfd_read(event)
        try:
            noticed = len(os.read(inotify, 4096)) > 0
        except BlockingIOError:
            noticed = False
        time.sleep(0.05)
        body = json.dumps({
            "started": started, "count": count, "ticks": ticks > before, "child": shared[0], "epoll": woken,
            "inotify": noticed, "weights": weights[:4].decode(),
        }).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
print("serves", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


class Frozen:
    """The app of a test, in `folder`; `start` supervises it until the context ends."""

    def __init__(self, folder: Path, code: str = HOLDER) -> None:
        self.folder = folder
        self.snapshots = folder / "memory-snapshots/app"
        self.port = free_port()
        self.weights = folder / "weights.bin"
        self.watched = folder / "watched"
        (folder / "app").mkdir()
        self.watched.mkdir()
        self.weights.write_bytes(b"good" + bytes(1 << 20))
        self.program = folder / "app/app.py"
        self.program.write_text(code)
        self.identity = "one"
        self.first = ""
        self.idle_after_s = 0.0
        self.criu = CRIU
        self.ready = ""  # its page

    @contextmanager
    def start(self, front: str = "") -> Iterator["Supervised"]:
        """Supervise the app until the context ends; yields when it has started."""
        command = (sys.executable, "-u", str(self.program), "{port}" if front else str(self.port), str(self.weights))
        app = App(
            (*command, str(self.watched)),
            env={**os.environ, "PREHEAT_CRIU": self.criu},
            cwd=str(self.program.parent),
            ready=self.ready or f"http://127.0.0.1:{'{port}' if front else self.port}/",
        )
        policy = MemoryPolicy(
            str(self.snapshots), self.identity, self.first, 30.0, self.idle_after_s, (str(self.program.parent),)
        )
        patience = RestartPolicy(stop_within_s=5, max_restarts=3, backoff_s=0.01, ready_within_s=30)
        supervised = Supervised(self.port if not front else int(front.rpartition(":")[2]))
        options = GuardOptions(app, patience, GuardSetup(name="app", front=front, memory=policy))
        thread = threading.Thread(target=supervised.keep, args=(options,), daemon=True)
        thread.start()
        try:
            assert until(supervised.is_running, 40), supervised.events
            yield supervised
        finally:
            supervised.stopping.set()
            thread.join(30)
            assert not thread.is_alive()

    def kept(self) -> list[Path]:
        """List what lies in the folder of snapshots."""
        return sorted(self.snapshots.iterdir()) if self.snapshots.exists() else []


class Supervised:
    """A supervision: its events, and the app's answers."""

    def __init__(self, port: int) -> None:
        self.events: list[Event] = []
        self.stopping = threading.Event()
        self._port = port

    def keep(self, options: GuardOptions) -> None:
        """Supervise until `stopping` is set."""
        keep(options, self.events.append, output=SILENT, stop=self.stopping.is_set)

    def is_running(self) -> bool:
        """Return whether the app is ready."""
        return any(isinstance(event, Changed) and event.life == "running" for event in self.events)

    def lives(self) -> list[str]:
        """List the states of the app so far."""
        return [event.life for event in self.events if isinstance(event, Changed)]

    def notices(self) -> list[str]:
        """List what the user was told."""
        return [event.words for event in self.events if isinstance(event, Notice)]

    def was_told(self, words: str, within_s: float = 20.0) -> bool:
        """Wait until a notice contains `words`."""
        return until(lambda: any(words in notice for notice in self.notices()), within_s)

    def pids(self) -> list[int]:
        """List the PIDs of the app's starts."""
        return [event.pid for event in self.events if isinstance(event, AppStarted)]

    def ask(self) -> dict[str, Any]:
        """Ask the app."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
