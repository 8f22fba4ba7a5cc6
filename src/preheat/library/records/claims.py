"""Claims: blobs in use that no record names: by pulls in progress, and by views made of links."""

import errno
import os
import platform
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from preheat.core.digest import Digest
from preheat.disk.temporary_file import write_whole
from preheat.library.blobs.partial import disk_trouble
from preheat.library.small_files import read_small

PULL, VIEW = "pull", "view"
# After so long, a process on another machine is taken for dead, and a view there for gone: no pull takes a week, and a
# view that is used is placed anew by every run.
_FORGOTTEN_AFTER_S = {PULL: 7 * 86400.0, VIEW: 90 * 86400.0}


class _Claim(msgspec.Struct, frozen=True):
    by: str
    machine: str
    digests: list[str]
    process: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """Blobs wanted by a pull, or by the view at `at`, on `machine`; `here` says whether that is this machine."""

    by: str
    machine: str
    at: str
    here: bool
    digests: frozenset[str]
    path: Path


class Claims:
    """One JSON file a claim: `claims/MACHINE-RANDOM.json`; a view's has its name from the view's place."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def pulling(self, digests: Iterable[Digest], at: Path | None = None) -> Iterator[None]:
        """Keep blobs from being pruned, here or not here yet, until the block ends or the process does.

        `at` is what is made of them outside the library: should the process be killed, a prune looks there for what
        was left aside.
        """
        path = self._root / f"{_host()}-{secrets.token_hex(8)}.json"
        outside = "" if at is None else str(at.absolute())
        wanted = [str(digest) for digest in digests]
        self._write(path, _Claim(PULL, _host(), wanted, process=_process(os.getpid()), at=outside))
        try:
            yield
        finally:
            # One that stays ends with this process, and goes with the next prune.
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def placed(self, at: Path, digests: Iterable[Digest]) -> None:
        """Note that links below `at` lead to blobs. Where the library cannot be written, nobody can prune it from here.

        A view placed anew keeps the claim from growing old; no blobs, if it has no links more, make none.
        """
        wanted = {str(digest) for digest in digests}
        with suppress(OSError):
            for claim, _ in self._all(strict=False):
                if claim.by == VIEW and claim.here and claim.at == str(at) and wanted <= claim.digests:
                    os.utime(claim.path)
                    return
            path = self._root / f"{_host()}-{secrets.token_hex(8)}.json"
            if wanted:
                self._write(path, _Claim(VIEW, _host(), sorted(wanted), at=str(at)))

    def __iter__(self) -> Iterator[Claim]:
        """Read the claims that hold: of processes that live, and of views that are there or on other machines.

        Raise LibraryError for one that cannot be read: what it holds is not known.
        """
        for claim, holds in self._all():
            if holds:
                yield claim

    def abandoned(self) -> list[Path]:
        """List what processes that have ended were making outside the library; without their claims it is not known."""
        dead = (claim for claim, holds in self._all(strict=False) if not holds)
        return [Path(claim.at) for claim in dead if claim.by == PULL and claim.at]

    def tidy(self, forget: str = "") -> None:
        """Remove the claims that hold no more, and all views' of the machine to `forget`."""
        for claim, holds in self._all(strict=False):
            if not holds or (forget and claim.by == VIEW and claim.machine == forget):
                with suppress(PermissionError):  # another user's, who tidies it
                    claim.path.unlink(missing_ok=True)

    def _all(self, *, strict: bool = True) -> Iterator[tuple[Claim, bool]]:
        for path in sorted(self._root.glob("[!.]*.json")):
            try:
                claim = msgspec.json.decode(read_small(path), type=_Claim)
                age_s = time.time() - path.stat().st_mtime
            except (FileNotFoundError, msgspec.DecodeError, ValueError, RecursionError):
                continue  # gone meanwhile, or cut off: written by rename, so nobody's
            except OSError as error:
                if strict and error.errno in (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE):
                    raise disk_trouble(error, path) from error
                continue  # no file: nobody's either
            here = claim.machine == _host()
            if claim.by == VIEW and here:
                holds = os.path.isdir(claim.at)  # noqa: PTH112 - never raises, whatever it says there
            elif claim.process.startswith(f"{_kernel()} "):
                holds = _process(_pid(claim.process)) == claim.process
            else:
                holds = age_s < _FORGOTTEN_AFTER_S.get(claim.by, 0)
            yield Claim(claim.by, claim.machine, claim.at, here, frozenset(claim.digests), path), holds

    def _write(self, path: Path, claim: _Claim) -> None:
        write_whole(path, msgspec.json.format(msgspec.json.encode(claim), indent=1) + b"\n")


def linked(folder: Path, blobs: Path) -> set[str]:
    """Name the blobs that symlinks below `folder` lead to, as `algorithm:hex`."""
    found = set()
    root = os.path.realpath(blobs)
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(place, name)  # noqa: PTH118 - a view may have many thousands
            if os.path.islink(path):  # noqa: PTH114
                end = os.path.realpath(path)
                if end.startswith(root + os.sep):
                    algorithm, _, rest = end[len(root) + 1 :].partition(os.sep)
                    found.add(f"{algorithm}:{rest.rpartition(os.sep)[2]}")
    return found


def machine() -> str:
    """Name this machine as a file's name can: what its network calls it, and its boot, so that no two are alike."""
    return f"{_host()}-{_kernel()[:8]}"


def _host() -> str:
    return "".join(c if c.isalnum() or c in "._" else "_" for c in platform.node())[:64] or "unknown"


def _process(pid: int) -> str:
    """Name a process so that no other is ever meant: this kernel's boot, its family of numbers, number, start."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        started = "?"
    return f"{_kernel()} {pid} {started}"


def _pid(process: str) -> int:
    number = process.split(" ")[-2] if process.count(" ") >= 2 else ""
    return int(number) if number.isdecimal() and len(number) < 10 else 0


def _kernel() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()
