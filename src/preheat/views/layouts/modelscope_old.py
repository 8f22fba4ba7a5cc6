"""ModelScope cache, old: the layout of modelscope up to 1.37 (hub/utils/caching.py, hub/file_download.py, 1.27).

    models/OWNER/NAME/PATH              with every `.` of NAME as `___`; NAME itself is then a symlink to it
    models/OWNER/NAME/.msc              pickle: [{'Path': PATH, 'Revision': COMMIT}, …], the valid files
    models/OWNER/NAME/.mdl              pickle: {'id': 'OWNER/NAME'}
    models/OWNER/NAME/.mv               Revision:BRANCH,CreatedAt:SECONDS

It stores one revision of a repository at a time. A file is a cache hit if its COMMIT in `.msc` and its COMMIT on the
hub are equal, or one is a prefix of the other; on the hub, that is the commit that last changed the file. With
`local_files_only`, any entry is a hit.
"""

import io
import pickle
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from preheat.core.cache_variables import MODELSCOPE_CACHE
from preheat.core.snapshot import Snapshot
from preheat.views.layouts.modelscope import owner_and_name
from preheat.views.links import AUTO
from preheat.views.revisions import MODELSCOPE_BRANCH, branch_for
from preheat.views.view_protocol import Alias, Piece, PlacedFile, PriorNote, ViewNote

_PROTOCOL = 4


class OldModelScopeCache:
    """See View. `at` is for MODELSCOPE_CACHE."""

    kind = "modelscope-old"
    renames = False
    edited = False

    def __init__(self, ways: Sequence[str] = AUTO) -> None:
        self.ways = ways

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:  # noqa: ARG002 - it has no list of missing files
        """See View. Raise LibraryError if the ref has no owner and name."""
        owner, name = owner_and_name(snapshot.ref)
        models = at / f"{snapshot.ref.kind}s" / owner
        repo = models / name.replace(".", "___")
        pinned = snapshot.ref.pinned
        mine = {file.path: snapshot.commit for file in snapshot.files}
        branch = branch_for(snapshot.ref, MODELSCOPE_BRANCH)
        return (
            *(PlacedFile(repo / file.path, file, yields=pinned) for file in snapshot.files),
            ViewNote(repo / ".mdl", partial(_name, f"{owner}/{name}"), single=True),
            ViewNote(repo / ".mv", partial(_version, branch), single=True),
            # Last: the files that it lists must exist.
            ViewNote(repo / ".msc", partial(_list, repo, mine)),
            *((Alias(models / name, repo.name),) if repo.name != name else ()),
        )

    def environ(self, at: Path) -> dict[str, str]:
        """See View."""
        return {MODELSCOPE_CACHE: str(at)}


class _NoObjects(pickle.Unpickler):
    """Reads only lists, dictionaries and strings: a pickle in a cache must not run code."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a .msc")


def _name(name: str, before: PriorNote) -> bytes | None:
    text = None if before.body is None else _unpickled(before.body)
    if isinstance(text, dict) and text.get("id") == name:
        return before.body
    return pickle.dumps({"id": name}, _PROTOCOL) if before.body is None or before.ours else None


def _version(branch: str, before: PriorNote) -> bytes | None:
    if before.body is not None and before.body.partition(b",")[0].strip() == f"Revision:{branch}".encode():
        return before.body  # with the creation time that the client wrote
    return f"Revision:{branch},CreatedAt:0".encode() if before.body is None or before.ours else None


def _list(repo: Path, mine: dict[str, str], before: PriorNote) -> bytes | None:
    """Return a `.msc` with the files `mine` added and files that no longer exist removed; None if it is unreadable.

    The user's own files keep the commits that the client wrote, since the hub knows those.
    """
    listed = [] if before.body is None else _unpickled(before.body)
    try:
        was = {str(entry["Path"]): str(entry["Revision"]) for entry in listed}  # type: ignore[attr-defined] # any other type raises
    except (TypeError, KeyError):
        if not before.ours:
            return None
        was = {}
    there = {path: text for path, text in was.items() if before.modified_s(repo / path) is not None}
    theirs = {path: text for path, text in there.items() if repo / path in before.theirs}
    entries = there | mine | theirs
    if before.body is not None and entries == was:
        return before.body
    return pickle.dumps([{"Path": path, "Revision": text} for path, text in sorted(entries.items())], _PROTOCOL)


def _unpickled(body: bytes) -> object:
    """Read a pickle of lists, dictionaries and strings; return None if it is anything else."""
    try:
        return _NoObjects(io.BytesIO(body)).load()
    except Exception:  # noqa: BLE001 - a broken pickle can raise any error
        return None
