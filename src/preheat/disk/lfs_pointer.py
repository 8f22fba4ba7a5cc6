"""LFS pointer: the small text that git stores instead of a large file, and leaves in a clone without git-lfs.

Format: git-lfs/docs/spec.md, version 1; at most 1024 bytes.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import Digest, sha256

_VERSION = b"version https://git-lfs.github.com/spec/v1\n"
_LONGEST = 1024


@dataclass(frozen=True, slots=True)
class LfsPointer:
    """The digest and size in bytes of the file that a pointer stands for."""

    digest: Digest
    size: int

    def object_below(self, clone: Path) -> Path:
        """Return the path of the file in the objects that git-lfs has downloaded for a clone; it may not exist."""
        name = self.digest.hex
        return clone / ".git" / "lfs" / "objects" / name[:2] / name[2:4] / name


def read_pointer(body: bytes) -> LfsPointer | None:
    """Parse the first bytes of a file; return None if the file is no pointer."""
    if not body.startswith(_VERSION) or len(body) > _LONGEST:
        return None
    oid = re.search(rb"^oid sha256:([0-9a-f]{64})$", body, re.MULTILINE)
    size = re.search(rb"^size (\d{1,18})$", body, re.MULTILINE)
    return LfsPointer(sha256(oid[1].decode()), int(size[1])) if oid and size else None
