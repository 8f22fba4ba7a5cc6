"""Made files: keep what an app's first start wrote, which no hub has, as a snapshot in the library."""

import re
from collections.abc import Mapping
from pathlib import Path

from preheat.core.ref import MADE, Ref
from preheat.core.snapshot import File, Snapshot, listing_commit
from preheat.library.adopt.intake import Intake
from preheat.library.library import Library

_LONGEST = 90  # characters of a word in a ref


def made_name(app: str, slug: str) -> str:
    """Return `APP/SLUG` for a `made:` ref, from any two texts; characters that a ref cannot have become dashes."""
    return f"{_word(app)}/{_word(slug)}"


def keep_made(library: Library, name: str, files: Mapping[str, Path]) -> Snapshot:
    """Store files that an app's start wrote, and record and return their snapshot, `made:NAME`.

    `name` is as `made_name` returns it; `files` maps paths in the need to files on disk. Each file is read once, and
    becomes a blob by reflink or copy: the file itself stays as it is, and later changes of it do not reach the blob.
    Raise IntegrityError for a path that no snapshot can have, or a file that changes while it is read; LibraryError if
    one cannot be read; NoSpace if the disk is full.
    """
    ref = Ref.parse(f"{MADE}:{name}")
    library.prepare(sum(path.stat().st_size for path in files.values()))
    intake = Intake(library.root, library.path, lambda _: None, copy=True)
    kept = []
    for path, source in sorted(files.items()):
        taken = intake.take(source, None)
        library.seals.note(taken.digest, library.path(taken.digest))
        kept.append(File(path, taken.size, taken.digest))
    snapshot = Snapshot(ref, listing_commit(kept), tuple(kept))
    library.record(snapshot)
    return snapshot


def _word(text: str) -> str:
    cleaned = re.sub(r"[^A-Za-z0-9_.]+|\.\.+", "-", text)
    cleaned = re.sub(r"-+", "-", cleaned)[:_LONGEST].strip("-.")
    return cleaned or "app"
