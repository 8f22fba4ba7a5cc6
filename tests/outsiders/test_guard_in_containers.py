"""The guard as PID 1 under podman and dockerd; tests are skipped where these are missing."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guard.apps import until
from tests.guard.supervise.test_instances import WEB
from tests.guard.zipped import guard_zip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Starts the app, leaves an orphan a second to be reaped, then serves.
APP = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        if os.fork() == 0: time.sleep(0.2)
        os._exit(0)
    os.wait()
"""
START = ("--status", "127.0.0.1:7861", "--ready", "http://127.0.0.1:8000/")


def works(*words: str) -> bool:
    return shutil.which(words[0]) is not None and (
        subprocess.run(words, capture_output=True, check=False, timeout=60).returncode == 0
    )


class Engine:
    """podman or docker, with an image that contains this machine's Python and the guard, and nothing else."""

    def __init__(self, name: str, command: tuple[str, ...], image: str) -> None:
        self.name = name
        self.command = command
        self.image = image

    def __call__(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*self.command, *words], capture_output=True, text=True, check=False, timeout=120)


def root_file_system(path: Path) -> None:
    """Write a tar of Python, its library, their C libraries, and the guard."""
    python = Path(sys.executable).resolve()
    linked = subprocess.run(["ldd", str(python)], capture_output=True, text=True, check=True).stdout.split()
    extra = Path(sysconfig.get_path("stdlib")) / "lib-dynload"
    for module in extra.glob("*.so"):
        linked += subprocess.run(["ldd", str(module)], capture_output=True, text=True, check=False).stdout.split()
    shell = Path("/bin/sh")  # a health check given as words is a shell's
    linked += subprocess.run(["ldd", str(shell)], capture_output=True, text=True, check=False).stdout.split()
    files = {python, shell, *(Path(word) for word in linked if word.startswith("/") and Path(word).is_file())}
    stdlib = Path(sysconfig.get_path("stdlib"))
    with tarfile.open(path, "w") as tar:
        for file in sorted(files):
            tar.add(file.resolve(), str(file))
        tar.add(
            stdlib, str(stdlib), filter=lambda one: None if "site-packages" in one.name or "/test/" in one.name else one
        )
        tar.add(guard_zip(), "/guard.pyz")
        link = tarfile.TarInfo("/python3")
        link.type, link.linkname = tarfile.SYMTYPE, str(python)
        tar.addfile(link)
        temporary = tarfile.TarInfo("/tmp")
        temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(temporary)


@contextmanager
def podman() -> Iterator[tuple[str, ...]]:
    if not works("podman", "ps"):
        pytest.skip("no podman that can start containers here")
    yield ("podman",)


@contextmanager
def docker(folder: Path) -> Iterator[tuple[str, ...]]:
    """Start a separate dockerd that changes no firewall and no images of others."""
    if shutil.which("dockerd") is None or shutil.which("docker") is None or os.geteuid() != 0:
        pytest.skip("no dockerd that can be started here")
    socket = f"unix://{folder}/docker.sock"
    words = [
        "dockerd",
        "--data-root",
        f"{folder}/data",
        "--exec-root",
        f"{folder}/exec",
        "--pidfile",
        f"{folder}/pid",
        "-H",
        socket,
    ]
    words += ["--default-ulimit", "nofile=20000:20000", "--iptables=false", "--bridge=none"]
    with (folder / "log").open("wb") as log, subprocess.Popen(words, cwd=folder, stdout=log, stderr=log) as daemon:
        try:
            if (
                not until(lambda: works("docker", "-H", socket, "info") or daemon.poll() is not None, 60)
                or daemon.poll()
            ):
                pytest.skip(f"dockerd does not start here: {(folder / 'log').read_text()[-500:]}")
            yield ("docker", "-H", socket)
        finally:
            daemon.terminate()
            daemon.wait(60)


@pytest.fixture(scope="module", params=["podman", "docker"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    name, folder = str(request.param), tmp_path_factory.mktemp("engine")
    image = f"preheat-guard-{uuid.uuid4().hex[:8]}:1"
    with podman() if name == "podman" else docker(folder) as command:
        engine = Engine(name, command, image)
        root_file_system(folder / "root.tar")
        start = json.dumps(["/python3", "/guard.pyz", *START, "--", "/python3", "-u", "-c", APP + WEB, "8000"])
        done = engine.run("import", "--change", f"ENTRYPOINT {start}", str(folder / "root.tar"), image)
        if done.returncode:
            pytest.skip(f"{name} import: {done.stderr.strip()}")
        yield engine
        engine.run("rmi", "-f", image)


@pytest.fixture
def container(engine: Engine) -> Iterator[str]:
    health = ["--health-cmd", f"/python3 /guard.pyz --check {START[1]}", "--health-interval", "1s"]
    name = engine("run", "--detach", "--network=none", "-e", "LOADS_S=1", *health, engine.image)
    yield name
    engine.run("rm", "-f", name)


def ready(engine: Engine, container: str) -> bool:
    return engine.run("exec", container, "/python3", "/guard.pyz", "--check", START[1]).returncode == 0


def test_as_pid_1_it_reaps_orphans_answers_health_checks_and_stops_when_asked(engine: Engine, container: str) -> None:
    assert until(lambda: ready(engine, container), 60), engine("logs", container)
    processes = engine.run("exec", container, "/python3", "-c", PROCESSES).stdout.split()
    assert "Z" not in processes
    if engine.name == "podman":
        assert engine.run("healthcheck", "run", container).returncode == 0
    else:
        assert until(lambda: engine("inspect", "-f", "{{.State.Health.Status}}", container) == "healthy", 90)
    began = time.monotonic()
    engine("stop", "--time", "20", container)
    assert time.monotonic() - began < 15
    assert engine("inspect", "-f", "{{.State.ExitCode}}", container) == "143"


def test_an_app_killed_in_its_container_is_restarted(engine: Engine, container: str) -> None:
    assert until(lambda: ready(engine, container), 60), engine("logs", container)
    engine.run("exec", container, "/python3", "-c", KILL)
    assert until(lambda: "start 2" in both(engine, container), 60)
    assert until(lambda: ready(engine, container), 60)


def test_an_app_whose_start_script_ends_is_served_restarted_and_stopped(engine: Engine) -> None:
    script = f"/python3 -u -c '{WEB}' 8000 & exit 0"
    start = ["/guard.pyz", *START, "--", "/bin/sh", "-c", script]
    name = engine(
        "run", "--detach", "--network=none", "-e", "LOADS_S=1", "--entrypoint", "/python3", engine.image, *start
    )
    try:
        assert until(lambda: ready(engine, name), 60), engine("logs", name)
        assert "the processes that it left running are the app" in both(engine, name)
        engine.run("exec", name, "/python3", "-c", KILL)
        assert until(lambda: "start 2" in both(engine, name), 60), both(engine, name)
        assert until(lambda: ready(engine, name), 60)
        engine("stop", "--time", "20", name)
        assert engine("inspect", "-f", "{{.State.ExitCode}}", name) == "143"
    finally:
        engine.run("rm", "-f", name)


def both(engine: Engine, container: str) -> str:
    done = engine.run("logs", container)
    return done.stdout + done.stderr


PROCESSES = """
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    try: print(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0])
    except OSError: pass
"""
KILL = """
import os
for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
    words = open(f"/proc/{pid}/cmdline").read().split("\\0")
    if "-u" in words and "8000" in words and "--" not in words: os.kill(pid, 9)
"""
