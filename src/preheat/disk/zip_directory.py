"""Zip directory: the size of a zip's list of members, which zipfile reads into memory as a whole."""

import io
import struct
from typing import IO

_END, _END_64, _LOCATOR_64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"


def directory_size(file: IO[bytes]) -> int:
    """Return the size of a zip's directory in bytes, as zipfile finds it; 0 if it has none. Leaves `file` at 0."""
    start = max(file.seek(0, io.SEEK_END) - (1 << 16) - 22, 0)
    file.seek(start)
    tail = file.read()
    file.seek(0)
    at = len(tail) - 22 if tail[-22:-18] == _END and tail[-2:] == b"\0\0" else tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        return 0
    found = int(struct.unpack_from("<L", tail, at + 12)[0])
    before = start + at - 56 - 20
    if before >= 0:
        file.seek(before)
        record, locator = file.read(56), file.read(20)
        if record[:4] == _END_64 and locator[:4] == _LOCATOR_64:
            found = int(struct.unpack_from("<Q", record, 40)[0])
    file.seek(0)
    return found
