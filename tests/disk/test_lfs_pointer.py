"""A pointer of git-lfs is told from a file that looks like one."""

from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.disk.lfs_pointer import LfsPointer, read_pointer

HEX = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{HEX}\nsize 12345\n".encode()


def test_a_pointer_has_the_digest_and_size_of_its_file() -> None:
    pointer = read_pointer(POINTER)
    assert pointer == LfsPointer(sha256(HEX), 12345)
    assert pointer.object_below(Path("/clone")) == Path(f"/clone/.git/lfs/objects/4d/7a/{HEX}")
    extended = POINTER.replace(b"oid", b"ext-0-foo sha256:00\noid")
    assert read_pointer(extended) == pointer


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", POINTER[1:], POINTER.replace(b"sha256", b"sha1"), POINTER.replace(b"12345", b"x")],
)  # fmt: skip
def test_other_files_are_none(body: bytes) -> None:
    assert read_pointer(body) is None
