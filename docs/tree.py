"""Tree: the rooms and modules of the package, as their own docstrings and `pyproject.toml` describe them."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src/preheat"
BEGIN, END = "<!-- {}: made by docs/make.py -->\n", "<!-- end of {} -->"


def architecture() -> Iterator[str]:
    """Return ARCHITECTURE.md with the floors and rooms as they are now."""
    text = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
    for name, lines in (("floors", floors()), ("rooms", rooms(SOURCE))):
        text = put(text, name, "```\n" + "\n".join(lines) + "\n```\n")
    yield text


def put(text: str, name: str, part: str) -> str:
    """Return a document with `part` between the marks of `name`."""
    begin, end = BEGIN.format(name), END.format(name)
    before, _, rest = text.partition(begin)
    return before + begin + part + end + rest.partition(end)[2]


def floors() -> Iterator[str]:
    """Yield the layers of the first import contract, top to bottom."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = project["tool"]["importlinter"]["contracts"][0]
    yield from contract["layers"]
    yield ""
    yield from (f"{room}   (on its own: imports nothing else of preheat)" for room in contract["exhaustive_ignores"])


def rooms(folder: Path, depth: int = 0) -> Iterator[str]:
    """Yield a line for each folder of modules."""
    for path in sorted(path for path in folder.iterdir() if (path / "__init__.py").is_file()):
        name = f"{'  ' * depth}{path.name}/"
        yield f"{name:<18}{first_line(path / '__init__.py')}".rstrip()
        yield from rooms(path, depth + 1)


def modules() -> Iterator[str]:
    """Yield docs/tree.md: every module, by room, with the first line of its docstring."""
    yield from ("# Every module", "", "By room, each with the first line of its docstring.")
    for folder in (SOURCE, *sorted(path for path in SOURCE.rglob("*") if (path / "__init__.py").is_file())):
        name = folder.relative_to(SOURCE).as_posix()
        yield from ("", f"## {name}/" if folder != SOURCE else "## preheat/", "")
        yield from (line for line in (first_line(folder / "__init__.py"), "") if line or folder != SOURCE)
        for path in sorted(folder.glob("*.py")):
            if path.name != "__init__.py":
                yield f"- `{path.stem}`: {_without_noun(first_line(path))}"


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def _without_noun(line: str) -> str:
    noun, colon, rest = line.partition(": ")
    return rest if colon and noun.count(" ") < 4 and "`" not in noun else line
