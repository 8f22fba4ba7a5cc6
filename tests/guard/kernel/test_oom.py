"""Out-of-memory kills are distinguished from other deaths by the kernel's counters."""

import os
import re
from pathlib import Path

import pytest

from preheat.guard.kernel.free_memory import free_memory
from preheat.guard.kernel.oom import OomKills, memory_cgroup, oom_kills
from preheat.guard.process.process import Output
from preheat.guard.supervise.instance import Instance
from tests.guard.apps import SILENT, python

V1 = Path("/sys/fs/cgroup/memory")


def machine(root: Path, cgroup: str, mountinfo: str, files: dict[str, str]) -> str:
    """Write the /proc and /sys files of a machine below `root`."""
    for name, text in {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


def test_cgroup_version_2_is_read_in_a_container_of_its_own(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/\n",
        "30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n",
        {
            "sys/fs/cgroup/memory.events": "low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 0\n",
            "sys/fs/cgroup/memory.max": "512000000\n",
            "sys/fs/cgroup/memory.current": "400000000\n",
            "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 100000000\n",
            "proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n",
            "proc/vmstat": "nr_free 1\noom_kill 8\n",
        },
    )
    assert oom_kills("self", root) == OomKills(in_cgroup=3, on_machine=8, limit=512_000_000)
    assert free_memory(root) == 212_000_000


def test_cgroup_version_2_is_read_below_a_service_and_without_a_limit(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/system.slice/app.service"
    root = machine(
        tmp_path,
        "0::/system.slice/app.service\n",
        "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
        {
            f"{folder}/memory.events": "oom_kill 0\n",
            f"{folder}/memory.max": "max\n",
            f"{folder}/memory.current": "1\n",
            "proc/meminfo": "MemAvailable: 8000 kB\n",
        },
    )
    assert oom_kills("self", root) == OomKills()
    assert free_memory(root) == 8_192_000


def test_cgroup_version_1_is_read_if_only_the_containers_part_is_mounted(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n",
        "30 23 0:26 / /sys/fs/cgroup/unified ro - cgroup2 cgroup rw\n"
        "31 23 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
        {
            "sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert memory_cgroup("self", root) == (str(tmp_path / "sys/fs/cgroup/memory"), 1)
    assert oom_kills("self", root) == OomKills(in_cgroup=2)


def test_a_machine_without_counters_counts_nothing(tmp_path: Path) -> None:
    assert oom_kills("self", str(tmp_path)) == OomKills()
    assert free_memory(str(tmp_path)) == 0


def test_only_kills_since_the_first_count_are_reported() -> None:
    before = OomKills(in_cgroup=1, on_machine=4)
    assert not before.since(before)
    assert "memory cgroup (limit 64 MB)" in OomKills(2, 5, 64_000_000).since(before)
    assert "on this machine" in OomKills(1, 5).since(before)


def test_an_out_of_memory_kill_is_distinguished_from_another_death(tmp_path: Path) -> None:
    group = V1 / f"preheat-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text("60000000")
    except OSError:
        pytest.skip("no memory cgroup can be made here")
    try:
        inside = f"open('{group}/cgroup.procs', 'w').write(str(__import__('os').getpid()))\n"
        # The supervisor must see the same cgroup, as in a container.
        guard = f"""
{inside}
import sys
from preheat.guard.model.app import App
from preheat.guard.supervise.instance import Instance
from preheat.guard.process.process import Output
app = App((sys.executable, "-I", "-S", "-c", "x = b'x' * 400_000_000"))
instance = Instance(app, None, output=Output(None, None), witness=None, ring=lambda: None)
instance.process.wait(20)
look = instance.look()
instance.end(1, lambda: False)
print(look.status, look.cause)
"""
        done = Instance(
            python("import sys; sys.path.insert(0, 'src')\n" + guard, cwd=str(Path(__file__).parents[3])),
            None,
            output=Output(None, None),
            witness=None,
            ring=lambda: None,
        )
        assert done.process.wait(30)
        done.end(1, lambda: False)
        said = done.tail()[-1]
        assert re.fullmatch(
            r"-9 out of memory: the kernel killed a process in its memory cgroup \(limit 60 MB\)", said
        ), done.tail()
    finally:
        group.rmdir()


def test_a_plain_kill_is_not_reported_as_out_of_memory() -> None:
    app = python("import os; os.kill(os.getpid(), 9)")
    instance = Instance(app, None, output=SILENT, witness=None, ring=lambda: None)
    instance.process.wait(10)
    look = instance.look()
    instance.end(1, lambda: False)
    assert (look.status, look.cause) == (-9, "")
