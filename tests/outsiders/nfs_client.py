"""NFS client: mounts an export by FUSE, for kernels without one of their own. Usage: nfs_client.py URL FOLDER.

libnfs by ctypes, NFSv3, one context under one lock. There is no flock across machines, as on many a share: each mount's
locks are its own. Runs in an environment of its own, which has mfusepy.
"""

# mypy: ignore-errors
# mfusepy is in an environment of its own, and has no types.

import ctypes
import sys
import threading
from typing import Any

import mfusepy

LIBNFS = ctypes.CDLL("libnfs.so.13")
POINTER, NUMBER, TEXT, LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint64
CALLS: dict[str, tuple[list[Any], Any]] = {
    "nfs_init_context": ([], POINTER),
    "nfs_parse_url_dir": ([POINTER, TEXT], POINTER),
    "nfs_mount": ([POINTER, TEXT, TEXT], NUMBER),
    "nfs_get_error": ([POINTER], TEXT),
    "nfs_lstat64": ([POINTER, TEXT, POINTER], NUMBER),
    "nfs_statvfs": ([POINTER, TEXT, POINTER], NUMBER),
    "nfs_open": ([POINTER, TEXT, NUMBER, POINTER], NUMBER),
    "nfs_creat": ([POINTER, TEXT, NUMBER, POINTER], NUMBER),
    "nfs_close": ([POINTER, POINTER], NUMBER),
    "nfs_pread": ([POINTER, POINTER, LONG, LONG, POINTER], NUMBER),
    "nfs_pwrite": ([POINTER, POINTER, LONG, LONG, POINTER], NUMBER),
    "nfs_fsync": ([POINTER, POINTER], NUMBER),
    "nfs_truncate": ([POINTER, TEXT, LONG], NUMBER),
    "nfs_chmod": ([POINTER, TEXT, NUMBER], NUMBER),
    "nfs_utimes": ([POINTER, TEXT, POINTER], NUMBER),
    "nfs_rename": ([POINTER, TEXT, TEXT], NUMBER),
    "nfs_link": ([POINTER, TEXT, TEXT], NUMBER),
    "nfs_symlink": ([POINTER, TEXT, TEXT], NUMBER),
    "nfs_readlink": ([POINTER, TEXT, TEXT, NUMBER], NUMBER),
    "nfs_unlink": ([POINTER, TEXT], NUMBER),
    "nfs_mkdir": ([POINTER, TEXT], NUMBER),
    "nfs_rmdir": ([POINTER, TEXT], NUMBER),
    "nfs_opendir": ([POINTER, TEXT, POINTER], NUMBER),
    "nfs_readdir": ([POINTER, POINTER], POINTER),
    "nfs_closedir": ([POINTER, POINTER], None),
}
for _name, (_arguments, _result) in CALLS.items():
    getattr(LIBNFS, _name).argtypes, getattr(LIBNFS, _name).restype = _arguments, _result


def _longs(names: str) -> list[tuple[str, Any]]:
    return [(name, LONG) for name in names.split()]


class Status(ctypes.Structure):
    """struct nfs_stat_64"""

    _fields_ = _longs(
        "dev ino mode nlink uid gid rdev size blksize blocks atime mtime ctime atime_ns mtime_ns ctime_ns used"
    )


class Space(ctypes.Structure):
    """struct statvfs of x86-64 and arm64"""

    _fields_ = [
        *_longs("bsize frsize blocks bfree bavail files ffree favail fsid flag namemax"),
        ("spare", NUMBER * 6),
    ]


class Address(ctypes.Structure):
    """struct nfs_url"""

    _fields_ = [("server", TEXT), ("path", TEXT), ("file", TEXT)]


class Entry(ctypes.Structure):
    """struct nfsdirent, its front"""

    _fields_ = [("next", POINTER), ("name", TEXT), ("inode", LONG)]


class Client(mfusepy.Operations):
    """Each operation is libnfs's own."""

    use_ns = True

    def __init__(self, url: str) -> None:
        self.context = LIBNFS.nfs_init_context()
        self.turn = threading.Lock()
        address = Address.from_address(LIBNFS.nfs_parse_url_dir(self.context, url.encode()))
        if LIBNFS.nfs_mount(self.context, address.server, address.path):
            sys.exit(LIBNFS.nfs_get_error(self.context).decode())

    def call(self, name: str, *arguments: Any) -> Any:
        with self.turn:
            result = getattr(LIBNFS, name)(self.context, *arguments)
        if isinstance(result, int) and result < 0 and CALLS[name][1] is NUMBER:
            raise mfusepy.FuseOSError(-result)
        return result

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        status = Status()
        self.call("nfs_lstat64", path.encode(), ctypes.byref(status))
        told = {f"st_{name}": getattr(status, name) for name in ("mode", "nlink", "uid", "gid", "size", "ino")}
        times = {
            f"st_{name}": getattr(status, name) * 10**9 + getattr(status, f"{name}_ns")
            for name in ("atime", "mtime", "ctime")
        }
        return told | times | {"st_blocks": status.used // 512}

    def statfs(self, path: str) -> dict[str, int]:
        space = Space()
        self.call("nfs_statvfs", path.encode(), ctypes.byref(space))
        return {f"f_{name}": getattr(space, name) for name, _ in Space._fields_ if name not in ("spare", "fsid")}

    def readdir(self, path: str, fh: int) -> list[tuple[str, dict[str, int], int]]:
        folder = POINTER()
        self.call("nfs_opendir", path.encode(), ctypes.byref(folder))
        names = []
        while entry := self.call("nfs_readdir", folder):
            told = Entry.from_address(entry)
            names.append((told.name.decode(), {"st_ino": told.inode}, 0))
        self.call("nfs_closedir", folder)
        return names

    def open(self, path: str, flags: int) -> int:
        handle = POINTER()
        self.call("nfs_open", path.encode(), flags & 3, ctypes.byref(handle))
        return handle.value or 0

    def create(self, path: str, mode: int, fi: object = None) -> int:
        handle = POINTER()
        self.call("nfs_creat", path.encode(), mode, ctypes.byref(handle))
        return handle.value or 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        buffer = ctypes.create_string_buffer(size)
        count = self.call("nfs_pread", fh, offset, size, buffer)
        return buffer.raw[:count]

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return int(self.call("nfs_pwrite", fh, offset, len(data), ctypes.c_char_p(bytes(data))))

    def release(self, path: str, fh: int) -> None:
        self.call("nfs_close", fh)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        self.call("nfs_fsync", fh)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        self.call("nfs_truncate", path.encode(), length)

    def chmod(self, path: str, mode: int) -> None:
        self.call("nfs_chmod", path.encode(), mode & 0o7777)

    def utimens(self, path: str, times: Any = None) -> None:
        self.call("nfs_utimes", path.encode(), None)

    def rename(self, old: str, new: str) -> None:
        self.call("nfs_rename", old.encode(), new.encode())

    def link(self, target: str, source: str) -> None:
        self.call("nfs_link", source.encode(), target.encode())

    def symlink(self, target: str, source: str) -> None:
        self.call("nfs_symlink", source.encode(), target.encode())

    def readlink(self, path: str) -> str:
        buffer = ctypes.create_string_buffer(4096)
        self.call("nfs_readlink", path.encode(), buffer, 4096)
        return buffer.value.decode()

    def unlink(self, path: str) -> None:
        self.call("nfs_unlink", path.encode())

    def mkdir(self, path: str, mode: int) -> None:
        self.call("nfs_mkdir", path.encode())

    def rmdir(self, path: str) -> None:
        self.call("nfs_rmdir", path.encode())


if __name__ == "__main__":
    mfusepy.FUSE(Client(sys.argv[1]), sys.argv[2], foreground=True, use_ino=True)
