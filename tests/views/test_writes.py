"""Whether an app that writes into a view changes the library: by kind of link, as user, as root, and under `run`.

A cell of the table in docs/views.md is what was seen here; `python docs/matrix.py` writes it from writes.json.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat

ROOT = Path(__file__).parents[2]
BODY = b"as it was sealed" * 1000
NOBODY = 65534
LINKS = ["reflink", "hardlink", "symlink", "copy"]
# A shell, since other users may be unable to run the tests' interpreter.
APP = ("sh", "-c", 'LC_ALL=C; printf scribbled 1<>"$0" || true')

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="to be root and somebody else, one must be root"),
]


class Seen:
    """The results, by kind of link and writing user."""

    def __init__(self) -> None:
        self.cells: dict[str, dict[str, str]] = {}

    def __call__(self, link: str, who: str, said: str) -> None:
        self.cells.setdefault(link, {})[who] = said


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    seen = Seen()
    yield seen
    if set(seen.cells) == set(LINKS):
        (ROOT / ".outsiders").mkdir(exist_ok=True)
        (ROOT / ".outsiders/writes.json").write_text(json.dumps({link: seen.cells[link] for link in LINKS}, indent=1))


class Stage:
    """A library with one file, and a view of it in a folder that all users may enter."""

    def __init__(self, folder: Path) -> None:
        (folder / "model").mkdir()
        (folder / "model/weights.bin").write_bytes(BODY)
        self.preheat = Preheat(folder, "http://127.0.0.1:9")
        self.model = f"file:{folder}/model"
        told = self.preheat("pull", self.model)
        assert told.status == 0, told.err
        self.placed = folder / "view/weights.bin"

    @property
    def blob(self) -> bytes:
        (blob,) = (self.preheat.library / "blobs/sha256").glob("*/*")
        return blob.read_bytes()

    def view(self, link: str) -> None:
        told = self.preheat("view", "flat", "view", self.model, "--link", link)
        assert told.status == 0, told.err

    def outcome(self, said: str) -> str:
        """Describe the result."""
        if self.blob != BODY:
            return "**reaches the library**"
        if self.placed.read_bytes() != BODY:
            return "stays in the view"
        if "Permission denied" in said:
            return "denied by the mode"
        assert "Read-only file system" in said
        return "denied: read-only"


@pytest.fixture
def stage(request: pytest.FixtureRequest, open_folder: Path) -> Stage:
    if request.param != "reflink":
        return Stage(open_folder)
    folder = request.getfixturevalue("xfs") / open_folder.name
    folder.mkdir()
    return Stage(folder)


@pytest.mark.parametrize(("stage", "link"), [(link, link) for link in LINKS], indirect=["stage"], ids=LINKS)
def test_a_user_never_changes_the_library(stage: Stage, link: str, seen: Seen) -> None:
    stage.view(link)
    if link in ("reflink", "copy"):
        # There the app owns the file; elsewhere the view's files belong to root, like the library's.
        os.chown(stage.placed, NOBODY, NOBODY)
    told = subprocess.run(
        [*APP, stage.placed], user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, check=True
    )
    said = stage.outcome(told.stderr)
    seen(link, "an ordinary user", said)
    assert stage.blob == BODY


@pytest.mark.parametrize(("stage", "link"), [(link, link) for link in LINKS], indirect=["stage"], ids=LINKS)
def test_root_changes_the_library_through_links(stage: Stage, link: str, seen: Seen) -> None:
    stage.view(link)
    told = subprocess.run([*APP, stage.placed], capture_output=True, text=True, check=True)
    said = stage.outcome(told.stderr)
    seen(link, "root", said)
    assert (stage.blob == BODY) == (link in ("reflink", "copy"))


@pytest.mark.parametrize("stage", ["symlink"], indirect=True)
@pytest.mark.parametrize("link", [*LINKS, "auto"])
def test_root_under_run_is_prevented_wherever_possible(
    stage: Stage, link: str, seen: Seen, request: pytest.FixtureRequest
) -> None:
    if link == "reflink":
        folder = request.getfixturevalue("xfs") / "under-run"
        folder.mkdir()
        stage = Stage(folder)
    recipe = f'[app]\nname = "scribbler"\n[[needs]]\nref = "{stage.model}"\nview = "flat"\nat = "view"\n'
    (stage.preheat.folder / "preheat.toml").write_text(recipe)
    # Whichever kind of link it was before.
    stage.view("copy" if link == "reflink" else "hardlink")
    app = ("--", *APP, str(stage.placed))
    told = stage.preheat("run", "--link", link, "--max-restarts", "0", *app)
    assert told.status == 0, told.err
    said = stage.outcome(told.err)
    if link != "auto":
        seen(link, "root under `run`", said)
    if link != "hardlink":
        assert stage.blob == BODY
    else:
        # It cannot be prevented; it is detected before the next start, quarantined and reported.
        told = stage.preheat("run", "--link", link, *app)
        assert told.status == 5, told.err
        assert "preheat pull" in told.err
        assert {path.read_bytes()[:9] for path in (stage.preheat.library / "quarantine").iterdir()} == {b"scribbled"}
        assert stage.preheat("pull", stage.model).status == 0
        # The file that the app wrote is still there, and counts as the user's.
        assert stage.preheat("run", "--max-restarts", "0", *app).status == 5
        assert stage.preheat("run", "--max-restarts", "0", "--replace", *app).status == 0
        assert stage.blob == BODY
    # Only the app saw the mounts.
    assert str(stage.preheat.library) not in Path("/proc/self/mountinfo").read_text()


def test_a_view_placed_by_pull_and_by_run_is_never_hashed_again(open_folder: Path) -> None:
    stage = Stage(open_folder)
    recipe = f'[app]\nname = "reader"\n[[needs]]\nref = "{stage.model}"\nview = "flat"\nat = "view"\n'
    (open_folder / "preheat.toml").write_text(recipe)
    assert stage.preheat("pull", "preheat.toml").status == 0
    for _ in range(3):
        told = stage.preheat("run", "--json", "--", "true")
        assert told.status == 0
        assert '"event":"reading","purpose":"verify"' not in told.err


def test_the_document_matches_the_results(seen: Seen) -> None:
    if set(seen.cells) != set(LINKS):
        pytest.skip("not all of it could be seen here")
    page = (ROOT / "docs/views.md").read_text(encoding="utf-8")
    for link, row in seen.cells.items():
        assert f"| `{link}` | {' | '.join(row.values())} |" in page
