"""A restored app goes on where it was; whatever is wrong, the app is started as usual."""

import os
import signal
import socket
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from preheat.guard.memory_snapshot.criu import Criu, machine_identity
from tests.guard.apps import free_port, runs, until
from tests.guard.memory_snapshot.frozen import HOLDER, Frozen, needs_criu

pytestmark = needs_criu
MADE, NOT_USED, NONE = "memory snapshot made", "memory snapshot not used", "no memory snapshot"


@pytest.fixture
def frozen(tmp_path: Path) -> Frozen:
    return Frozen(tmp_path)


def made(frozen: Frozen) -> dict[str, Any]:
    """Start the app once, so that it has a snapshot; return its last answer before it."""
    with frozen.start() as app:
        assert app.was_told(MADE), app.notices()
        return app.ask()


def test_a_restored_app_has_its_memory_threads_child_and_descriptors(frozen: Frozen) -> None:
    before = made(frozen)
    with frozen.start() as app:
        assert app.was_told("restored from memory"), app.notices()
        (frozen.watched / "new").touch()
        after = app.ask()
    assert after["started"] == before["started"]
    assert {name: after[name] for name in ("ticks", "epoll", "inotify", "weights")} == {
        "ticks": True, "epoll": True, "inotify": True, "weights": "good",
    }  # fmt: skip
    assert after["child"] == after["count"], "the child counts in shared memory"


@pytest.mark.slow
def test_one_snapshot_is_restored_again_and_again(frozen: Frozen) -> None:
    before = made(frozen)
    answers = []
    for _ in range(5):
        with frozen.start() as app:
            answers.append(app.ask())
            assert not [words for words in app.notices() if NOT_USED in words]
    assert {answer["started"] for answer in answers} == {before["started"]}
    assert len({answer["count"] for answer in answers}) == 1, "each begins from the same memory"


@pytest.mark.slow
def test_a_crashed_app_is_restored(frozen: Frozen) -> None:
    before = made(frozen)
    with frozen.start() as app:
        os.kill(app.pids()[0], signal.SIGKILL)
        assert until(lambda: len(app.pids()) == 2 and len([1 for words in app.notices() if "restored" in words]) == 2)
        assert app.ask()["started"] == before["started"]


@pytest.mark.slow
def test_a_front_holds_the_public_port_of_a_restored_app(frozen: Frozen) -> None:
    address = f"127.0.0.1:{free_port()}"
    with frozen.start(front=address) as app:
        assert app.was_told(MADE), app.notices()
        before = app.ask()
    with frozen.start(front=address) as app:
        assert app.was_told("restored from memory"), app.notices()
        assert app.ask()["started"] == before["started"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda frozen: frozen.weights.write_bytes(b"new!" + bytes(1 << 20)), id="a mapped file"),
        pytest.param(lambda frozen: _replace(frozen.weights), id="another file with the same bytes"),
        pytest.param(lambda frozen: frozen.program.write_text(HOLDER + "# changed\n"), id="the app's code"),
        pytest.param(lambda frozen: (frozen.program.parent / "config.yaml").write_text("a: 1"), id="its settings"),
        pytest.param(lambda frozen: setattr(frozen, "identity", "two"), id="what it is started with"),
        pytest.param(lambda frozen: _alter(frozen, "pages-1.img"), id="a byte of the dump"),
        pytest.param(lambda frozen: _cut(frozen, "pages-1.img"), id="the end of the dump"),
        pytest.param(lambda frozen: (frozen.kept()[0] / "manifest.json").write_text("{"), id="the manifest"),
        pytest.param(lambda frozen: (frozen.kept()[0] / "core-1.img").touch(), id="a file added"),
        pytest.param(lambda frozen: (frozen.kept()[0] / "pages-1.img").chmod(0o644), id="readable by others"),
        pytest.param(lambda frozen: os.chown(frozen.kept()[0], 12345, 0), id="another owner"),
    ],
)
def test_after_a_change_the_app_is_started_and_a_new_snapshot_made(frozen: Frozen, change) -> None:  # type: ignore[no-untyped-def]
    before = made(frozen)
    change(frozen)
    with frozen.start() as app:
        assert app.ask()["started"] != before["started"]
        assert app.was_told(MADE), app.notices()
        assert len(frozen.kept()) == 1
    if frozen.identity == "one":
        assert any(NOT_USED in words for words in app.notices())


def _replace(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


def _alter(frozen: Frozen, name: str) -> None:
    path = frozen.kept()[0] / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut(frozen: Frozen, name: str) -> None:
    path = frozen.kept()[0] / name
    os.truncate(path, path.stat().st_size - 4096)


@pytest.mark.slow
def test_a_snapshot_is_made_only_after_the_first_use_succeeded(frozen: Frozen) -> None:
    frozen.first = "exec:false"
    with frozen.start() as app:
        assert app.was_told("its first use failed")
    assert frozen.kept() == []


@pytest.mark.slow
def test_a_restored_app_whose_first_use_fails_is_started(frozen: Frozen, tmp_path: Path) -> None:
    works = tmp_path / "works"
    works.touch()
    frozen.first = f"exec:test -e {works}"
    before = made(frozen)
    works.unlink()
    with frozen.start() as app:
        assert app.was_told("its first use failed")
        assert app.ask()["started"] != before["started"]


@pytest.mark.slow
def test_a_taken_port_stops_the_start_and_keeps_the_snapshot(frozen: Frozen) -> None:
    made(frozen)
    taken = socket.create_server(("127.0.0.1", frozen.port))
    with taken, pytest.raises(AssertionError, match="is taken by"), frozen.start():
        pass
    assert len(frozen.kept()) == 1


def test_what_stands_against_a_snapshot_is_said_and_the_app_goes_on(tmp_path: Path) -> None:
    detached = HOLDER.replace(
        'print("serves"',
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(60)\n    os._exit(0)\nos.wait()\n"
        'print("serves"',
    )
    frozen = Frozen(tmp_path, detached)
    with frozen.start() as app:
        assert app.was_told("has detached itself"), app.notices()
        assert app.ask()["ticks"]
    assert frozen.kept() == []


@pytest.mark.slow
def test_a_dump_that_is_killed_leaves_nothing_and_the_app_goes_on(frozen: Frozen, tmp_path: Path) -> None:
    dying = tmp_path / "dying-criu"
    dying.write_text(
        f'#!/bin/sh\n[ "$1" = dump ] || exec {frozen.criu} "$@"\n{frozen.criu} "$@" & sleep 0.05; kill -9 $!; exit 1\n'
    )
    dying.chmod(0o755)
    frozen.criu = str(dying)
    with frozen.start() as app:
        assert app.was_told(NONE), app.notices()
        assert app.ask()["ticks"]
    assert frozen.kept() == []


@pytest.mark.slow
def test_a_restore_that_fails_is_followed_by_a_start(frozen: Frozen, tmp_path: Path) -> None:
    before = made(frozen)
    failing = tmp_path / "failing-criu"
    failing.write_text(f'#!/bin/sh\n[ "$1" = restore ] && exit 1\nexec {frozen.criu} "$@"\n')
    failing.chmod(0o755)
    frozen.criu = str(failing)
    with frozen.start() as app:
        assert app.was_told("CRIU could not restore it"), app.notices()
        assert app.ask()["started"] != before["started"]


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_and_the_app_goes_on(frozen: Frozen, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(small)], check=True)
    try:
        frozen.snapshots = small / "app"
        with frozen.start() as app:
            assert app.was_told("MiB free"), app.notices()
            assert app.ask()["ticks"]
        assert frozen.kept() == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


REFUSED = {
    "it uses io_uring": (
        "ring = ctypes.CDLL(None).syscall(425, 4, ctypes.create_string_buffer(120))\n"  # io_uring_setup(2)
        "assert ring > 0, 'no io_uring'\n",
        "no memory snapshot: CRIU: ",
    ),
    "it holds a GPU": ("gpu = open('{gpu}', 'rb')\n", "the app uses a GPU"),
    "it has mapped a GPU": (
        "with open('{gpu}', 'r+b') as file: gpu = mmap.mmap(file.fileno(), 4096, mmap.MAP_PRIVATE)\n",
        "the app uses a GPU",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("why", REFUSED)
def test_an_app_that_cannot_be_saved_is_named_and_runs_on(tmp_path: Path, why: str) -> None:
    code, told = REFUSED[why]
    gpu = f"/dev/nvidia-preheat-{os.getpid()}"
    if "{gpu}" in code:
        try:
            os.mknod(gpu, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # a device that reads zeros stands for the GPU
        except OSError as error:
            pytest.skip(f"no device node can be made here: {error}")
    try:
        begins = 'print("serves"'
        frozen = Frozen(tmp_path, HOLDER.replace(begins, code.replace("{gpu}", gpu) + begins))
        with frozen.start() as app:
            assert app.was_told(told), app.notices()
            assert app.ask()["ticks"]
        assert frozen.kept() == []
    finally:
        Path(gpu).unlink(missing_ok=True)


@pytest.mark.slow
def test_an_app_that_forks_all_the_time_is_saved_or_runs_on(tmp_path: Path) -> None:
    forks = (
        "def fork():\n    while True:\n"
        "        if (child := os.fork()) == 0: os._exit(0)\n        os.waitpid(child, 0)\n"
        "threading.Thread(target=fork, daemon=True).start()\n"
    )
    begins = 'print("serves"'
    frozen = Frozen(tmp_path, HOLDER.replace(begins, forks + begins))
    for _ in range(3):
        with frozen.start() as app:
            assert until(lambda: bool(app.notices()), 20)
            assert app.ask()["ticks"]
    assert [path for path in frozen.kept() if ".new-" in path.name] == []


@pytest.mark.slow
def test_one_snapshot_restored_by_two_guards_at_once_gives_two_apps(frozen: Frozen) -> None:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    with frozen.start(front=addresses[0]) as app:
        assert app.was_told(MADE), app.notices()
        before = app.ask()
    with frozen.start(front=addresses[1]) as one, frozen.start(front=addresses[2]) as other:
        assert one.was_told("restored from memory"), one.notices()
        assert other.was_told("is taken by"), other.notices()  # the first one has the port
        for _ in range(10):
            assert one.ask()["started"] == before["started"] != other.ask()["started"]
    assert len(frozen.kept()) == 1


@pytest.mark.slow
def test_an_open_connection_to_another_machine_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network")
        host = probe.getsockname()[0]
    with socket.create_server((host, 0)) as server:
        address = server.getsockname()
        begins = 'print("serves"'
        frozen = Frozen(tmp_path, HOLDER.replace(begins, f"outside = socket.create_connection({address})\n{begins}"))
        with frozen.start() as app:
            assert app.was_told(f"the app holds a connection to {address[0]}:{address[1]}", 40), app.notices()
            assert app.ask()["ticks"]
    assert frozen.kept() == []


def test_another_kernel_or_processor_is_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    criu = Criu("/criu", "4.2")
    here, kernel = machine_identity(criu), os.uname()
    assert machine_identity(Criu("/other/criu", "4.2")) == here
    assert machine_identity(Criu("/criu", "4.3")) != here
    later = os.uname_result((*kernel[:2], f"{kernel.release}-later", *kernel[3:]))
    monkeypatch.setattr(os, "uname", lambda: later)
    assert machine_identity(criu) != here


def test_no_criu_is_said_once_and_the_app_is_started(frozen: Frozen, tmp_path: Path) -> None:
    frozen.criu = str(tmp_path / "nowhere")
    with frozen.start() as app:
        assert app.was_told("no memory snapshots")
        assert app.ask()["count"]


@pytest.mark.slow
def test_an_idle_app_is_ended_and_the_next_client_waits_for_it(frozen: Frozen) -> None:
    frozen.idle_after_s = 3.0
    with frozen.start(front=f"127.0.0.1:{free_port()}") as app:
        assert app.was_told(MADE), app.notices()
        before = app.ask()
        for nap in range(1, 4):
            assert until(lambda: app.lives().count("idle") == nap, 20), app.events  # noqa: B023 - asked at once
            assert not [pid for pid in app.pids() if runs(pid)], app.events
            after = app.ask()
            assert after["started"] == before["started"]
            assert after["count"] > before["count"], "what clients did before is remembered"
            before = after


@pytest.mark.slow
def test_an_app_with_an_open_connection_is_not_idle(frozen: Frozen) -> None:
    frozen.idle_after_s = 0.5
    port = free_port()
    with frozen.start(front=f"127.0.0.1:{port}") as app, socket.create_connection(("127.0.0.1", port)) as client:
        assert app.was_told(MADE), app.notices()
        assert not until(lambda: "idle" in app.lives(), 3)
        client.close()
        assert until(lambda: "idle" in app.lives(), 20), app.events


@pytest.mark.slow
def test_many_clients_wake_an_idle_app_once(frozen: Frozen) -> None:
    frozen.idle_after_s = 3.0
    with frozen.start(front=f"127.0.0.1:{free_port()}") as app:
        assert app.was_told(MADE), app.notices()
        assert until(lambda: "idle" in app.lives(), 20), app.events
        with ThreadPoolExecutor(20) as clients:
            answers = list(clients.map(lambda _: app.ask(), range(20)))
        assert len({answer["started"] for answer in answers}) == 1
        assert len(app.pids()) == 2
