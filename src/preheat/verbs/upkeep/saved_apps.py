"""Saved apps: the memory snapshots in the library, by app; `memory:APP` names one where a model's name is expected."""

import time
from collections.abc import Sequence

from preheat.core.errors import NotPreloaded
from preheat.core.units import say_seconds
from preheat.guard.memory_snapshot.loaded_files import changed_file, code_digest
from preheat.guard.memory_snapshot.saved_memory import FOLDER, SavedMemory, list_saved
from preheat.library.library import Library

PREFIX = "memory:"


def saved_apps(library: Library) -> list[SavedMemory]:
    """Return the memory snapshots in the library; damaged ones are left out."""
    return list_saved(str(library.root / FOLDER))


def saved_app(words: str, library: Library) -> SavedMemory:
    """Return the memory snapshot that `memory:APP` names, the latest if there are several. Raise NotPreloaded."""
    app = words.removeprefix(PREFIX)
    found = [saved for saved in saved_apps(library) if saved.app == app]
    if not found:
        raise NotPreloaded(f"{library.root} has no memory snapshot of {app}", hint="to list them: preheat ls")
    return max(found, key=lambda saved: saved.taken)


def split_saved(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names of models, and those of memory snapshots."""
    return [word for word in words if not word.startswith(PREFIX)], [word for word in words if word.startswith(PREFIX)]


def age(saved: SavedMemory) -> str:
    """Return how long ago a snapshot was made, as text."""
    return f"{say_seconds(max(time.time() - saved.taken, 0.0))} ago"


def memory_facts(saved: SavedMemory) -> dict[str, object]:
    """Return what --json reports of a memory snapshot."""
    return {
        "app": saved.app,
        "size": saved.size,
        "resident": saved.resident,
        "start_s": saved.start_s,
        "made": saved.taken,
        "folder": saved.folder,
    }


def change_since(saved: SavedMemory) -> str:
    """Return what has changed since a snapshot was made, so that it would not be restored; "" if nothing has.

    The command, the variables and the machine are compared when the app starts.
    """
    path = changed_file(saved.loaded)
    if path:
        return path
    for place, digest in saved.code.items():
        try:
            if code_digest(place) == digest:
                continue
        except ValueError:
            pass  # too many files
        return f"code or settings in {place}"
    return ""
