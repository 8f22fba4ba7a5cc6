"""Tar: write the headers of a layer's tar reproducibly. Format: docs/adr/0012-layer-format.md.

POSIX.1-2001 pax interchange format (pax(1), "ustar Interchange Format" and "pax Header Block"). The output does not
depend on the clock, the user or the umask.
"""

from collections.abc import Mapping
from dataclasses import dataclass

BLOCK = 512
PAGE = 4096
END = bytes(2 * BLOCK)
FILE, FOLDER, LINK = "0", "5", "2"
_MODES = {FILE: 0o444, FOLDER: 0o755, LINK: 0o777}
_LARGEST_OCTAL = 8**11 - 1
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Header:
    """One entry: path without leading or trailing `/`, kind, and the target of a link.

    Executable files have mode 0555 instead of 0444.
    """

    path: str
    kind: str = FILE
    size: int = 0
    target: str = ""
    executable: bool = False


def header(entry: Header, at: int = 0, *, aligned: bool = False) -> bytes:
    """Return an entry's header, for an archive that is `at` bytes long so far.

    With `aligned`, a pax comment fills the header up, so the file's bytes start at a multiple of 4,096.
    """
    body = _records(entry)
    if aligned:
        body += _filling(body, at)
    mode = _MODES[entry.kind] | (0o111 if entry.executable else 0)
    size = 0 if entry.size > _LARGEST_OCTAL else entry.size
    block = _block(_name(entry), mode, size, entry.kind, entry.target)
    if not body:
        return block
    return _block("PaxHeader", 0o644, len(body), "x", "") + body + padding(len(body)) + block


def header_size(entry: Header, at: int = 0, *, aligned: bool = False) -> int:
    """Return the length of `header` without making its blocks: an image may have hundreds of thousands of entries."""
    if aligned:
        return len(header(entry, at, aligned=True))
    length = len(_records(entry))
    return 2 * BLOCK + _whole(length, BLOCK) if length else BLOCK


def padding(size: int) -> bytes:
    """Return the zero bytes that complete the last block of `size` bytes."""
    return bytes(-size % BLOCK)


def _name(entry: Header) -> str:
    return f"{entry.path}/" if entry.kind == FOLDER else entry.path


def _records(entry: Header) -> bytes:
    """Return the pax records for values that do not fit into a tar header; usually none."""
    name, records = _name(entry), {}
    if not _plain(name):
        records["path"] = name
    if not _plain(entry.target):
        records["linkpath"] = entry.target
    if entry.size > _LARGEST_OCTAL:
        records["size"] = str(entry.size)
    return b"".join(_record(key, value.encode()) for key, value in sorted(records.items()))


def _filling(records: bytes, at: int) -> bytes:
    """Return a pax comment long enough that the next entry's bytes start on a page boundary."""
    least = _whole(len(records) + len(_record("comment", b"")) + 8, BLOCK)
    total = _whole(at + 2 * BLOCK + least, PAGE) - at
    length = total - 2 * BLOCK - len(records)
    blanks = length - len(f"{length} comment=\n")
    return b"%d comment=%s\n" % (length, b" " * blanks)


def _record(key: str, value: bytes) -> bytes:
    """Return `LENGTH KEY=VALUE` and a newline; LENGTH includes its own digits."""
    rest = len(key.encode()) + len(value) + 3
    length = rest + 1
    while length != rest + len(str(length)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key.encode(), value)


def _block(name: str, mode: int, size: int, kind: str, target: str) -> bytes:
    fields: Mapping[str, bytes] = {
        "name": _short(name).ljust(100, b"\0"),
        "mode": b"%07o\0" % mode,
        "uid": b"%07o\0" % 0,
        "gid": b"%07o\0" % 0,
        "size": b"%011o\0" % size,
        "mtime": b"%011o\0" % 0,
        "sum": b" " * 8,
        "kind": kind.encode(),
        "target": _short(target).ljust(100, b"\0"),
        "magic": b"ustar\x0000",
        "owners": bytes(64),
        "devices": b"%07o\0%07o\0" % (0, 0),
        "prefix": bytes(155 + 12),
    }
    block = b"".join(fields.values())
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _plain(name: str) -> bool:
    return name.isascii() and len(name) <= _LONGEST_NAME


def _short(name: str) -> bytes:
    """Return a truncated ASCII name for readers that do not support pax."""
    return name.encode("ascii", "replace")[:_LONGEST_NAME]


def _whole(size: int, unit: int) -> int:
    return -(-size // unit) * unit
