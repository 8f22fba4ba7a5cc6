"""Guarded: a guard from the zip, observed by the benchmark from outside."""

import http.client
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path


def bare(*words: str) -> list[str]:
    return [sys.executable, "-I", "-S", *words]


class Guarded:
    """A running guard; its output is in `said`."""

    def __init__(self, zipped: Path, *words: str, env: dict[str, str] | None = None, group: Path | None = None) -> None:
        def join() -> None:
            if group is not None:
                (group / "cgroup.procs").write_text(str(os.getpid()))

        self.began = time.monotonic()
        self.process = subprocess.Popen(
            bare(str(zipped), *words),
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=join,
        )
        self.said: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append((time.monotonic(), line.decode("utf-8", "replace").rstrip()))

    def until(self, pattern: str, count: int = 1, within_s: float = 180) -> float:
        """Wait until it has printed a text `count` times; return the time."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            found = [at for at, line in tuple(self.said) if re.search(pattern, line)]
            if len(found) >= count:
                return found[count - 1]
            if self.process.poll() is not None:
                break
            time.sleep(0.002)
        raise RuntimeError(f"it never said {pattern!r}: {self.said[-20:]}")

    def end(self) -> float:
        """Stop it; return the seconds that this took."""
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(60)
        took = time.monotonic() - began
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return took


def ask(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def evict(files: Iterable[Path]) -> None:
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def children(pid: int) -> list[int]:
    return [int(one) for task in Path(f"/proc/{pid}/task").iterdir() for one in (task / "children").read_text().split()]


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int, what: str) -> int:
    found = re.search(rf"^{what}:\s*(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def told(port: int) -> str:
    """Read the guard's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read(), "utf-8")
