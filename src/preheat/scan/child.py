"""Child: scan one file in a separate process, and print a JSON report: `python -m preheat.scan.child`."""

import contextlib
import ctypes
import io
import re
import signal
import sys
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, Any

import msgspec

from preheat.scan.findings import ScanFindings
from preheat.scan.hidden import hidden_names
from preheat.scan.kinds import (
    CODE,
    GGUF,
    HDF5,
    HEAD,
    NUMPY,
    PICKLE_SUFFIXES,
    TAIL,
    UNREADABLE,
    ZIP_END,
    is_safetensors,
    kind_of,
)
from preheat.scan.pickles import is_pickle, judged, look_into_pickle
from preheat.scan.scan_archives import open_member, tar_members, unpacked, zip_members
from preheat.scan.texts import GRAPHS, LAMBDA, TEMPLATE, code_by_name, configured_code, is_configuration

# More than any harmless pickle needs: a checkpoint's tensors are outside it, in the same zip or behind it.
_MOST_MEMORY = 3 << 30
_DEEPEST = 4
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_STEP = 8 << 20
_END = 64 << 20
_OBJECTS = re.compile(rb"'descr'\s*:\s*(?:'[|=<>]?O|\[.*'[|=<>]?O)")


def look(path: Path, name: str) -> dict[str, Any]:
    """Scan a file, called `name` in its repository. Return the fields of the report, even if the scan fails."""
    findings = ScanFindings()
    try:
        with open(path, "rb") as file:
            _look_into(file, name, findings, 0)
    except Exception as error:  # noqa: BLE001 - a file on which the scanner fails is not known to be harmless
        findings.unread.add(f"the scanner failed: {type(error).__name__}")
    return findings.report


def _look_into(file: IO[bytes], name: str, findings: ScanFindings, depth: int) -> None:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(HEAD)
    file.seek(max(size - TAIL, 0))
    tail = file.read(TAIL)
    kind = kind_of(head, tail)
    if not head:
        return
    if depth > _DEEPEST:
        findings.unread.add(f"archives are nested more than {_DEEPEST} deep in it")
        return
    suffix = PurePosixPath(name).suffix.lower()
    by_name, end = suffix in PICKLE_SUFFIXES, 0
    # A file of another type may be a pickle too: some types are recognized by bytes that are opcodes, or at their end.
    if (by_name and not kind) or is_pickle(file):
        file.seek(0)
        # A loader may treat a file as a pickle because of its name: scan as much as can be parsed.
        end = look_into_pickle(file, suffix, findings, announced=by_name or head[:1] == b"\x80")
    if not depth:
        _look_behind(file, kind, end, size, findings)
    file.seek(0)
    if kind in (NUMPY, HDF5, GGUF) and ZIP_END in tail:
        _look_into_zip(file, findings, depth)  # such a file may be a zip too, since a zip is read from its end
        file.seek(0)
    match kind:
        case "zip":
            _look_into_zip(file, findings, depth)
        case "tar":
            _look_into_tar(file, findings, depth)
        case "numpy":
            _look_into_numpy(file, head, findings)
        case _ if kind in CODE:
            findings.holds.add(kind)
        case "hdf5":
            _search(file, LAMBDA, findings)
        case "gguf":
            # The metadata comes first; the tensors behind it cannot run code.
            _search(io.BytesIO(file.read(_STEP)), TEMPLATE, findings)
        case "ggml":
            pass  # numbers, words and tensors
        case "" if suffix in GRAPHS:
            _search(file, GRAPHS[suffix], findings)
        case "":
            pass
        case _ if kind in UNREADABLE:
            findings.unread.add(f"it is compressed as {kind}, which the scanner does not support")
        case _:
            inner = unpacked(kind, file, findings)
            if inner is not None:
                _look_into(inner, name.removesuffix(suffix) or name, findings, depth + 1)


def _look_behind(file: IO[bytes], kind: str, start: int, size: int, findings: ScanFindings) -> None:
    """Find pickles behind other data: anywhere in a file of no known type, and near the ends of a container.

    `start` is the offset behind the pickles that the file starts with.
    """
    if kind in CODE or is_safetensors(file, size):
        return
    whole = kind in ("", NUMPY, HDF5) or size - start <= _STEP + _END
    for first, stop in [(start, size)] if whole else [(start, start + _STEP), (size - _END, size)]:
        names = hidden_names(file, first, stop)
        if names is None:
            findings.unread.add("it contains too many bytes that may be pickles")
        else:
            findings.dangerous |= judged(names)[0]


def _look_into_zip(file: IO[bytes], findings: ScanFindings, depth: int) -> None:
    members = zip_members(file, findings)
    file.seek(0)
    if not members:
        return
    with zipfile.ZipFile(file) as archive:
        for member in members:
            with contextlib.ExitStack() as closing:
                opened = open_member(archive, member, findings)
                if opened is None:
                    continue
                closing.enter_context(opened)
                try:
                    _look_into_member(opened, member.filename, member.file_size, findings, depth)
                except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
                    findings.unread.add(f"{member.filename!r} in it cannot be read: {type(error).__name__}")


def _look_into_tar(file: IO[bytes], findings: ScanFindings, depth: int) -> None:
    for name, start, size in tar_members(file, findings):
        file.seek(start)
        _look_into_member(io.BufferedReader(_Window(file, start, size)), name, size, findings, depth)


def _look_into_member(file: IO[bytes], name: str, size: int, findings: ScanFindings, depth: int) -> None:
    if code := code_by_name(name):
        findings.holds.add(f"{code} ({PurePosixPath(name).name})")
        return
    if is_configuration(name, size):
        findings.holds |= set(configured_code(name, file.read()))
        file.seek(0)
    _look_into(file, name, findings, depth + 1)


def _look_into_numpy(file: IO[bytes], head: bytes, findings: ScanFindings) -> None:
    """Scan an array of objects (numpy.lib.format): a header of version, length and description, and then a pickle."""
    wide = head[6:7] in (b"\x02", b"\x03")
    end = (12 if wide else 10) + int.from_bytes(head[8:12] if wide else head[8:10], "little")
    if end > len(head):
        findings.unread.add("it is a numpy array whose header is too long")
    elif _OBJECTS.search(head[:end]):
        file.seek(end)
        look_into_pickle(io.BytesIO(file.read()), ".pkl", findings, announced=True)


def _search(file: IO[bytes], look: tuple[bytes, str], findings: ScanFindings) -> None:
    (pattern, words), last = look, b""
    while step := file.read(_STEP):
        if re.search(pattern, last[-256:] + step):
            findings.holds.add(words)
            return
        last = step


class _Window(io.RawIOBase):
    """A section of a file, as a file."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See io.IOBase."""
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(begin + offset, 0)
        return self._at

    def tell(self) -> int:
        """See io.IOBase."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """See io.RawIOBase."""
        self._file.seek(self._start + self._at)
        body = self._file.read(min(len(buffer), max(self._size - self._at, 0)))
        buffer[: len(body)] = body
        self._at += len(body)
        return len(body)


def _end_before_others() -> None:
    """Ask the kernel to end this process with its parent, and before other programs if memory runs out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> None:
    """Print the report on the file that the arguments name."""
    _end_before_others()
    # Some systems have no such limit.
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.buffer.write(msgspec.json.encode(look(Path(sys.argv[1]), sys.argv[2])))


if __name__ == "__main__":
    main()
