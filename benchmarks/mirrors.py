"""Mirrors: the servers that are compared with `preheat mirror`, each started as its own manual describes."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sides import ROOT, NotHere, environment
from tests.authority import authority
from tests.guard.apps import free_port

MODEL, FILE = "acme/warm", "model.safetensors"
PREHEAT = ROOT / ".venv" / "bin" / "preheat"
_STATIC = ROOT / "benchmarks" / "static_servers.py"
_NGINX = """\
{user}worker_processes auto; daemon off; pid {work}/nginx.pid; error_log {work}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3;
  uwsgi_temp_path {work}/t4; scgi_temp_path {work}/t5;
  server {{ listen 127.0.0.1:{port}; location / {{ root {folder}; }} }}
}}
"""


@dataclass(frozen=True, slots=True)
class Mirror:
    """A server under measurement: the URL of its file, and its PID."""

    name: str
    version: str
    command: str
    url: str
    pid: int

    @property
    def peak_rss(self) -> int:
        """Return the sum of the peak memory of its process and of the processes that it started."""
        return sum(_peak(pid) for pid in (self.pid, *_children(self.pid)))


@dataclass(frozen=True, slots=True)
class Place:
    """The folders: of the hub that is mirrored, of the file, and for work."""

    hub: str
    folder: Path
    work: Path


Start = Callable[[Place], contextlib.AbstractContextManager[Mirror]]


@contextlib.contextmanager
def preheat(place: Place, *more: str) -> Iterator[Mirror]:
    """The mirror of this source tree."""
    port = free_port()
    words = [str(PREHEAT), "mirror", "-q", "--listen", f"127.0.0.1:{port}", "--upstream", f"hf={place.hub}", *more]
    path = f"{MODEL}/resolve/main/{FILE}"
    with _running("preheat", _said(str(PREHEAT), "--version"), words, port, path, place) as mirror:
        yield mirror


@contextlib.contextmanager
def preheat_alone(place: Place) -> Iterator[Mirror]:
    """Ours, with the model in its library, and no upstream."""
    port = free_port()
    library = ["--library", str(place.work / "library")]
    subprocess.run([str(PREHEAT), "pull", "-q", MODEL, "--endpoint", f"hf={place.hub}", *library], check=True)
    words = [str(PREHEAT), "mirror", "-q", "--listen", f"127.0.0.1:{port}", *library]
    path = f"{MODEL}/resolve/main/{FILE}"
    with _running("preheat", _said(str(PREHEAT), "--version"), words, port, path, place) as mirror:
        yield mirror


@contextlib.contextmanager
def nginx(place: Place) -> Iterator[Mirror]:
    """The limit: nginx with sendfile, one process per core."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise NotHere("nginx is not here (apt-get install nginx-light)")
    port = free_port()
    conf = place.work / "nginx.conf"
    # Started by root, its workers would change to a user that cannot read these files.
    user = "user root; " if os.geteuid() == 0 else ""
    conf.write_text(_NGINX.format(user=user, work=place.work, port=port, folder=place.folder))
    version = _said(program, "-v").rpartition("/")[2]
    with _running("nginx", version, [program, "-c", str(conf)], port, FILE, place) as mirror:
        yield mirror


@contextlib.contextmanager
def olah(place: Place) -> Iterator[Mirror]:
    """The peer: another self-hosted mirror. Once warm, it sends its hub few requests."""
    python = environment("olah==0.5.4")
    port, behind = free_port(), free_port()
    hub = [str(PREHEAT), "mirror", "-q", "--listen", f"127.0.0.1:{behind}", "--folder", f"{MODEL}={place.folder}"]
    netloc = f"127.0.0.1:{behind}"
    words = [str(python.with_name("olah-cli")), "--host", "127.0.0.1", "--port", str(port), "--hf-scheme", "http"]
    words += ["--hf-netloc", netloc, "--hf-lfs-netloc", netloc, "--mirror-netloc", f"127.0.0.1:{port}"]
    words += ["--mirror-lfs-netloc", f"127.0.0.1:{port}", "--repos-path", str(place.work / "olah")]
    words += ["--log-path", str(place.work / "olah-log")]
    path = f"{MODEL}/resolve/main/{FILE}"
    with (
        _running("hub of olah", "", hub, behind, "", place),
        _running("olah", "0.5.4", words, port, path, place) as mirror,
    ):
        yield mirror


def static(name: str, *requirements: str) -> Start:
    """Return a function that starts a server of `static_servers.py` in its own environment."""

    @contextlib.contextmanager
    def start(place: Place) -> Iterator[Mirror]:
        python = environment(*requirements) if requirements else Path(sys.executable)
        port = free_port()
        words = [str(python), str(_STATIC), name, str(place.folder / FILE), str(port)]
        version = requirements[0].rpartition("=")[2] if requirements else sys.version.split()[0]
        with _running(name, version, words, port, FILE, place) as mirror:
            yield mirror

    return start


SERVERS: dict[str, Start] = {
    "stdlib": static("stdlib"),
    "cheroot": static("cheroot", "cheroot==11.1.2"),
    "gunicorn": static("gunicorn", "gunicorn==27.0.1"),
    "aiohttp": static("aiohttp", "aiohttp==3.14.5"),
    "granian": static("granian", "granian==2.8.7", "starlette==1.10.0"),
    "uvicorn": static("uvicorn", "uvicorn==0.54.0", "starlette==1.10.0"),
    "hypercorn": static("hypercorn", "hypercorn==0.18.0", "starlette==1.10.0"),
}


@contextlib.contextmanager
def _running(name: str, version: str, words: Sequence[str], port: int, path: str, place: Place) -> Iterator[Mirror]:
    home = place.work / "home"
    home.mkdir(exist_ok=True)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PREHEAT_LIBRARY": str(place.work / "library"),
        **authority().environ,
    }
    with open(place.work / f"{name}.log", "wb") as log:
        process = subprocess.Popen(
            words, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _until_listening(process, port, place.work / f"{name}.log")
        said = " ".join(words).replace(str(place.work), "WORK").replace(f"{ROOT}/", "").replace(place.hub, "HUB")
        yield Mirror(name, version, said, f"http://127.0.0.1:{port}/{path}", process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _until_listening(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotHere(f"{log.stem} did not start: {log.read_text(errors='replace')[-300:]}") from error
            time.sleep(0.05)
        else:
            return


def _said(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return (done.stdout or done.stderr).strip().removeprefix("preheat ")


def _peak(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
