"""Birth time: when a file was created (statx(2)), which os.stat does not report on Linux."""

import ctypes
import os
import struct

_AT_FDCWD, _NO_FOLLOW, _BIRTH = -100, 0x100, 0x800  # AT_FDCWD, AT_SYMLINK_NOFOLLOW, STATX_BTIME of linux/stat.h
_SIZE, _MASK_AT, _BIRTH_AT = 256, 0, 0x50  # of struct statx: its size, and the offsets of stx_mask and stx_btime


def birth_time(path: str) -> float | None:
    """Return the time when a file was created, as time.time(); None if the system or filesystem does not record it."""
    statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    buffer = ctypes.create_string_buffer(_SIZE)
    if statx is None or statx(_AT_FDCWD, os.fsencode(path), _NO_FOLLOW, _BIRTH, buffer):
        return None
    if not struct.unpack_from("=I", buffer, _MASK_AT)[0] & _BIRTH:
        return None
    seconds, nanoseconds = map(float, struct.unpack_from("=qI", buffer, _BIRTH_AT))
    return seconds + nanoseconds / 1e9
