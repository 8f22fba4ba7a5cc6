"""App copy: copy an app's folder for a replay, without what its traced start created there."""

import os
import shutil
import stat
from collections.abc import Collection
from pathlib import Path

from preheat.core.errors import UsageError

# Larger files are weights and media: a symlink to them is enough, and costs nothing.
_COPIED_UP_TO = 1 << 20
_MOST_FILES = 100_000
_ENVIRONMENT = "pyvenv.cfg"


def copy_app(folder: Path, target: Path, without: Collection[str]) -> None:
    """Copy `folder` to the new folder `target`, except the paths in `without` and all below them.

    Files over 1 MiB and Python environments become symlinks to the originals; FIFOs, sockets and devices are left out.
    Raise UsageError if it has more than 100,000 files, OSError if it cannot be copied.
    """
    target.mkdir(parents=True)
    waiting, count = [(folder, target)], 0
    while waiting:
        source, copy = waiting.pop()
        for entry in os.scandir(source):
            if entry.path in without:
                continue
            count += 1
            if count > _MOST_FILES:
                raise UsageError(
                    f"{folder} has more than {_MOST_FILES:,} files, too many to copy for a replay",
                    hint="run it as root, where the app's folder needs no copy, or use --no-replay",
                )
            here = copy / entry.name
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                here.symlink_to(_target(entry.path, folder))
            elif stat.S_ISDIR(mode):
                if os.path.exists(f"{entry.path}/{_ENVIRONMENT}"):  # noqa: PTH110 - one of thousands
                    here.symlink_to(entry.path)
                else:
                    here.mkdir()
                    waiting.append((Path(entry.path), here))
            elif stat.S_ISREG(mode):
                if entry.stat(follow_symlinks=False).st_size > _COPIED_UP_TO:
                    here.symlink_to(entry.path)
                else:
                    shutil.copy2(entry.path, here)


def _target(link: str, folder: Path) -> str:
    """Return the target of a symlink; absolute if it leads out of the folder by a relative path."""
    target = os.readlink(link)  # noqa: PTH115 - a string is wanted
    whole = os.path.normpath(Path(link).parent / target)
    return target if target.startswith("/") or Path(whole).is_relative_to(folder) else whole
