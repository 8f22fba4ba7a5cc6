"""What hostile clients, idle connections and a large library cost: a client's wait, memory, the checks of `run`.

Prints a table, and writes benchmarks/results/limits.json. `--part` measures one part alone.
"""

import argparse
import contextlib
import http.client
import json
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.bench_start import COMMAND, _environ, _start
from benchmarks.machine import describe
from tests.guard.apps import free_port

RESULTS = Path(__file__).parent / "results" / "limits.json"
BAD, ASKED, IDLE, ROUNDS = 512, 600, 10_000, 9
HONEST, HOSTILE = "127.0.0.1", "127.0.0.2"
GB = 10**9
# The app behind the front: it accepts all connections and answers each.
APP = """
import selectors, socket, sys
s = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096); s.setblocking(False)
choose = selectors.DefaultSelector(); choose.register(s, 1)
while True:
    for key, _ in choose.select():
        if key.fileobj is s:
            one = s.accept()[0]; one.setblocking(False); choose.register(one, 1)
            continue
        try:
            more = key.fileobj.recv(4096)
        except OSError:
            more = b""
        if more:
            key.fileobj.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
        else:
            choose.unregister(key.fileobj); key.fileobj.close()
"""


def main() -> None:
    """Measure all parts, or the one that is named."""
    parts = {
        "honest": honest_beside_hostile,
        "idle": idle_connections,
        "front": idle_at_the_front,
        "run": checks_of_run,
    }
    form = argparse.ArgumentParser(description=__doc__)
    form.add_argument("--part", choices=parts, action="append")
    options = form.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    measured: dict[str, object] = {"descriptors": [soft, hard]}
    with tempfile.TemporaryDirectory(prefix="preheat-bench-", dir="/var/tmp") as name:
        for part in options.part or parts:
            folder = Path(name) / part
            folder.mkdir()
            measured[part] = parts[part](folder)
            print(f"{part}: {json.dumps(measured[part])}", flush=True)
        measured["machine"] = describe(Path(name))
    if not options.part:
        RESULTS.write_text(json.dumps(measured, indent=1) + "\n")


@contextlib.contextmanager
def mirrored(folder: Path) -> Iterator[tuple[int, int]]:
    """A mirror of a small and a large file; yield its port and PID."""
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    with (folder / "model" / "large.bin").open("wb") as large:
        large.truncate(GB)
    port = free_port()
    words = ("mirror", "--listen", f"127.0.0.1:{port}", "--folder", f"acme/tiny={folder}/model")
    process = subprocess.Popen(
        [COMMAND, *words], env=_environ(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await_port(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def honest_beside_hostile(folder: Path) -> dict[str, object]:
    """Time an honest client's requests alone, and beside 512 connections of another client that read slowly or drip."""
    with mirrored(folder) as (port, _):
        asked(port, 50)
        alone = asked(port, ASKED)
        stop = threading.Event()
        bad = [connected(port, HOSTILE) for _ in range(BAD)]
        for number, one in enumerate(bad):
            large = b"GET /acme/tiny/resolve/main/large.bin HTTP/1.1\r\nHost: a\r\n\r\n"
            one.sendall(large if number % 2 else b"GET /acme/ti")
        reader = threading.Thread(target=read_slowly, args=(bad[1::2], bad[::2], stop))
        reader.start()
        time.sleep(2)
        beside = asked(port, ASKED)
        stop.set()
        reader.join()
        for one in bad:
            one.close()
    figures = {"alone_ms": quantiles(alone), "beside_ms": quantiles(beside)}
    return figures | {"p99_ratio": round(figures["beside_ms"]["p99"] / figures["alone_ms"]["p99"], 2)}


def read_slowly(readers: list[socket.socket], drippers: list[socket.socket], stop: threading.Event) -> None:
    """Take 100 KB a second of each answer, and add a byte to each request every few seconds."""
    while not stop.wait(0.5):
        for one in readers:
            with contextlib.suppress(OSError):
                one.recv(50_000)
        for one in drippers[:20]:
            with contextlib.suppress(OSError):
                one.send(b"x")


def asked(port: int, count: int) -> list[float]:
    """Ask for a small file, each time on a new connection; return the milliseconds."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        client = http.client.HTTPConnection(HONEST, port, timeout=30, source_address=(HONEST, 0))
        client.request("GET", "/acme/tiny/resolve/main/config.json")
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (200, b"{}")
        client.close()
        times.append((time.perf_counter() - began) * 1000)
        time.sleep(0.005)
    return times


def idle_connections(folder: Path) -> dict[str, object]:
    """Return the resident memory of a mirror with and without 10,000 idle connections."""
    with mirrored(folder) as (port, pid):
        asked(port, 20)
        return held(port, pid, IDLE - 100, lambda: asked(port, 20))


def idle_at_the_front(folder: Path) -> dict[str, object]:
    """Return the resident memory of a guard with and without idle connections at its front, as many as it relays."""
    (folder / "app.py").write_text(APP)
    status, front = free_port(), free_port()
    words = ("--status", f"127.0.0.1:{status}", "--front", f"127.0.0.1:{front}", "--ready", "tcp:{port}")
    command = (sys.executable, "-m", "preheat.guard", *words, "--", sys.executable, str(folder / "app.py"), "{port}")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_port(front)
        while not said(status, "/readyz"):
            time.sleep(0.05)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = min(IDLE, hard // 2 - 300)
        return held(front, process.pid, count, lambda: said(front, "/") or fail())
    finally:
        process.terminate()
        process.wait()


def held(port: int, pid: int, count: int, works: Callable[[], object]) -> dict[str, object]:
    before = resident(pid)
    idle = [connected(port, f"127.0.0.{2 + number % 50}") for number in range(count)]
    time.sleep(3)
    during = resident(pid)
    works()
    open_ones = sum(not ended(one) for one in idle)
    for one in idle:
        one.close()
    return {"connections": open_ones, "before_mib": before, "during_mib": during, "more_mib": round(during - before, 1)}


def checks_of_run(folder: Path) -> dict[str, object]:
    """Time starts with a library of 9 GB, of 9 kB, and without one, in turns."""
    folders = {name: prepared(folder / name, size) for name, size in (("9 GB", GB), ("9 kB", 1_000), ("none", 0))}
    starts: dict[str, list[tuple[float, float]]] = {name: [] for name in folders}
    for _ in range(ROUNDS):
        for name, at in folders.items():
            starts[name].append(_start(at, (str(COMMAND), "run", "--")))
    figures: dict[str, object] = {}
    for what, column in (("wall_ms", 0), ("cpu_ms", 1)):
        medians = {name: statistics.median(one[column] * 1000 for one in all_) for name, all_ in starts.items()}
        figures[what] = {name: round(median, 1) for name, median in medians.items()}
    return figures | {"all": starts}


def prepared(folder: Path, size: int) -> Path:
    """Make an app that needs 9 files of `size` bytes, which are in its library."""
    (folder / "model").mkdir(parents=True)
    need = f'[[needs]]\nref = "file:{folder}/model"\n' if size else ""
    for number in range(9 if size else 0):
        with (folder / "model" / f"{number}.bin").open("wb") as file:
            file.write(bytes([number]))
            file.truncate(size)
    (folder / "preheat.toml").write_text(f'[app]\nname = "bench"\n{need}')
    for words in (("pull", "preheat.toml"), ("run", "--", "true")):
        subprocess.run([COMMAND, *words], cwd=folder, env=_environ(folder), check=True, capture_output=True)
    return folder


def quantiles(times: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile."""
    return {"p50": round(statistics.median(times), 2), "p99": round(statistics.quantiles(times, n=100)[98], 2)}


def connected(port: int, address: str) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    one.bind((address, 0))
    one.settimeout(30)
    one.connect(("127.0.0.1", port))
    one.setblocking(False)
    return one


def ended(one: socket.socket) -> bool:
    try:
        return one.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def said(port: int, path: str) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        client.request("GET", path)
        return client.getresponse().status == 200
    return False


def fail() -> None:
    raise RuntimeError("it does not answer beside idle connections")


def resident(pid: int) -> float:
    """Return the resident memory of a process and its children in MiB, without shared pages."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return round(int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024, 1)


def await_port(port: int) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"port {port} is not served")


if __name__ == "__main__":
    main()
