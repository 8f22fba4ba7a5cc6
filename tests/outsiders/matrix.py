"""Matrix: shared by its tests: the client in its environment, the model in its views, and the results."""

import json
import os
import subprocess
from pathlib import Path

from preheat.core.events import Answered
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.core.values.replace import replace
from preheat.views.placer import place
from preheat.views.view_protocol import View
from tests.outsiders.conftest import Served
from tests.views.kept import blob_path, keep_folder, seen

ROOT = Path(__file__).parents[2]
NOTES = ROOT / ".outsiders/matrix.json"
NOWHERE = "http://127.0.0.1:9"
WHOLE: tuple[str, ...] = ()
SUBSET = ("*.json", "voices/*")


def record(client: str, column: str, said: str) -> None:
    """Record a cell of the table in docs/views.md, for docs/matrix.py, and compare it with the table."""
    notes: dict[str, dict[str, str]] = json.loads(NOTES.read_text()) if NOTES.is_file() else {}
    notes.setdefault(client, {})[column] = said
    NOTES.write_text(json.dumps(notes, indent=1))
    table = (ROOT / "docs/views.md").read_text(encoding="utf-8").partition("<!-- matrix -->")[2].partition("<!--")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line]
    written = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows}
    if written.get(client, {}).get(column) != said:
        stale.append(f"{client}, {column}: {said}")


stale: list[str] = []


class Placed:
    """The served model, in a library, and views of it."""

    def __init__(self, served: Served, folder: Path) -> None:
        self.served = served
        self.library = folder / "library"
        self.snapshot = keep_folder(self.library, served.folder, "hf:acme/tiny")

    def place(self, view: View, at: Path, files: tuple[str, ...] = WHOLE, ref: str = "hf:acme/tiny") -> Snapshot:
        snapshot = replace(self.snapshot, ref=Ref.parse(ref)).only(files)
        place(view, snapshot, blob_path(self.library), at, whole=not files)
        return snapshot

    def fetched(self) -> str:
        """Return the files that were sent since the last call."""
        bodies = [e.path for e in self.served.events if isinstance(e, Answered) and e.sent and "/resolve/" in e.path]
        self.served.events.clear()
        return "hit" if not bodies else f"fetches {len(bodies)} of {len(self.snapshot.files)} files"

    def same(self, folder: Path, files: tuple[str, ...] = WHOLE) -> bool:
        """Return whether a folder has the model's bytes, and no files except a client's own."""
        theirs = {name: body for name, body in seen(folder).items() if not name.startswith(".")}
        return theirs == {f.path: (self.served.folder / f.path).read_bytes() for f in self.snapshot.only(files).files}


class Client:
    """A client's own environment, with only PATH from this machine."""

    def __init__(self, python: Path, home: Path, prelude: str) -> None:
        self._python = python
        self._home = home
        self._prelude = prelude

    def __call__(self, expression: str, **environ: str) -> str:
        """Evaluate an expression in the client; return it as text, or the error's name in angle brackets."""
        script = (
            f"import sys\n{self._prelude}\ntry:\n    said = str(({expression}))\n"
            "except Exception as error:\n    said = f'<{type(error).__name__}>'\n"
            "print('said:' + said)"
        )
        environ = {"PATH": os.environ["PATH"], "HOME": str(self._home)} | environ
        done = subprocess.run([self._python, "-c", script], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if line.startswith("said:")][-1].removeprefix("said:")
