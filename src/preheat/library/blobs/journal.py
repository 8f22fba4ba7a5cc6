"""Journal: which bytes of a partial are written and which are durable; valid after a crash.

Text, one line an entry, only ever appended to:

    preheat-journal 1 SIZE BOOT      the blob's size, and the boot of the machine that wrote the `w` lines
    w START STOP                     written: true while that boot lasts, since the page cache outlives a process
    d START STOP                     durable: the bytes were on disk before this line was

After `kill -9` both kinds hold; after a power cut, only `d`. A line cut short is no line.
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
    """The open journal of one partial. Any thread may tell what it `wrote`, or close it; all else is for one at a time.

    `_turn` guards `_descriptor` and `_closed`; it is held while a new journal takes the place of the old one.
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
        """Take up the journal at `path`; one of another size, form or nobody's begins empty."""
        journal = cls(path, size, boot)
        try:
            lines = read_small(path).decode("ascii", "replace").split("\n")[:-1]
        except OSError:
            return journal  # what cannot be read says nothing: the file is fetched from its start
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
        """The bytes that are there."""
        return merge([*self._durable, *self._written])

    def wrote(self, written: ByteRange) -> None:
        """Note bytes that the kernel has taken."""
        self._append([f"w {written.start} {written.stop}"])
        self._written.append(written)

    def undurable(self) -> list[ByteRange]:
        """Take out the ranges whose bytes may not be on disk yet, to hand to `synced` when they are."""
        written, self._written = self._written, []
        taken = merge(written)
        self._durable += taken  # they stay counted as there; the line that says so follows in `synced`
        return taken

    def synced(self, ranges: list[ByteRange]) -> None:
        """Note bytes that are on disk; the note itself is there after `flush`."""
        self._append([f"d {start} {stop}" for start, stop in ranges])

    def flush(self) -> None:
        """Wait until what was noted is on disk."""
        with contextlib.suppress(Closed):
            if self._descriptor is not None:
                with self._descriptor as number:
                    os.fdatasync(number)

    def only(self, ranges: list[ByteRange]) -> None:
        """Claim nothing but `ranges` from now on, all of it as merely written: some bytes turned out to be wrong."""
        with self._turn:
            self._durable, self._written = [], list(ranges)
            before, self._descriptor = self._descriptor, None if self._closed else self._begin()
        if before is not None:
            before.close()  # a thread that is writing to it finishes first

    def remove(self) -> None:
        """Forget everything, on disk too."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Ignore what is told from now on; what was told before is kept."""
        with self._turn:
            self._closed = True
            if self._descriptor is not None:
                self._descriptor.close()

    def _append(self, lines: list[str]) -> None:
        with contextlib.suppress(Closed), self._opened() as number:
            os.write(number, _text(lines))

    def _opened(self) -> SharedDescriptor:
        """Return the journal's file, begun now if need be. Raise Closed once there is nothing to tell it."""
        descriptor = self._descriptor
        if descriptor is None:
            with self._turn:
                if self._closed:
                    raise Closed
                descriptor = self._descriptor = self._descriptor or self._begin()
        return descriptor

    def _begin(self) -> SharedDescriptor:
        """Write what is known into a new journal, and put it in the old one's place in one step."""
        known = [f"d {start} {stop}" for start, stop in merge(self._durable)]
        known += [f"w {start} {stop}" for start, stop in merge(self._written)]
        aside = self.path.with_suffix(".journal.new")
        # Made anew: what a crash has left goes, and a symlink of another user's is not followed.
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
    """Name this boot of this machine, so that another one can tell. Linux's random(4), else always new."""
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
