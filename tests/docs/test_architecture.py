"""docs/ARCHITECTURE.md matches the tree."""

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src/preheat"
TEXT = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
LONGEST, MOST = 300, 13


def test_every_path_in_it_exists() -> None:
    quoted = {word for word in re.findall(r"`([^`\s]+)`", TEXT) if "/" in word or word.endswith((".py", ".toml"))}
    paths = {
        word for word in quoted if re.fullmatch(r"\.?[\w-]+(/[\w.-]+)*/?", word) or word.endswith((".py", ".toml"))
    }
    links = {f"docs/{link}" for link in re.findall(r"\]\(([^)#:]+)\)", TEXT)}
    example = {"preheat.toml"}
    assert {"src/preheat/", "pyproject.toml", ".ci/run"} <= paths
    assert [path for path in sorted((paths | links) - example) if not _exists(path)] == []


def test_no_file_has_more_than_300_lines() -> None:
    lengths = {path.relative_to(SOURCE).as_posix(): _length(path) for path in SOURCE.rglob("*.py")}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}


def _exists(path: str) -> bool:
    return (ROOT / path).exists() or (SOURCE / path).exists()


def _length(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_every_room_has_a_one_line_description() -> None:
    rooms = {
        path.parent.relative_to(SOURCE).as_posix(): path.read_text(encoding="utf-8") for path in _modules("__init__")
    }
    wrong = {room: text for room, text in rooms.items() if not re.fullmatch(r'"""[A-Z`].*\."""\n', text)}
    # The package's own contains the version, and the API's the functions that users import.
    assert set(wrong) == {".", "api"}


def test_no_room_has_too_many_modules() -> None:
    sizes = Counter(path.parent.relative_to(SOURCE).as_posix() for path in _modules() if path.stem != "__init__")
    assert {room: size for room, size in sizes.items() if size > MOST} == {}


def test_class_names_are_unique() -> None:
    places = defaultdict(list)
    for path in _modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path.relative_to(SOURCE).as_posix())
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_file_names_are_unique() -> None:
    # A verb, its command and its options share a name; so do a hub and the layout of its client.
    verbs = {path.stem for path in (SOURCE / "cli/commands").rglob("*.py")} | {"upkeep"}
    layouts = {path.stem for path in (SOURCE / "views/layouts").glob("*.py")}
    places = defaultdict(list)
    for path in _modules():
        places[path.stem].append(path.relative_to(SOURCE).as_posix())
    intended = verbs | layouts | {"main", "__init__"}
    assert {name: paths for name, paths in places.items() if len(paths) > 1 and name not in intended} == {}


def _modules(stem: str = "*") -> list[Path]:
    return sorted(SOURCE.rglob(f"{stem}.py"))
