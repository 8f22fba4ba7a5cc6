"""The unit as a real systemd runs it, as process 1 in namespaces of its own; skipped where these are not permitted."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.guard.kernel import process_tree
from tests.command import COMMAND
from tests.guard.apps import SRC, free_port, until
from tests.stories.test_run import PAGE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_SYSTEMD, _CGROUPS = Path("/lib/systemd/systemd"), Path("/sys/fs/cgroup/systemd")
# None of the machine's own units is visible, since services such as systemd-tmpfiles would change the machine. All of
# its files are read-only. The cgroup namespace has only systemd's hierarchy.
_BOOT = """
set -e
echo $$ > {cgroup}/cgroup.procs
exec unshare --mount --pid --cgroup --fork --ipc --uts --kill-child bash -ec '
mount --make-rprivate /
mount -t proc proc /proc
{folders}
for one in /run /srv /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs $one; done
mount -o remount,bind,ro /
mkdir -p {units}
for one in tests sysinit basic shutdown multi-user; do
  printf "[Unit]\\nDescription=$one\\nDefaultDependencies=no\\n" > {units}/$one.target
done
for one in /sys/fs/cgroup/*; do ! mountpoint -q $one || umount $one; done
mount -t cgroup -o none,name=systemd cgroup {root}
exec env -i PATH=$PATH container=tests SYSTEMD_UNIT_PATH={units} SYSTEMD_GENERATOR_PATH={units}/none \
  {systemd} --unit=tests.target --log-target=console'
"""
_UNITS = "/run/tests"
USER = "nobody"
RECIPE = """
[app]
name = "web"
command = ["python3", "{{dir}}/page.py", "{port}"]
ready = "http://127.0.0.1:{number}/"
"""


class Machine:
    """A systemd with its own process tree and folders, on this machine's files and network."""

    def __init__(self, boot: "subprocess.Popen[bytes]", log: Path) -> None:
        self._boot, self.log = boot, log

    @property
    def first(self) -> int:
        """The PID of systemd on this machine; 0 before it runs."""
        children = process_tree.children(self._boot.pid) or []
        return next((pid for pid in children if process_tree.name(pid) == "systemd"), 0)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command inside."""
        inside = ("nsenter", "--target", str(self.first), "--mount", "--pid", "--cgroup", "--", *words)
        path = f"{COMMAND.parent}:{os.environ['PATH']}"
        return subprocess.run(
            inside,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={"PATH": path, "HOME": "/srv"},
            cwd="/",
        )

    def __call__(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}{self.log.read_text()[-2000:]}"
        return done.stdout.strip()

    def shows(self, name: str) -> str:
        """Return a property of the unit."""
        return self("systemctl", "show", "--value", "--property", name, "web")

    def write(self, path: str, text: str) -> None:
        """Write a file inside."""
        at = Path(f"/proc/{self.first}/root{path}")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if os.geteuid() != 0 or not _SYSTEMD.exists() or shutil.which("nsenter") is None:
        pytest.skip("needs root, systemd and nsenter")
    if not os.path.ismount(_CGROUPS):
        pytest.skip("needs systemd's own cgroup hierarchy, at /sys/fs/cgroup/systemd")
    cgroup = _CGROUPS / f"preheat-{os.getpid()}"
    cgroup.mkdir()
    log = tmp_path_factory.mktemp("systemd") / "log"
    text = _BOOT.format(cgroup=cgroup, root=_CGROUPS, systemd=_SYSTEMD, folders=_open_home(), units=_UNITS)
    with log.open("wb") as out, subprocess.Popen(["bash", "-c", text], stdout=out, stderr=out) as boot:
        try:
            machine = Machine(boot, log)
            running = ("degraded", "running")
            if not until(
                lambda: machine.first and machine.run("systemctl", "is-system-running").stdout.strip() in running, 30
            ):
                pytest.skip(f"systemd does not start here: {log.read_text()[-500:]}")
            yield machine
        finally:
            if first := machine.first:
                os.kill(first, signal.SIGKILL)
            boot.kill()
            boot.wait()
            assert until(lambda: _removed(cgroup))


def _open_home() -> str:
    """Return commands that let every user reach this Python and the package, also below a private home."""
    home = Path.home()
    folders = {str(Path(one).resolve()) for one in (sys.base_prefix, sys.prefix, SRC)}
    inside = sorted(one for one in folders if Path(one).is_relative_to(home))
    if not inside:
        return ""
    kept = [f"mkdir -p /mnt{one}; mount --bind {one} /mnt{one}" for one in inside]
    back = [f"mkdir -p {one}; mount --bind /mnt{one} {one}" for one in inside]
    return "\n".join(("mount -t tmpfs tmpfs /mnt", *kept, f"mount -t tmpfs -o mode=755 tmpfs {home}", *back))


def _removed(cgroup: Path) -> bool:
    for folder, _, _ in os.walk(cgroup, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError:
            return False
    return True


@pytest.fixture
def port(machine: Machine) -> Iterator[int]:
    """Write an app into /srv/web, which belongs to its user; return its port."""
    number = free_port()
    machine.write("/srv/web/page.py", PAGE.replace('b"hello"', REPORT))
    machine.write("/srv/web/preheat.toml", RECIPE.format(port="{port}", number=number))
    machine("mkdir", "-p", "/srv/library")
    machine("chown", "-R", USER, "/srv/web", "/srv/library")
    yield number
    machine.run("systemctl", "stop", "web")
    machine.run("systemctl", "reset-failed", "web")


# What the app may do, by its own words.
REPORT = """json.dumps({
    "uid": os.getuid(), "pid": os.getpid(),
    "status": dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line),
}).encode()"""


def serve(machine: Machine, *words: str) -> None:
    """Write the unit as a user does, and start it."""
    unit = machine("preheat", "serve-config", "systemd", "/srv/web/preheat.toml", "--library", "/srv/library", *words)
    machine.write(f"{_UNITS}/web.service", unit + "\n")
    machine("systemctl", "daemon-reload")


def page(port: int) -> dict[str, object]:
    """Return what the app reports; nothing if it does not respond."""
    import json

    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}/") as answer:
            said: dict[str, object] = json.loads(answer.read())
            return said
    except (OSError, ValueError):
        return {}


def test_the_unit_starts_as_its_user_with_its_limits_and_stops(machine: Machine, port: int) -> None:
    serve(machine, "--user", USER)
    machine("systemctl", "start", "web")  # Type=notify: this returns when the app is ready
    said = page(port)
    assert said["uid"] == int(machine("id", "-u", USER))
    status = said["status"]
    assert isinstance(status, dict)
    assert status["NoNewPrivs"] == "1"
    assert {int(status[name], 16) for name in ("CapBnd", "CapEff", "CapPrm")} == {0}
    assert (machine.shows("ActiveState"), machine.shows("StatusText")[:7]) == ("active", "running")
    assert machine.shows("PrivateTmp") == "yes"
    began = time.monotonic()
    machine("systemctl", "stop", "web")
    assert time.monotonic() - began < 15
    assert (machine.shows("ActiveState"), machine.shows("Result")) == ("inactive", "success")
    assert page(port) == {}


def test_a_crash_of_the_app_is_the_guards_and_one_of_the_guard_is_systemds(machine: Machine, port: int) -> None:
    serve(machine, "--user", USER)
    machine("systemctl", "start", "web")
    first = page(port)
    machine("bash", "-c", f"kill -9 $(pgrep -u {USER} -f page.py\\ {port} | tail -n 1)")
    assert until(lambda: page(port) and page(port) != first, 60), machine.log.read_text()
    assert machine.shows("NRestarts") == "0"
    machine("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "web")
    assert until(lambda: machine.shows("NRestarts") == "1" and machine.shows("ActiveState") == "active", 60)
    assert page(port)
    assert machine("pgrep", "-c", "-u", USER, "-f", f"page.py {port}") == "1"


def test_a_planned_restart_by_reload_keeps_the_page(machine: Machine, port: int) -> None:
    front = free_port()
    serve(machine, "--user", USER, "--front", f"127.0.0.1:{front}")
    machine("systemctl", "start", "web")
    before = page(front)
    machine("systemctl", "reload", "web")
    assert until(lambda: page(front) and page(front)["status"] != before["status"], 60)
    assert machine.shows("ActiveState") == "active"


def test_a_model_that_is_missing_is_not_tried_again(machine: Machine, port: int) -> None:
    toml = RECIPE.format(port="{port}", number=port) + '[[needs]]\nref = "hf:acme/tiny"\n'
    machine.write("/srv/web/preheat.toml", toml)
    serve(machine, "--user", USER)
    assert machine.run("systemctl", "start", "web").returncode != 0
    assert (machine.shows("ExecMainStatus"), machine.shows("ActiveState")) == ("5", "failed")
    assert machine.shows("NRestarts") == "0"
