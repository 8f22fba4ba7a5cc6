"""Claims: blobs that are in use without a record, by pulls in progress, views made of links, or folded files."""

import errno
import itertools
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import msgspec

from preheat.core.digest import Digest
from preheat.disk.temporary_file import write_whole
from preheat.library.blobs.disk_errors import disk_trouble
from preheat.library.quoted_paths import quoted, unquoted
from preheat.library.records.process_ids import is_running, process_id
from preheat.library.records.this_machine import host_name, is_here, root_id
from preheat.library.small_files import read_small

PULL, VIEW, FOLD = "pull", "view", "fold"
NOWHERE_ELSE: Mapping[str, int] = MappingProxyType({})
_MOST = 1 << 30  # bytes; a claim of folded files has 200 for each, and more for names that are percent-encoded
# The age in seconds at which a claim of another machine expires: no pull takes a week, and every run of an app renews
# the claim of its view.
_FORGOTTEN_AFTER_S = {PULL: 7 * 86400.0, VIEW: 90 * 86400.0}

_BLOB = r"[a-z0-9-]+/[0-9a-f]{2}/[0-9a-f]+"


class _Claim(msgspec.Struct, frozen=True):
    by: str
    machine: str
    digests: list[str]
    process: str = ""
    at: str = ""
    paths: list[str] | msgspec.UnsetType = msgspec.UNSET
    devices: list[int] | msgspec.UnsetType = msgspec.UNSET
    root: str = ""


class Claim(msgspec.Struct, frozen=True):
    """The blobs that a pull, the view at `at` or folded files need on `machine`. `here`: it is this machine.

    Containers are machines of their own, also if they have the same host name.
    `files` are the folded files, with the blob of each, as `algorithm:hex`, and the number of its device if that is not
    the library's; else 0.
    """

    by: str
    machine: str
    at: str
    here: bool
    digests: frozenset[str]
    path: Path
    files: tuple[tuple[str, str, int], ...] = ()


class Claims:
    """The claims of a library: one JSON file each, `claims/MACHINE-RANDOM.json`; a view's RANDOM is its hash."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def pulling(self, digests: Iterable[Digest], at: Path | None = None) -> Iterator[None]:
        """Protect blobs, downloaded or not, from prune until the block or the process ends.

        `at` is the output path outside the library: if the process is killed, prune removes its temporary files there.
        """
        path = self._root / f"{host_name()}-{os.urandom(8).hex()}.json"
        outside = "" if at is None else str(at.absolute())
        wanted = [str(digest) for digest in digests]
        # Not durable: after a crash, the process has ended, and the claim with it.
        self._write(path, _Claim(PULL, host_name(), wanted, process=process_id(), at=outside), durable=False)
        try:
            yield
        finally:
            # If it cannot be removed, the claim expires with this process, and the next prune removes it.
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def placed(self, at: Path, digests: Iterable[Digest]) -> None:
        """Claim the blobs that links below `at` point to, or renew the claim of this view, if there are any blobs.

        The file's name is a hash of the claim, so no other claim is read. Do nothing if the library is read-only: this
        machine then cannot prune it either.
        """
        wanted = sorted({str(digest) for digest in digests})
        if not wanted:
            return
        import hashlib  # a start from a library whose views are its own does without

        named = hashlib.sha256(os.fsencode("\n".join((root_id(), str(at), *wanted)))).hexdigest()[:16]
        path = self._root / f"{host_name()}-{named}.json"
        with suppress(OSError):
            try:
                os.utime(path, follow_symlinks=False)
            except FileNotFoundError:
                self._write(path, _Claim(VIEW, host_name(), wanted, at=str(at), root=root_id()))

    def folded(self, at: Path, files: Iterable[tuple[str, Digest]], devices: Mapping[str, int] = NOWHERE_ELSE) -> None:
        """Claim the blobs that names in apps' folders are links to; replace the claim of the journal `at`.

        `devices`: the numbers of the devices of names that are not on the library's. The claim never expires: a link on
        another machine may be the only name of the user's model. Raise OSError.
        """
        path = self._fold_path(root_id(), at)
        pairs = sorted((os.fsencode(name), str(digest)) for name, digest in files)
        if pairs:
            digests, paths = [digest for _, digest in pairs], [quoted(name) for name, _ in pairs]
            numbers = [devices.get(os.fsdecode(name), 0) for name, _ in pairs] if devices else msgspec.UNSET
            claim = _Claim(FOLD, host_name(), digests, at=quoted(at), paths=paths, devices=numbers, root=root_id())
            self._write(path, claim)
        else:
            path.unlink(missing_ok=True)
        self._drop_older(self._fold_path("", at), {os.fsdecode(name): digest for name, digest in pairs})

    def _fold_path(self, root: str, at: Path) -> Path:
        import hashlib

        named = hashlib.sha256(root.encode() + os.fsencode(at)).hexdigest()[:16]
        return self._root / f"{host_name()}-fold-{named}.json"

    def _drop_older(self, path: Path, files: Mapping[str, str]) -> None:
        """Remove the claim that an earlier version of preheat wrote, if no other file than these still needs it.

        Another container with the same host name may have written to the same claim.
        """
        for older, _ in self._all(strict=False, pattern=path.name):
            others = tuple(one for one in older.files if files.get(one[0]) != one[1])
            if not still_folded(msgspec.structs.replace(older, files=others), self._root.parent / "blobs"):
                with suppress(OSError):
                    path.unlink()

    def __iter__(self) -> Iterator[Claim]:
        """Iterate over the valid claims: those of running processes, existing views, and recent ones of other machines.

        Raise LibraryError for a claim that cannot be read, because its blobs are then unknown.
        """
        for claim, holds in self._all():
            if holds:
                yield claim

    def abandoned(self) -> list[Path]:
        """Return the output paths outside the library of this user's pulls whose process has ended, before `tidy`.

        In a library that a group shares, another member's claim may name any folder of this user.
        """
        dead = (claim for claim, holds in self._all(strict=False) if not holds)
        return [Path(claim.at) for claim in dead if claim.by == PULL and claim.at and _is_own(claim.path)]

    def tidy(self, forget: str = "") -> None:
        """Remove expired claims, and the claims of all views on other machines named `forget`."""
        for claim, holds in self._all(strict=False):
            if not holds or (forget and claim.by in (VIEW, FOLD) and claim.machine == forget and not claim.here):
                with suppress(PermissionError):  # another user's: that user's own prune removes it
                    claim.path.unlink(missing_ok=True)

    def _all(self, *, strict: bool = True, pattern: str = "[!.]*.json") -> Iterator[tuple[Claim, bool]]:
        for path in sorted(self._root.glob(pattern)):
            try:
                claim = msgspec.json.decode(read_small(path, _MOST), type=_Claim)
                age_s = time.time() - path.stat().st_mtime
            except (FileNotFoundError, msgspec.DecodeError, ValueError, RecursionError):
                continue  # removed since, or not a claim: claims are written atomically, so they are never truncated
            except OSError as error:
                if strict and error.errno in (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EFBIG):
                    raise disk_trouble(error, path) from error
                continue  # not a regular file, so not a claim
            here = is_here(claim.machine, claim.root)
            files: tuple[tuple[str, str, int], ...] = ()
            if claim.by == FOLD:
                holds, names, devices = True, map(unquoted, claim.paths or []), claim.devices or itertools.repeat(0)
                files = tuple(zip(names, claim.digests, devices))  # noqa: B905 - a truncated list
            elif claim.by == VIEW and here:
                holds = os.path.isdir(claim.at)  # noqa: PTH112 - never raises, even for an invalid path
            else:
                alive = is_running(claim.process)
                holds = age_s < _FORGOTTEN_AFTER_S.get(claim.by, 0) if alive is None else alive
            yield Claim(claim.by, claim.machine, claim.at, here, frozenset(claim.digests), path, files), holds

    def _write(self, path: Path, claim: _Claim, *, durable: bool = True) -> None:
        write_whole(path, msgspec.json.format(msgspec.json.encode(claim), indent=1) + b"\n", durable=durable)


def _is_own(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def still_folded(claim: Claim, blobs: Path) -> set[str]:
    """Return the blobs that the files of a claim still use, as `algorithm:hex`.

    A file whose disk is away counts as using its blob.
    """
    found = set()
    for name, digest, device in claim.files:
        algorithm, _, value = digest.partition(":")
        if digest not in found and _uses(name, str(blobs / algorithm / value[:2] / value), device, blobs):
            found.add(digest)
    return found


def is_deleted(name: str, device: int, library: Path) -> bool:
    """Return whether a missing file was deleted, maybe with its folder; False if its disk may be away.

    `device` is the number of its disk if that is not the library's, which is there; else 0.
    """
    folder = os.path.dirname(name)  # noqa: PTH120 - as below
    while not device and not os.path.lexists(folder) and folder != os.path.dirname(folder):  # noqa: PTH120
        folder = os.path.dirname(folder)  # noqa: PTH120
    try:
        return os.stat(folder).st_dev == (device or os.stat(library).st_dev)  # noqa: PTH116
    except OSError:
        return False


def _uses(name: str, blob: str, device: int, library: Path) -> bool:
    """Return whether a file is a link to a blob, or a copy by reflink, or cannot be looked at."""
    try:
        look = os.lstat(name)
    except FileNotFoundError:
        return not is_deleted(name, device, library)
    except OSError:
        return True
    if stat.S_ISLNK(look.st_mode):
        return os.path.realpath(name) == os.path.realpath(blob)
    try:
        return stat.S_ISREG(look.st_mode) and look.st_size == os.stat(blob).st_size  # noqa: PTH116 - as below
    except OSError:
        return True


def linked(folder: Path, blobs: Path) -> set[str]:
    """Return the blobs that symlinks below `folder` point to, as `algorithm:hex`.

    Costs a readlink(2) for each name. Only links that lead neither to a blob nor to another name that is looked at, are
    followed, which costs a system call for each folder of their path.
    """
    found, places, others = set(), set(), []
    root = os.path.realpath(blobs) + os.sep
    for place, folders, files in os.walk(folder):
        places.add(place)
        for name in (*folders, *files):
            path = f"{place}{os.sep}{name}"
            with suppress(OSError):  # it is no symlink
                target = os.readlink(path)  # noqa: PTH115 - faster than Path: a view may have thousands of files
                if target.startswith(root) and re.fullmatch(_BLOB, target[len(root) :]):
                    found.add(_digest(target[len(root) :]))
                else:
                    others.append((path, os.path.normpath(os.path.join(place, target))))  # noqa: PTH118 - as above
    for path, beside in others:
        if beside.rpartition(os.sep)[0] not in places and (end := os.path.realpath(path)).startswith(root):
            found.add(_digest(end[len(root) :]))
    return found


def _digest(name: str) -> str:
    algorithm, _, rest = name.partition(os.sep)
    return f"{algorithm}:{rest.rpartition(os.sep)[2]}"
