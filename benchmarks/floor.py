"""Floor: the minimum time of a verified pull to disk on this machine: receive, hash, sync, and nothing else.

A few connections fill preallocated files from plain sockets; a thread a file hashes what has arrived without a gap;
what is written is handed to the disk at once, so that the sync at the end has little left. No resume, no retries, no
redirects, no TLS, no journal.
"""

import ctypes
import hashlib
import json
import os
import queue
import socket
import sys
import threading
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

_BUFFER, _PART = 1 << 20, 16 << 20
_SYNC_FILE_RANGE_WRITE = 2


class _File:
    """A file being received, and the hash of its contiguous start."""

    def __init__(self, path: Path, url_path: str, size: int) -> None:
        self.url_path = url_path
        self.size = size
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        if size:
            os.posix_fallocate(self.descriptor, 0, size)
        self._hash = hashlib.sha256()
        self._come: dict[int, int] = {}
        self._front = 0
        self._changed = threading.Condition()

    def came(self, start: int, stop: int) -> None:
        with self._changed:
            self._come[start] = stop
            while self._front in self._come:
                self._front = self._come.pop(self._front)
            self._changed.notify()

    def finish(self) -> str:
        buffer = memoryview(bytearray(_BUFFER))
        at = 0
        while at < self.size:
            with self._changed:
                self._changed.wait_for(lambda: self._front > at)  # noqa: B023 - called before `at` moves on
                front = self._front
            while at < front:
                count = os.preadv(self.descriptor, [buffer[: front - at]], at)
                self._hash.update(buffer[:count])
                at += count
        os.fdatasync(self.descriptor)
        return self._hash.hexdigest()


def _receive(address: tuple[str, int], parts: "queue.SimpleQueue[tuple[_File, int, int]]") -> None:
    write_out = ctypes.CDLL(None).sync_file_range
    write_out.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    buffer = memoryview(bytearray(_BUFFER))
    with socket.create_connection(address) as line:
        while True:
            try:
                file, start, stop = parts.get_nowait()
            except queue.Empty:
                return
            ask = f"GET {file.url_path} HTTP/1.1\r\nHost: floor\r\nRange: bytes={start}-{stop - 1}\r\n\r\n"
            line.sendall(ask.encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += line.recv(4096)
            rest = head.partition(b"\r\n\r\n")[2]
            at = start + os.pwrite(file.descriptor, rest, start)
            while at < stop:
                count = line.recv_into(buffer[: stop - at], 0, socket.MSG_WAITALL)
                if count == 0:
                    raise ConnectionError("the hub left")
                at += os.pwrite(file.descriptor, buffer[:count], at)
            write_out(file.descriptor, start, stop - start, _SYNC_FILE_RANGE_WRITE)
            file.came(start, stop)


def main() -> None:
    """Download `REPO` from `URL` into `DIR` over `N` connections; print the digests."""
    url, repo, into, connections = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    into.mkdir(parents=True)
    with urllib.request.urlopen(f"{url}/api/models/{repo}/revision/main?blobs=true") as answer:
        siblings = json.load(answer)["siblings"]
    files = [
        _File(into / one["rfilename"].replace("/", "%"), f"/{repo}/resolve/main/{one['rfilename']}", one["size"])
        for one in sorted(siblings, key=lambda one: -int(one["size"]))
    ]
    parts: queue.SimpleQueue[tuple[_File, int, int]] = queue.SimpleQueue()
    for file in files:
        for start in range(0, file.size, _PART):
            parts.put((file, start, min(start + _PART, file.size)))
    where = urlsplit(url)
    threads = [
        threading.Thread(target=_receive, args=((where.hostname, where.port), parts), daemon=True)
        for _ in range(connections)
    ]
    digests: dict[str, str] = {}
    threads += [threading.Thread(target=lambda f=file: digests.update({f.url_path: f.finish()})) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(digests) < len(files):
        raise SystemExit("some file did not come")
    print(json.dumps(digests))


if __name__ == "__main__":
    main()
