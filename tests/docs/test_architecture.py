"""docs/ARCHITECTURE.md says what the tree is, not what it was."""

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src/preheat"
TEXT = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
LONGEST, MOST = 300, 13


def test_every_path_it_names_exists() -> None:
    quoted = {word for word in re.findall(r"`([^`\s]+)`", TEXT) if "/" in word or word.endswith((".py", ".toml"))}
    paths = {
        word for word in quoted if re.fullmatch(r"\.?[\w-]+(/[\w.-]+)*/?", word) or word.endswith((".py", ".toml"))
    }
    links = {f"docs/{link}" for link in re.findall(r"\]\(([^)#:]+)\)", TEXT)}
    example = {"preheat.toml"}
    assert {"src/preheat/", "pyproject.toml", ".ci/run"} <= paths
    assert [path for path in sorted((paths | links) - example) if not _exists(path)] == []


def test_no_file_has_grown_past_one_noun() -> None:
    lengths = {path.relative_to(SOURCE).as_posix(): _length(path) for path in SOURCE.rglob("*.py")}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST} == {}


def _exists(path: str) -> bool:
    return (ROOT / path).exists() or (SOURCE / path).exists()


def _length(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_every_room_says_in_one_line_what_it_is() -> None:
    rooms = {
        path.parent.relative_to(SOURCE).as_posix(): path.read_text(encoding="utf-8") for path in _modules("__init__")
    }
    wrong = {room: text for room, text in rooms.items() if not re.fullmatch(r'"""[A-Z`].*\."""\n', text)}
    # The package's own has the version, and the API's is what its users import.
    assert set(wrong) == {".", "api"}


def test_no_room_is_too_large_to_look_over() -> None:
    sizes = Counter(path.parent.relative_to(SOURCE).as_posix() for path in _modules() if path.stem != "__init__")
    assert {room: size for room, size in sizes.items() if size > MOST} == {}


def test_a_class_name_means_one_thing() -> None:
    places = defaultdict(list)
    for path in _modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path.relative_to(SOURCE).as_posix())
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_a_file_name_means_one_thing() -> None:
    # A verb has its story, its command and its options; a hub and the layout of its own client have one name.
    verbs = {path.stem for path in (SOURCE / "cli/commands").rglob("*.py")} | {"upkeep"}
    layouts = {path.stem for path in (SOURCE / "views/layouts").glob("*.py")}
    places = defaultdict(list)
    for path in _modules():
        places[path.stem].append(path.relative_to(SOURCE).as_posix())
    intended = verbs | layouts | {"main", "__init__"}
    assert {name: paths for name, paths in places.items() if len(paths) > 1 and name not in intended} == {}


def _modules(stem: str = "*") -> list[Path]:
    return sorted(SOURCE.rglob(f"{stem}.py"))
