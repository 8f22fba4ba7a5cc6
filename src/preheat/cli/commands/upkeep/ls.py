"""The `preheat ls` command."""

import argparse
from collections.abc import Sequence
from datetime import datetime

from preheat import api
from preheat.cli.wiring import Wiring
from preheat.core.units import say_count, say_size
from preheat.guard.memory_snapshot.saved_memory import SavedMemory
from preheat.library.upkeep.usage import Survey, VersionUsage
from preheat.verbs.upkeep.saved_apps import PREFIX, age, memory_facts, saved_apps


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat ls`; return the exit status."""
    library = wiring.library
    everything = api.ls(*options.refs, session=wiring)
    versions = everything.versions
    memory = [] if options.refs else saved_apps(library)
    figures = {
        "versions": [_facts(version) for version in versions],
        "stored": everything.stored,
        "apart": everything.apart,
        "memory_snapshots": [memory_facts(saved) for saved in memory],
        "library": str(library.root),
    }
    wiring.console.done(figures, "\n".join([table(versions, everything), *map(_memory_line, memory)]))
    return 0


def _memory_line(saved: SavedMemory) -> str:
    made = datetime.fromtimestamp(saved.taken).astimezone()
    size = say_size(saved.size)
    return f"{PREFIX}{saved.app}  memory snapshot, {size}, made {made:%Y-%m-%d %H:%M}, {age(saved)}"


def table(versions: Sequence[VersionUsage], everything: Survey) -> str:
    """Return a table with one version per line, and a line on the disk space saved by sharing."""
    if not versions:
        return "the library is empty"
    rows = [("model", "version", "files", "size", "unshared", "shared", "")]
    for one in versions:
        notes = ["pinned"] if one.pinned else []
        if one.missing_files:
            size = f" ({say_size(one.missing)})" if one.missing else ""
            files = f"{one.missing_files} of {say_count(one.files, 'file')}"
            # A pull may have chosen the others: only a file that nobody has listed is known to be wanted.
            notes.append(f"partial: {files} missing{size}" if one.unlisted else f"without {files}{size}")
        name = str(one.ref.at(one.ref.branch)) if one.ref.hub != "url" else one.ref.address
        sizes = (say_size(one.size), say_size(one.own), say_size(one.shared))
        rows.append((name, version_words(one), str(one.files), *sizes, ", ".join(notes)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column in (0, 1, 6) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    saved = everything.apart - everything.stored
    lines.append(f"{say_size(everything.stored)} on disk; {say_size(saved)} saved by sharing")
    return "\n".join(lines)


def version_words(version: VersionUsage) -> str:
    """Return a version's branches and tags, and the first 12 digits of its commit."""
    commit = version.ref.revision[:12]
    return f"{', '.join(version.revisions)} {commit}".strip()


def _facts(version: VersionUsage) -> dict[str, object]:
    return {
        "ref": str(version.ref),
        "commit": version.ref.revision,
        "revisions": version.revisions,
        "pinned": version.pinned,
        "files": version.files,
        "size": version.size,
        "own": version.own,
        "shared": version.shared,
        "missing": version.missing,
        "missing_files": version.missing_files,
    }
