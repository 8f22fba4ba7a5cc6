"""Image builders: programs that build the same image, with their commands; the floor is one write, hashed meanwhile."""

import contextlib
import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

COMMAND = Path(sys.executable).with_name("preheat")
_LIMITS = ["--ulimit", "nofile=20000:20000"]


@dataclass(frozen=True, slots=True)
class Task:
    """What to build: `weights` is a plain folder, for docker's kin; `library` has the same; `into` is empty."""

    weights: Path
    library: Path
    recipe: Path
    into: Path


@dataclass(frozen=True, slots=True)
class Builder:
    """A program: its name, whether it can run on this machine, and its commands in order."""

    name: str
    here: Callable[[], bool]
    commands: Callable[[Task], list[list[str]]]
    before: Callable[[Task], None] = lambda _: None


def preheat_words(task: Task, layout: str = "layout") -> list[str]:
    """Return preheat's command."""
    output = f"oci:{task.into}/{layout}:v1"
    words = ["--base", "scratch", "--output", output, "--library", str(task.library), "--json"]
    return [str(COMMAND), "build", str(task.recipe), *words]


def forget(task: Task) -> None:
    """Delete preheat's cache of layers of earlier builds."""
    shutil.rmtree(task.library / "images", ignore_errors=True)


def builders(docker: str | None) -> list[Builder]:
    """List the programs; `docker` is the socket of a daemon, None without one."""
    return [
        Builder(
            "floor", lambda: True, lambda task: [[sys.executable, "-m", "benchmarks.image_builders", *_ends(task)]]
        ),
        Builder("preheat build", lambda: True, lambda task: [preheat_words(task)], forget),
        Builder("umoci insert", _has("umoci"), _umoci),
        Builder("buildah, compressed", _has("buildah"), lambda task: _buildah(task, [])),
        Builder("buildah, not compressed", _has("buildah"), lambda task: _buildah(task, ["--disable-compression"])),
        Builder("podman build", _has("podman"), _podman),
        Builder(
            "docker build",
            lambda: docker is not None,
            lambda task: _docker(task, docker or ""),
            lambda _: _forget_docker(docker or ""),
        ),
    ]


def _ends(task: Task) -> list[str]:
    return [str(task.weights), str(task.into)]


def _umoci(task: Task) -> list[list[str]]:
    at = f"{task.into}/layout"
    return [
        ["umoci", "init", "--layout", at],
        ["umoci", "new", "--image", f"{at}:v1"],
        ["umoci", "insert", "--image", f"{at}:v1", str(task.weights), "/models"],
    ]


def _store(task: Task) -> list[str]:
    return ["--root", f"{task.into}/store", "--runroot", f"{task.into}/run", "--storage-driver", "overlay"]


def _buildah(task: Task, packing: list[str]) -> list[list[str]]:
    words = ["bud", "--isolation", "oci", "--runtime", "runc", *_LIMITS, "--layers=false", "--tag", "bench"]
    build = ["buildah", *_store(task), *words, str(context(task))]
    push = ["buildah", *_store(task), "push", *packing, "bench", f"oci:{task.into}/layout:v1"]
    return [build, push]


def _podman(task: Task) -> list[list[str]]:
    words = ["build", "--isolation", "oci", "--runtime", "runc", *_LIMITS, "--layers=false", "--tag", "bench"]
    return [["podman", *_store(task), *words, str(context(task))]]


def _docker(task: Task, socket: str) -> list[list[str]]:
    return [
        ["env", "DOCKER_BUILDKIT=1", "/usr/bin/docker", "-H", socket, "build", "--tag", "bench", str(context(task))]
    ]


def _forget_docker(socket: str) -> None:
    """Delete docker's build cache, so that it builds the image again."""
    subprocess.run(["/usr/bin/docker", "-H", socket, "rmi", "-f", "bench"], capture_output=True, check=False)
    for what in ("builder", "system"):
        subprocess.run(["/usr/bin/docker", "-H", socket, what, "prune", "-af"], capture_output=True, check=False)


def context(task: Task) -> Path:
    """Make what a Dockerfile by hand has: the weights beside it, as links that cost nothing."""
    folder = task.weights.parent / "context"
    if not folder.is_dir():
        (folder / "models").mkdir(parents=True)
        for path in task.weights.iterdir():
            os.link(path, folder / "models" / path.name)
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY models/ /models/\n")
    return folder


def _has(program: str) -> Callable[[], bool]:
    return lambda: shutil.which(program) is not None


@contextlib.contextmanager
def dockerd(folder: Path) -> Iterator[str | None]:
    """Start a dockerd of our own, which touches no firewall; None where that cannot be done."""
    if shutil.which("dockerd") is None or not Path("/usr/bin/docker").exists() or os.geteuid() != 0:
        yield None
        return
    folder.mkdir(parents=True)
    socket = f"unix://{folder}/docker.sock"
    words = ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
    words += ["-H", socket, "--default-ulimit", "nofile=20000:20000", "--iptables=false", "--bridge=none"]
    with open(folder / "log", "wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as daemon:
        try:
            deadline = time.monotonic() + 30
            asking = ["/usr/bin/docker", "-H", socket, "info"]
            while subprocess.run(asking, capture_output=True, check=False).returncode:
                if daemon.poll() is not None or time.monotonic() > deadline:
                    print("dockerd does not start here", file=sys.stderr)
                    yield None
                    return
                time.sleep(0.3)
            yield socket
        finally:
            daemon.terminate()
            daemon.wait(60)


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str | None]:
    """Start a docker-registry; its host, or None where there is none."""
    if shutil.which("docker-registry") is None:
        yield None
        return
    folder.mkdir(parents=True)
    host = "127.0.0.1:5999"
    settings = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": host},
    }
    (folder / "settings.yml").write_text(json.dumps(settings))
    with (
        open(folder / "log", "wb") as log,
        subprocess.Popen(["docker-registry", "serve", str(folder / "settings.yml")], stdout=log, stderr=log) as server,
    ):
        try:
            time.sleep(1.5)
            yield host
        finally:
            server.terminate()
            server.wait(30)


def floor(weights: Path, into: Path) -> None:
    """Write all files into one, 1 MiB at a time, with SHA-256 taken in a thread beside it, and put it on disk."""
    full: queue.SimpleQueue[tuple[bytearray, int] | None] = queue.SimpleQueue()
    free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
    for _ in range(6):
        free.put(bytearray(1 << 20))
    digest = hashlib.sha256()

    def hashing() -> None:
        while (item := full.get()) is not None:
            buffer, count = item
            digest.update(memoryview(buffer)[:count])
            free.put(buffer)

    thread = threading.Thread(target=hashing)
    thread.start()
    with open(into / "floor", "wb", buffering=0) as out:
        for path in sorted(weights.iterdir()):
            with open(path, "rb", buffering=0) as file:
                buffer = free.get()
                while count := file.readinto(buffer):
                    out.write(memoryview(buffer)[:count])
                    full.put((buffer, count))
                    buffer = free.get()
                free.put(buffer)
        os.fsync(out.fileno())
    full.put(None)
    thread.join()
    print(digest.hexdigest())


if __name__ == "__main__":
    floor(Path(sys.argv[1]), Path(sys.argv[2]))
