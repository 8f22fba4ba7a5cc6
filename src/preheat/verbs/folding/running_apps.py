"""Running apps: processes that have model files open, whose old copies take space until they end."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from preheat.guard.kernel.ports import open_links
from preheat.guard.kernel.process_tree import mapped_paths, members, name


@dataclass(frozen=True, slots=True)
class RunningApp:
    """A process with some of the files open or mapped: its ID, its name, and the number of files."""

    pid: int
    name: str
    files: int


def running_apps(paths: Collection[Path]) -> list[RunningApp]:
    """Return the processes that have one of the files open or mapped, as far as this user may see."""
    wanted = {str(path) for path in paths}
    found = []
    for pid in sorted(member.pid for member in members() if member.pid != os.getpid()) if wanted else ():
        files = {*open_links(pid), *mapped_paths(pid)} & wanted
        if files and (command := name(pid)):  # else it has ended
            found.append(RunningApp(pid, command, len(files)))
    return found
