"""docs/library-format.md names every file that a library can contain."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from preheat.core.errors import HubUnavailable
from preheat.core.events import Event
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.folder import Folder
from preheat.hubs.hub import Reader
from preheat.library.library import Library
from preheat.net.retry import RetryPolicy
from preheat.transfer.fetch import Policy
from preheat.verbs.pull import pull
from preheat.verbs.pull_sources import PullSource

TEXT = (Path(__file__).parents[2] / "docs/library-format.md").read_text(encoding="utf-8")
WORDS = {
    "ALGORITHM": "(sha256|git-sha1)",
    "FF": "[0-9a-f]{2}",
    "HEX": "([0-9a-f]{64}|[0-9a-f]{40})",
    "HUB": "(hf|ms|url|file)",
    "SLUG": "((models|datasets|spaces)--[A-Za-z0-9_.~ %-]+|[A-Za-z0-9_.~%-]+--[0-9a-f]{16}--[A-Za-z0-9_.~%-]+)",
    "COMMIT": "[0-9a-f]{40}",
    "REVISION": "[A-Za-z0-9_.~%-]+",
    "APP": "[^/]+",
    "VIEW": "[a-z-]+",
    "CRC": "[0-9a-f]{8}",
    "MACHINE": "[A-Za-z0-9._-]+",
    "UID": "[0-9]+",
    "RANDOM": "[a-z0-9_]+",
    "…": ".+",
}
BIG, SMALL = 3_000_000, b'{"sample_rate": 22050}\n'


class Breaking:
    """A hub whose connections break after some bytes, every time."""

    round_trip_s = 0.0

    def __init__(self, hub: Folder, after: int) -> None:
        self._hub = hub
        self._after = after

    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub."""
        return self._hub.resolve(ref)

    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """See Hub."""
        return _BrokenReader(self._hub.open(snapshot, file, start, stop), self._after - start)


class _BrokenReader:
    """A reader that raises after some bytes."""

    prompt = False
    round_trip_s = 0.0

    def __init__(self, reader: Reader, left: int) -> None:
        self._reader = reader
        self._left = left

    def readinto(self, buffer: memoryview) -> int:
        """See Reader."""
        if self._left <= 0:
            raise HubUnavailable("the line broke")
        count = self._reader.readinto(buffer[: self._left])
        self._left -= count
        return count

    def close(self) -> None:
        """See Reader."""
        self._reader.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Make a folder with a large file, a copy of it, a small and an empty file."""
    folder = tmp_path / "a voice, müde"
    (folder / "twins").mkdir(parents=True)
    large = bytes(range(256)) * (BIG // 256)
    (folder / "model.onnx").write_bytes(large)
    (folder / "twins" / "same.onnx").write_bytes(large)
    (folder / "config.json").write_bytes(SMALL)
    (folder / "empty").touch()
    return folder


def preheat(*words: str | Path) -> None:
    command = [sys.executable, "-c", "from preheat.cli.main import main; main()", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def documented() -> dict[str, re.Pattern[str]]:
    table = TEXT.partition("## Layout")[2].partition("\n\nHUB")[0]
    paths = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    one = re.compile("|".join(sorted(WORDS, key=len, reverse=True)))

    def pattern(path: str) -> re.Pattern[str]:
        return re.compile(one.sub(lambda word: WORDS[word[0]], path.replace(".", r"\.")))

    return {path: pattern(path) for path in paths}


def met(library: Path) -> set[str]:
    """Return which documented paths a library has; fail for an undocumented one."""
    kinds = documented()
    found = set()
    for path in library.rglob("*"):
        name = path.relative_to(library).as_posix()
        if path.is_dir():
            continue
        kind = next((kind for kind, pattern in kinds.items() if pattern.fullmatch(name)), None)
        assert kind is not None, f"{name} is in the library, but not in the document"
        found.add(kind)
    return found


def test_a_pulled_library_contains_only_documented_paths(model: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "preheat.toml"
    recipe.write_text(f'[app]\nname = "voice"\n[[needs]]\nref = "file:{model}"\n', encoding="utf-8")
    library = tmp_path / "library"
    preheat("pull", recipe, "--library", library)
    assert met(library) == {
        "format",
        "apps/MACHINE-CRC.json",
        "blobs/ALGORITHM/FF/HEX",
        "records/HUB/SLUG/COMMIT.json",
        "records/HUB/SLUG/refs/REVISION",
        "views/APP/VIEW/…",
        "seals/MACHINE-UID.log",
        "verdicts/ALGORITHM/FF/HEX.json",
    }
    assert (library / "format").read_text() == "1\n"


def test_an_interrupted_pull_leaves_a_partial_and_a_journal_as_documented(model: Path, tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    told: list[Event] = []
    source = PullSource("breaking", Breaking(Folder(), BIG // 2), Ref.parse(f"file:{model}"))
    policy = Policy(1, patience=RetryPolicy(attempts=2, first_wait_s=0.01, lasting_s=0.0))
    with pytest.raises(HubUnavailable):
        pull([source], library, policy, told.append)
    assert {"partial/ALGORITHM-HEX.part", "partial/ALGORITHM-HEX.journal"} <= met(library.root)
    [journal] = (library.root / "partial").glob("*.journal")
    first, *lines = journal.read_text(encoding="ascii").splitlines()
    form = TEXT.partition("## Partials")[2].partition("```\n")[2].partition("```")[0].splitlines()
    size = (model / "model.onnx").stat().st_size
    assert re.fullmatch(form[0].replace("SIZE", str(size)).replace("BOOT", "[0-9a-f-]{32,36}"), first)
    assert {line.split()[0] for line in form[1:]} == {"w", "d"}
    assert lines
    assert all(re.fullmatch(r"[wd] \d+ \d+", line) for line in lines)
    assert journal.with_suffix(".part").stat().st_size == size


def test_blobs_have_the_documented_names_and_modes(model: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    preheat("pull", f"file:{model}", "--library", library)
    blobs = [path for path in (library / "blobs").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in blobs} == {0o444}
    by_inode: dict[int, set[str]] = {}
    for path in blobs:
        by_inode.setdefault(path.stat().st_ino, set()).add(path.parent.parent.name)
    sizes = {path.stat().st_ino: path.stat().st_size for path in blobs}
    both = {"sha256", "git-sha1"}
    assert all(names == (both if sizes[inode] <= 1 << 20 else {"sha256"}) for inode, names in by_inode.items())
    assert sorted(sizes.values()) == [0, len(SMALL), (model / "model.onnx").stat().st_size]


def test_a_record_has_the_fields_of_the_example(model: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    preheat("pull", f"file:{model}", "--library", library)
    [path] = (library / "records").rglob("*.json")
    record = json.loads(path.read_bytes())
    example = json.loads(TEXT.partition("```json")[2].partition("```")[0])
    assert list(record) == list(example)
    assert all(list(file) == list(example["files"][0]) for file in record["files"])
    assert {file["path"] for file in record["files"]} == {"config.json", "empty", "model.onnx", "twins/same.onnx"}
