"""ModelScope cache, old: the layout of modelscope up to 1.37 (hub/utils/caching.py, hub/file_download.py, 1.27).

    models/OWNER/NAME/PATH              with every `.` of NAME as `___`; NAME as it is, if that differs, a symlink to it
    models/OWNER/NAME/.msc              pickle: [{'Path': PATH, 'Revision': COMMIT}, …], the files that count
    models/OWNER/NAME/.mdl              pickle: {'id': 'OWNER/NAME'}
    models/OWNER/NAME/.mv               Revision:BRANCH,CreatedAt:SECONDS

One revision of a repository at a time. A file is a hit when one of its COMMIT here and its COMMIT on the hub begins
with the other; the hub's is the commit that changed the file last. With `local_files_only`, any entry will do.
"""

import io
import pickle
from collections.abc import Sequence
from pathlib import Path

from preheat.snapshot import Snapshot
from preheat.views.links import AUTO
from preheat.views.modelscope import owner_and_name
from preheat.views.placer import Placer
from preheat.views.revisions import MODELSCOPE_BRANCH, branch_for
from preheat.views.view import BlobPath, Placement

_PROTOCOL = 4


class OldModelScopeCache:
    """See View. `at` becomes a MODELSCOPE_CACHE."""

    kind = "modelscope-old"
    renames = False

    def __init__(self, ways: Sequence[str] = AUTO) -> None:
        self._ways = ways

    def place(self, snapshot: Snapshot, blob_path: BlobPath, at: Path, *, whole: bool) -> Placement:  # noqa: ARG002 - it has no list of what is missing
        """See View. Raise LibraryError for what has no owner and name."""
        owner, name = owner_and_name(snapshot.ref)
        placer = Placer(blob_path, self._ways)
        models = at / f"{snapshot.ref.kind}s" / owner
        repo = models / name.replace(".", "___")
        for file in snapshot.files:
            placer.put(file, repo / file.path)
        mine = {file.path: snapshot.commit for file in snapshot.files}
        entries = {path: said for path, said in _entries(repo / ".msc").items() if (repo / path).exists()} | mine
        listed = [{"Path": path, "Revision": said} for path, said in sorted(entries.items())]
        branch = branch_for(snapshot.ref, MODELSCOPE_BRANCH)
        placer.write(repo / ".mdl", pickle.dumps({"id": f"{owner}/{name}"}, _PROTOCOL))
        placer.write(repo / ".mv", f"Revision:{branch},CreatedAt:0".encode())
        # Last: what it names is there.
        placer.write(repo / ".msc", pickle.dumps(listed, _PROTOCOL))
        if repo.name != name:
            placer.point(models / name, repo.name)
        return placer.placement()

    def environ(self, at: Path) -> dict[str, str]:
        """See View."""
        return {"MODELSCOPE_CACHE": str(at)}


class _NoObjects(pickle.Unpickler):
    """Reads lists, dictionaries and strings alone: what lies in a cache is not to be run."""

    def find_class(self, module: str, name: str) -> object:
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a .msc")


def _entries(at: Path) -> dict[str, str]:
    """Read which files a `.msc` lists, by path; nothing from one that is not there or not understood."""
    try:
        listed = _NoObjects(io.BytesIO(at.read_bytes())).load()
        return {str(entry["Path"]): str(entry["Revision"]) for entry in listed}
    except Exception:  # noqa: BLE001 - a broken pickle raises whatever it likes; the client would start anew, too
        return {}
