"""Overlay mounts: show folders as they are, and keep what is written to them in other folders (overlayfs).

The mounts are made in a mount namespace of this process and the children that it starts later: other processes, and the
folders themselves, do not see what is written. Root can do that directly; other users need a user namespace, where the
system permits it (user_namespaces(7), Linux 5.11). All functions raise OSError if the kernel refuses.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, suppress
from typing import Sequence

from preheat.guard.kernel import namespaces

_UPPER, _WORK = "upper", "work"
# A renamed folder would otherwise be an error (EXDEV). `volatile`: do not write to disk what is dropped soon anyway.
_PRIVILEGED = ("redirect_dir=on,metacopy=off,index=off,volatile", "metacopy=off,index=off", "")
_UNPRIVILEGED = ("userxattr,volatile", "userxattr")


def enter(*, user: bool) -> None:
    """Move this process to its own mount namespace, with `user` in a user namespace where it keeps its user ID.

    A process with more than one thread is refused.
    """
    if len(os.listdir("/proc/self/task")) > 1:
        raise OSError(errno.EBUSY, "the process has several threads")
    if user:
        namespaces.own_user(namespaces.MOUNTS)
        namespaces.mount("none", "/", namespaces.RECURSIVE | namespaces.SLAVE)
    else:
        namespaces.own_mounts()


def mount_memory(folder: str) -> None:
    """Mount a file system in memory at `folder`; at most half of the memory can be used."""
    namespaces.mount("preheat", folder, namespaces.NO_SUID | namespaces.NO_DEVICES, "tmpfs", "mode=0700")


class OverlayMounts:
    """Overlays over `folders`, after `enter`. The mounts below them, and the folders `through`, stay as they are.

    A folder below another one needs no overlay of its own, unless it is on another file system: `folders` are those
    that got one.
    """

    def __init__(self, folders: Sequence[str], through: Sequence[str]) -> None:
        points = _points()
        self.folders = tuple(_outermost(sorted({os.path.realpath(one) for one in folders} - {"/"}), points))
        self._through = frozenset(map(os.path.realpath, through))
        self._kept = self._to_keep(points)
        # The folders as they are without the overlays.
        self._originals = {one: _open(one) for one in self.folders}
        self._laid = False
        self._here = os.getcwd()

    def original(self, path: str) -> str:
        """Return a path that leads to the file below the overlay; `path` itself if no overlay covers it."""
        folder = self.folder_of(path)
        if folder is None:
            return path
        return "/proc/self/fd/%d%s" % (self._originals[folder], path[len(folder) :])

    def folder_of(self, path: str) -> str | None:
        """Return the folder whose overlay covers `path`, or None."""
        if any(path == one or _is_below(path, one) for one in self._kept):
            inner = [one for one in self.folders if any(_is_below(one, kept) for kept in self._kept)]
        else:
            inner = list(self.folders)
        return max((one for one in inner if path == one or _is_below(path, one)), key=len, default=None)

    def layer(self, at: str, folder: str, which: str = _UPPER) -> str:
        """Return the folder below `at` that keeps what is written to `folder`."""
        return os.path.join(at, str(self.folders.index(folder)), which)

    def make(self, at: str) -> None:
        """Create empty layers below `at`. What is added to them before `lay` covers the folders' own files."""
        for folder in self.folders:
            for which in (_UPPER, _WORK):
                layer = self.layer(at, folder, which)
                os.makedirs(layer)
                imitate(self.original(folder), layer)

    def lay(self, at: str) -> None:
        """Mount the overlays with the layers below `at`, which `make` created; earlier overlays are removed."""
        os.chdir("/")
        if self._laid:
            # The inner ones first: below an outer one are the folder's own mounts.
            for folder in reversed(self.folders):
                with suppress(OSError):
                    namespaces.unmount(folder)
        self._laid = True
        with ExitStack() as until:
            # Open only while the overlays are mounted: an open descriptor keeps others from unmounting a disk.
            through: dict[str, int] = {}
            for place in self._to_keep(_points()):
                with suppress(FileNotFoundError):  # unmounted and removed since it was listed
                    through[place] = _open(place)
                    until.callback(os.close, through[place])
            self._kept = list(through)
            for place in sorted((*self.folders, *through)):
                if place in self._originals:
                    self._overlay(place, at)
                else:
                    source = "/proc/self/fd/%d" % through[place]
                    with suppress(FileNotFoundError):
                        namespaces.mount(source, place, namespaces.BIND | namespaces.RECURSIVE)
        os.chdir(self._here)  # now the folder in the overlay

    def _to_keep(self, points: Sequence[str]) -> list[str]:
        """Return what stays as it is below the folders: other mounts, and the folders `through`."""
        kept = self._through | {one for one in points if one not in self.folders}
        return [one for one in sorted(kept) if any(_is_below(one, folder) for folder in self.folders)]

    def _overlay(self, folder: str, at: str) -> None:
        layers = [_open(self.layer(at, folder, which)) for which in (_UPPER, _WORK)]
        # Descriptors, because paths would need escapes.
        upper, work = ("/proc/self/fd/%d" % one for one in layers)
        words = f"lowerdir=/proc/self/fd/{self._originals[folder]},upperdir={upper},workdir={work}"
        possible = _UNPRIVILEGED if _in_user_namespace() else _PRIVILEGED
        try:
            for options in possible[:-1]:
                with suppress(OSError):
                    return _mount(folder, words, options)
            _mount(folder, words, possible[-1])
        finally:
            for one in layers:
                os.close(one)


def _mount(folder: str, words: str, options: str) -> None:
    namespaces.mount("overlay", folder, 0, "overlay", ",".join(filter(None, (words, options))))


def imitate(folder: str, other: str) -> None:
    """Give `other` the mode, and if permitted the owner, of `folder`."""
    like = os.stat(folder)
    os.chmod(other, like.st_mode & 0o7777)
    with suppress(OSError):
        os.chown(other, like.st_uid, like.st_gid)


def _points() -> list[str]:
    return sorted({point for point, _ in namespaces.mount_points()} - {"/"})


def _outermost(folders: Sequence[str], points: Sequence[str]) -> list[str]:
    """Return the folders without those below another one, if both are on the same mount."""
    found: list[str] = []
    for folder in folders:
        on = _mount_of(folder, points)
        if not any(_is_below(folder, other) and _mount_of(other, points) == on for other in found):
            found.append(folder)
    return found


def _mount_of(path: str, points: Sequence[str]) -> str:
    return max((one for one in points if path == one or _is_below(path, one)), key=len, default="/")


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def _open(folder: str) -> int:
    return os.open(folder, os.O_PATH | os.O_CLOEXEC)


def _in_user_namespace() -> bool:
    """Return whether this process is in a user namespace that maps some users only: user_namespaces(7)."""
    with open("/proc/self/uid_map", encoding="ascii") as known:
        return [line.split() for line in known] != [["0", "0", "4294967295"]]
