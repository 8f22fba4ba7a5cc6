"""Journal: which byte ranges of a partial are written, and which are durable; valid after a crash.

An append-only text file with one entry per line:

    preheat-journal 1 SIZE BOOT      the blob's size, and the boot ID of the machine that wrote the `w` lines
    w START STOP                     written: valid until a reboot, because the page cache outlives the process
    d START STOP                     durable: the bytes were on disk before this line was written

After `kill -9` both kinds are valid; after a power cut, only `d`. A truncated line is ignored.
"""

import contextlib
import functools
import os
import re
import threading
from pathlib import Path
from typing import Self

from preheat.library.blobs.ranges import ByteRange, merge
from preheat.library.blobs.shared_descriptor import Closed, SharedDescriptor
from preheat.library.small_files import read_small

_MAGIC = "preheat-journal 1"
_NUMBER = re.compile(r"[0-9]{1,20}")


class Journal:
    """The open journal of one partial. `wrote` and `close` are thread-safe; call all else from one thread at a time.

    `_turn` guards `_descriptor` and `_closed`; it is held while a new journal replaces the old one.
    """

    def __init__(self, path: Path, size: int, boot: str) -> None:
        self.path = path
        self._size = size
        self._boot = boot
        self._durable: list[ByteRange] = []
        self._written: list[ByteRange] = []
        self._descriptor: SharedDescriptor | None = None
        self._turn = threading.Lock()
        self._closed = False

    @classmethod
    def read(cls, path: Path, size: int, boot: str) -> Self:
        """Read the journal at `path`; empty if it is missing, unreadable, or of another blob size or format."""
        journal = cls(path, size, boot)
        try:
            lines = read_small(path).decode("ascii", "replace").split("\n")[:-1]
        except OSError:
            return journal  # the download then starts from the beginning
        header = lines[0].rsplit(" ", 1) if lines else [""]
        if header[0] == f"{_MAGIC} {size}":
            same_boot = header[-1] == boot
            for line in lines[1:]:
                entry = _entry(line, size)
                if entry is not None and entry[0] == "d":
                    journal._durable.append(entry[1])
                elif entry is not None and same_boot:
                    journal._written.append(entry[1])
        return journal

    @property
    def ranges(self) -> list[ByteRange]:
        """Return the ranges that are written, durable or not."""
        return merge([*self._durable, *self._written])

    def wrote(self, written: ByteRange) -> None:
        """Record a range that was written to the page cache."""
        self._append([f"w {written.start} {written.stop}"])
        self._written.append(written)

    def undurable(self) -> list[ByteRange]:
        """Return the ranges that may not be durable yet; pass them to `synced` after an fsync."""
        written, self._written = self._written, []
        taken = merge(written)
        self._durable += taken  # keeps them in `ranges`; `synced` writes their `d` lines
        return taken

    def synced(self, ranges: list[ByteRange]) -> None:
        """Record ranges as durable; call `flush` to make the record itself durable."""
        self._append([f"d {start} {stop}" for start, stop in ranges])

    def flush(self) -> None:
        """Sync the journal to disk."""
        with contextlib.suppress(Closed):
            if self._descriptor is not None:
                with self._descriptor as number:
                    os.fdatasync(number)

    def only(self, ranges: list[ByteRange]) -> None:
        """Replace the journal by one with only `ranges`, as written but not durable, after bytes turned out wrong."""
        with self._turn:
            self._durable, self._written = [], list(ranges)
            before, self._descriptor = self._descriptor, None if self._closed else self._begin()
        if before is not None:
            before.close()  # closed after the last thread that is writing to it

    def remove(self) -> None:
        """Close the journal and delete its file."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the journal: ignore later calls, and keep the file."""
        with self._turn:
            self._closed = True
            if self._descriptor is not None:
                self._descriptor.close()

    def _append(self, lines: list[str]) -> None:
        with contextlib.suppress(Closed), self._opened() as number:
            os.write(number, _text(lines))

    def _opened(self) -> SharedDescriptor:
        """Return the journal's file; create it at the first call. Raise Closed after `close`."""
        descriptor = self._descriptor
        if descriptor is None:
            with self._turn:
                if self._closed:
                    raise Closed
                descriptor = self._descriptor = self._descriptor or self._begin()
        return descriptor

    def _begin(self) -> SharedDescriptor:
        """Write all known ranges to a new journal, and atomically replace the old one."""
        known = [f"d {start} {stop}" for start, stop in merge(self._durable)]
        known += [f"w {start} {stop}" for start, stop in merge(self._written)]
        aside = self.path.with_suffix(".journal.new")
        # O_EXCL after unlink: replaces what a crash left behind, and never follows another user's symlink.
        aside.unlink(missing_ok=True)
        number = os.open(aside, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        descriptor = SharedDescriptor(number)
        os.write(number, _text([f"{_MAGIC} {self._size} {self._boot}", *known]))
        os.fdatasync(number)
        aside.rename(self.path)
        return descriptor


def _text(lines: list[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode("ascii")


@functools.cache
def boot_id() -> str:
    """Return the boot ID of this machine, see random(4); a random ID if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return os.urandom(16).hex()


def _entry(line: str, size: int) -> tuple[str, ByteRange] | None:
    match line.split(" "):
        case [("w" | "d") as kind, start, stop] if _NUMBER.fullmatch(start) and _NUMBER.fullmatch(stop):
            entry = ByteRange(int(start), int(stop))
            return (kind, entry) if entry.start < entry.stop <= size else None
        case _:
            return None
