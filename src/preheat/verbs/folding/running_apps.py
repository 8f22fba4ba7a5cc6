"""Running apps: processes that have model files open, whose old copies take space until they end."""

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LONGEST = 1 << 22  # bytes of one process's list of mappings


@dataclass(frozen=True, slots=True)
class RunningApp:
    """A process with some of the files open or mapped: its ID, its name, and the number of files."""

    pid: int
    name: str
    files: int


def running_apps(paths: Collection[Path], proc: Path = Path("/proc")) -> list[RunningApp]:
    """Return the processes that have one of the files open or mapped, as far as this user may see."""
    wanted = {str(path) for path in paths}
    found = []
    for entry in proc.iterdir() if wanted else ():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            files = (_opened(entry) | _mapped(entry)) & wanted
            if files:
                with suppress(OSError):
                    found.append(RunningApp(int(entry.name), (entry / "comm").read_text().strip(), len(files)))
    return sorted(found, key=lambda app: app.pid)


def _opened(process: Path) -> set[str]:
    found = set()
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                found.add(str(descriptor.readlink()))
    return found


def _mapped(process: Path) -> set[str]:
    with suppress(OSError):
        with open(process / "maps", "rb") as file:
            lines = file.read(_LONGEST).splitlines()
        # The sixth field is the path, in which only newlines are escaped: proc(5).
        paths = (line.split(None, 5)[5:] for line in lines)
        return {os.fsdecode(path[0].replace(rb"\012", b"\n")) for path in paths if path}
    return set()
