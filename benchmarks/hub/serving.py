"""Serving: a hub of several processes that sends files by sendfile, and can be as slow as a distant one."""

import argparse
import contextlib
import fcntl
import json
import multiprocessing
import os
import signal
import socket
import struct
import sys
import termios
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.hub.answers import Said, say
from benchmarks.hub.asking import asked, head
from benchmarks.hub.counts import Bucket, Counts
from benchmarks.hub.line import Line
from benchmarks.hub.repo import Repo, read_repo
from benchmarks.hub.secure import secured

_SO_MAX_PACING_RATE = 47  # asm-generic/socket.h
_STEP = 64 << 10
_LONG_STEP = 4 << 20


@dataclass(frozen=True, slots=True)
class Manner:
    """How the hub serves: bytes a second for each connection, and for all together; 0 is as fast as it can.

    With `tls`, nginx is in front of it and adds TLS.
    """

    pace: int = 0
    rate: int = 0
    processes: int = 2
    tls: bool = False


class Hub:
    """Serves repos from processes of its own, inside a `with`; `total()` says requests and bytes so far."""

    def __init__(self, repos: Mapping[str, Repo], manner: Manner, line: Line | None = None) -> None:
        self._repos = repos
        self._manner = manner
        self._counts = Counts(manner.processes)
        self._bucket = Bucket(manner.rate) if manner.rate else None
        self._line = line
        self._secure = contextlib.ExitStack()
        self._secure_url = ""
        with self._end():
            self._listening = socket.create_server((line.address if line else "127.0.0.1", 0), backlog=4096)
        if manner.pace:
            self._listening.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, manner.pace)
        self._processes: list[int] = []

    @property
    def url(self) -> str:
        """The URL where it listens."""
        host, port = self._listening.getsockname()
        return self._secure_url or f"http://{host}:{port}"

    @property
    def plain_url(self) -> str:
        """The URL without TLS in front."""
        host, port = self._listening.getsockname()
        return f"http://{host}:{port}"

    def total(self) -> tuple[int, int]:
        """Return the number of requests, and the bytes of files sent."""
        return self._counts.total()

    def __enter__(self) -> "Hub":
        for number in range(self._manner.processes):
            child = os.fork()
            if child == 0:
                try:
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)
                    signal.signal(signal.SIGINT, signal.SIG_IGN)
                    _Worker(number, self._repos, self._counts, self._bucket).serve(self._listening)
                finally:
                    os._exit(0)
            self._processes.append(child)
        if self._manner.tls:
            host, port = self._listening.getsockname()
            try:
                with self._end():
                    self._secure_url = self._secure.enter_context(secured(host, f"{host}:{port}"))
            except BaseException:
                self.__exit__()
                raise
        return self

    def _end(self) -> contextlib.AbstractContextManager[None]:
        return self._line.hub_end() if self._line else contextlib.nullcontext()

    def __exit__(self, *exception: object) -> None:
        self._secure.close()
        for child in self._processes:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
        self._listening.close()


class _Worker:
    """One process with a thread per connection, which sends files by sendfile."""

    def __init__(self, number: int, repos: Mapping[str, Repo], counts: Counts, bucket: Bucket | None) -> None:
        self._number = number
        self._repos = repos
        self._counts = counts
        self._bucket = bucket
        self._turn = threading.Lock()

    def serve(self, listening: socket.socket) -> None:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=self._connection, args=(connection,), daemon=True).start()

    def _connection(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with connection:
                for one in asked(connection):
                    self._send(connection, one.method, say(self._repos, one.target, one.headers))
        except (ConnectionError, ValueError):
            return

    def _send(self, connection: socket.socket, method: str, said: Said) -> None:
        self._count(1, 0)
        if method == "HEAD" or said.entry is None:
            connection.sendall(head(said) + (b"" if method == "HEAD" else said.body))
            return
        more = socket.MSG_MORE if said.stop > said.start else 0
        connection.sendall(head(said), more)
        at, out = said.start, connection.fileno()
        step = _STEP if self._bucket else _LONG_STEP
        # Opened for each answer: a repository may have more files than a process may have open.
        with open(said.entry.place, "rb", buffering=0) as file:
            try:
                while at < said.stop:
                    count = min(said.stop - at, step)
                    if self._bucket:
                        self._bucket.take(count)
                    count = os.sendfile(out, file.fileno(), at, count)
                    at += count
                    self._count(0, count)
            finally:
                if at < said.stop:  # the client left: what still waits here has not left
                    self._count(0, -_unsent(connection))

    def _count(self, requests: int, sent: int) -> None:
        with self._turn:
            self._counts.add(self._number, requests, sent)


def _unsent(connection: socket.socket) -> int:
    answer: bytes = fcntl.ioctl(connection, termios.TIOCOUTQ, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])


def main() -> None:
    """Serve folders until stdin ends: print the URL, then a line of counts for each input line."""
    form = argparse.ArgumentParser(description=__doc__)
    form.add_argument("folders", nargs="+", metavar="OWNER/NAME=DIR")
    form.add_argument("--pace", type=int, default=0, help="bytes a second for each connection")
    form.add_argument("--rate", type=int, default=0, help="bytes a second for all connections together")
    form.add_argument("--processes", type=int, default=2)
    options = form.parse_args()
    multiprocessing.set_start_method("fork")
    named = (folder.split("=", 1) for folder in options.folders)
    repos = {name: read_repo(name, Path(folder)) for name, folder in named}
    with Hub(repos, Manner(options.pace, options.rate, options.processes)) as hub:
        print(json.dumps({"url": hub.url}), flush=True)
        for _ in sys.stdin:
            requests, sent = hub.total()
            print(json.dumps({"requests": requests, "sent": sent}), flush=True)


if __name__ == "__main__":
    main()
