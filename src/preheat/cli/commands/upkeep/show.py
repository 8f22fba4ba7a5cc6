"""The `preheat show` command."""

import argparse

from preheat.cli.wiring import Wiring
from preheat.core.units import say_count, say_seconds, say_size, say_some
from preheat.library.upkeep.inventory import blob_numbers
from preheat.library.upkeep.usage import sharers
from preheat.verbs.upkeep.remove import recorded, typed_model
from preheat.verbs.upkeep.saved_apps import PREFIX, age, change_since, memory_facts, saved_app


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat show`; return the exit status."""
    if options.ref.startswith(PREFIX):
        return _memory(options.ref, wiring)
    library = wiring.library
    snapshot = recorded(typed_model(options.ref, library), library)
    ref = snapshot.ref.at(snapshot.commit)
    here = blob_numbers(library.root / "blobs")
    users = sharers(library.records.listed(), here)
    files = []
    for file in snapshot.files:
        number = here.get(str(file.digest))
        others = sorted(str(other) for other in users.get(number, set()) - {ref}) if number is not None else []
        facts = {"path": file.path, "size": file.size, "digest": str(file.digest)}
        files.append((file, number is not None, others, facts | {"here": number is not None, "shared_with": others}))
    revisions = sorted(name for name, commit in library.revisions(ref).items() if commit == snapshot.commit)
    pinned = snapshot in library.pins
    lines = [f"{ref}{' (pinned)' if pinned else ''}", *(f"  {name} when last seen" for name in revisions)]
    unlisted = snapshot.unlisted or ()
    missing = sum(not is_here for _, is_here, _, _ in files) + len(unlisted)
    if missing:
        count = f"{missing} of {say_count(len(files) + len(unlisted), 'file')}"
        lines.append(f"  partial: {count} missing" if unlisted else f"  without {count}")
    elif snapshot.unlisted is not None:
        lines.append("  its files are those that a cache had; the commit may have more")
    for file, is_here, others, _ in files:
        note = "" if is_here else "  not downloaded"
        shared = f"  also in {say_some(others)}" if others else ""
        lines.append(f"  {say_size(file.size):>9}  {file.path}{note}{shared}")
    lines += [f"{'?':>11}  {name}  not downloaded" for name in unlisted]
    figures = {
        "ref": str(ref),
        "commit": snapshot.commit,
        "revisions": revisions,
        "pinned": pinned,
        "files": [facts for *_, facts in files],
        "unlisted": snapshot.unlisted,
    }
    wiring.console.done(figures, "\n".join(lines))
    return 0


def _memory(words: str, wiring: Wiring) -> int:
    """Print what is known of a memory snapshot, and whether it would still be restored."""
    saved = saved_app(words, wiring.library)
    change = change_since(saved)
    lines = [
        f"{PREFIX}{saved.app}",
        f"  {say_size(saved.size)} for {say_size(saved.resident)} of memory, made {age(saved)}",
        f"  its start had taken {say_seconds(saved.start_s)}",
        f"  {saved.folder}",
        f"  the app will be started as usual, because this has changed since: {change}" if change else "",
    ]
    wiring.console.done({**memory_facts(saved), "changed": change}, "\n".join(filter(None, lines)))
    return 0
