"""Saved memory is used only where no other user can put another dump in its place."""

import fcntl
import os
from pathlib import Path

import pytest

from preheat.guard.memory_snapshot.intact import Unusable, require_unshared
from preheat.guard.memory_snapshot.memory_snapshots import MemoryPolicy, MemorySnapshots
from preheat.guard.memory_snapshot.saved_memory import (
    SavedMemory,
    list_leftovers,
    publish,
    read_manifest,
    read_saved,
)


@pytest.mark.parametrize("mode", [0o777, 0o707])
def test_a_dump_that_others_could_exchange_is_not_read(tmp_path: Path, mode: int) -> None:
    saved = tmp_path / "library" / "app" / "key"
    saved.mkdir(parents=True, mode=0o700)
    saved.chmod(0o700)
    (tmp_path / "library").chmod(mode)
    with pytest.raises(Unusable, match=f"another user could change {tmp_path / 'library'}:"):
        read_saved(str(saved), "")
    (tmp_path / "library").chmod(mode | 0o1000)  # the sticky bit of /tmp
    require_unshared(str(saved.parent))


@pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")
def test_a_dump_in_another_users_folder_is_not_read(tmp_path: Path) -> None:
    saved = tmp_path / "theirs" / "app" / "key"
    saved.mkdir(parents=True)
    saved.chmod(0o700)
    os.chown(saved.parent.parent, 65534, 65534)
    with pytest.raises(Unusable, match="another user could change"):
        read_saved(str(saved), "")


def test_a_manifest_above_its_limit_is_not_read(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    saved = publish(SavedMemory(str(tmp_path / "key"), "key", 1, [], 0, 1.0, 1, 1.0), str(made))
    assert read_manifest(saved.folder) == saved
    manifest = Path(saved.folder, "manifest.json")
    text = manifest.read_bytes()
    manifest.write_bytes(text.ljust(16 << 20))
    assert read_manifest(saved.folder) == saved
    manifest.write_bytes(text.ljust((16 << 20) + 1))
    with pytest.raises(Unusable, match="cannot be read"):
        read_manifest(saved.folder)


def test_leftovers_are_listed_although_one_vanishes(tmp_path: Path) -> None:
    (tmp_path / "app" / "key.new-999999999").mkdir(parents=True)
    (tmp_path / "app" / "key.new-999999999" / "pages").write_bytes(b"12345")
    (tmp_path / "app" / "other.removed-999999999").symlink_to("gone")
    assert list_leftovers(str(tmp_path)) == [(str(tmp_path / "app" / "key.new-999999999"), 5)]


def test_a_symlink_leads_to_no_leftovers(tmp_path: Path) -> None:
    (tmp_path / "work/build.new-999999999").mkdir(parents=True)
    (tmp_path / "library/app").mkdir(parents=True)
    (tmp_path / "library/work").symlink_to(tmp_path / "work")
    (tmp_path / "library/app/key.new-999999999").symlink_to(tmp_path / "work")
    assert list_leftovers(str(tmp_path / "library")) == []


@pytest.mark.timeout(20)
def test_a_guard_that_hangs_does_not_hold_up_another(tmp_path: Path) -> None:
    snapshots = object.__new__(MemorySnapshots)  # without CRIU
    snapshots.policy = MemoryPolicy(str(tmp_path), "")
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with snapshots.alone(within_s=0.1):
        pass
    os.close(other)
    other = os.open(tmp_path, os.O_RDONLY)
    with snapshots.alone(within_s=0.1), pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
