"""Readers of files: nobody is said to be among them whom the kernel keeps out."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.disk.readers import Readers, readers, readers_below

USERS = (st.none() | st.frozensets(st.integers(0, 3))).map(Readers)


def members(some: Readers, group: int) -> set[int]:
    """Return which of 16 users are readers: each is in the groups whose bits are set in its number."""
    if some.groups is None:
        return set()
    return {user for user in range(16) if all(user >> one & 1 for one in some.groups)} - {group}


@given(USERS, USERS)
def test_readers_are_beyond_others_if_one_of_them_is_not_among_these(some: Readers, others: Readers) -> None:
    assert some.beyond(others) == bool(members(some, -1) - members(others, -1))


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        readers_below.cache_clear()
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
@pytest.mark.parametrize("above", [0o755, 0o711, 0o750, 0o700])
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o600])
@pytest.mark.parametrize("group", [0, 4321])
def test_readers_are_those_whom_the_kernel_lets_read(public: Path, above: int, mode: int, group: int) -> None:
    path = public / "folder/model.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"x")
    for one, bits in ((path.parent, above), (path, mode)):
        os.chown(one, 1234, group)
        one.chmod(bits)

    def can_read(*groups: str) -> bool:
        words = ["setpriv", "--reuid", "4322", "--regid", "4322", *(groups or ("--clear-groups",))]
        return subprocess.run([*words, "cat", path], capture_output=True, check=False).returncode == 0

    found = readers(path, path.stat(), path.stat().st_mode).groups
    assert (found == frozenset()) == can_read()
    if group:
        assert (found is not None) == can_read("--groups", str(group))
