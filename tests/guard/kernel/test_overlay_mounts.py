"""Overlay mounts: what is mounted below a covered folder stays usable, by the program inside and by others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from preheat.guard.kernel.namespaces import MOUNTS, unshare

# A system whose mounts are shared, as systemd makes them; a disk is mounted below HOME, and a program runs on overlays.
SYSTEM = """
import os, subprocess, sys
from preheat.guard.kernel import namespaces, overlay_mounts
top, private, shared = sys.argv[1], 1 << 18, 1 << 20
home, disk, layers = f"{top}/home", f"{top}/home/disk", f"{top}/layers"
namespaces.unshare(namespaces.MOUNTS)
namespaces.mount("none", "/", namespaces.RECURSIVE | private)
namespaces.mount("system", top, 0, "tmpfs")
namespaces.mount("none", top, shared)
for folder in (home, disk):
    os.mkdir(folder)
namespaces.mount("disk", disk, 0, "tmpfs")
open(f"{disk}/file", "w").close()
ready, its = os.pipe()
go, ours = os.pipe()
child = os.fork()
if child == 0:
    status = 1
    try:
        overlay_mounts.enter(user=False)
        mounts = overlay_mounts.OverlayMounts([home], [])
        for turn in ("0", "1"):
            mounts.make(f"{layers}/{turn}")
            mounts.lay(f"{layers}/{turn}")
            assert os.listdir(disk) == ["file"]
        os.write(its, b"x")
        os.read(go, 1)
        mounts.make(f"{layers}/2")
        mounts.lay(f"{layers}/2")
        assert os.listdir(home) == ["disk"] and os.listdir(disk) == []
        status = 0
    finally:
        os._exit(status)
os.close(its)
os.read(ready, 1)
said = subprocess.run(["umount", disk], capture_output=True, text=True).stderr
os.write(ours, b"x")
_, ended = os.waitpid(child, 0)
sys.exit(said or ended)
"""


def may_mount() -> bool:
    if os.geteuid() != 0:
        return False
    child = os.fork()
    if child == 0:
        try:
            unshare(MOUNTS)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not may_mount(), reason="root may not mount here")
def test_others_can_unmount_a_disk_below_a_covered_folder(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", SYSTEM, tmp_path], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
