"""docs/ARCHITECTURE.md says what the tree is, not what it was."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src/preheat"
TEXT = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
LONGEST = 300


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
