"""docs/ARCHITECTURE.md says what the tree is, not what it was."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src/preheat"
TEXT = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
LONGEST = 300


def test_every_module_is_named_in_the_row_of_its_room() -> None:
    named = _named()
    here = {
        (path.parent.relative_to(SOURCE).as_posix(), path.stem)
        for path in SOURCE.rglob("*.py")
        if path.stem != "__init__"
    }
    assert here - named == set(), "in the tree, but not in the document"
    assert named - here == set(), "in the document, but not in the tree"


def test_every_path_it_names_exists() -> None:
    quoted = {word for word in re.findall(r"`([^`\s]+)`", TEXT) if "/" in word or word.endswith((".py", ".toml"))}
    paths = {
        word for word in quoted if re.fullmatch(r"\.?[\w-]+(/[\w.-]+)*/?", word) or word.endswith((".py", ".toml"))
    }
    links = {f"docs/{link}" for link in re.findall(r"\]\(([^)#:]+)\)", TEXT)}
    example = {"preheat.toml"}
    assert {"src/preheat/", "pyproject.toml", "cli/people.py", ".ci/run"} <= paths
    assert [path for path in sorted((paths | links) - example) if not _exists(path)] == []


def test_the_floors_drawn_are_those_that_the_linter_holds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = project["tool"]["importlinter"]["contracts"][0]
    drawing = TEXT.partition("<!-- layers")[2].split("```")[1]
    lines = [re.split(r"\s{3,}", line.strip())[0] for line in drawing.splitlines() if line.strip()]
    *floors, alone = [line for line in lines if not line.startswith("─")]
    assert floors == contract["layers"]
    assert [alone] == contract["exhaustive_ignores"]


def test_no_file_has_grown_past_one_noun() -> None:
    lengths = {path.relative_to(SOURCE).as_posix(): _length(path) for path in SOURCE.rglob("*.py")}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}


def _named() -> set[tuple[str, str]]:
    """Read the rows of the tree's table: a room's folder and its modules, or modules that are rooms themselves."""
    named: set[tuple[str, str]] = set()
    room = ""
    for row in re.findall(r"^\|(.*)\|$", TEXT.partition("## 3.")[2].partition("## 4.")[0], re.MULTILINE)[2:]:
        rooms, modules, _ = (re.findall(r"`([^`]+)`", cell) for cell in row.split("|"))
        named |= {(".", word.removesuffix(".py")) for word in rooms if word.endswith(".py")}
        room = next((word.rstrip("/") for word in rooms if word.endswith("/")), room)
        named |= {(room, word) for word in modules}
    return named


def _exists(path: str) -> bool:
    return (ROOT / path).exists() or (SOURCE / path).exists()


def _length(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_two_tests_have_a_file_of_the_same_name() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names)), "pytest takes the second for the first"
