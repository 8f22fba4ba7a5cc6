"""Dependencies: every imported package is declared, so that an installed copy has it."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src/preheat"
WHOLE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = WHOLE["project"]


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


REQUIRED = {_name(one) for one in PROJECT["dependencies"]}
OPTIONAL = {_name(one) for extra in PROJECT["optional-dependencies"].values() for one in extra}


def _imports(tree: ast.AST, at_once: bool = True) -> Iterator[tuple[str, bool]]:
    """Yield each imported top-level module, and whether it is imported at module level."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from _imports(other, at_once)
        elif isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0], at_once
        else:
            yield from _imports(node, at_once and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _foreign(path: Path) -> set[tuple[str, bool]]:
    found = set(_imports(ast.parse(path.read_text(encoding="utf-8"))))
    return {(name, at_once) for name, at_once in found if name not in sys.stdlib_module_names and name != "preheat"}


def test_every_imported_package_is_a_dependency_or_in_an_extra() -> None:
    imported = {name: path for path in SOURCE.rglob("*.py") for name, _ in _foreign(path)}
    unknown = {name: str(path) for name, path in imported.items() if name not in REQUIRED | OPTIONAL}
    assert unknown == {}
    assert REQUIRED - set(imported) == set(), "a dependency that nothing imports"


def test_a_package_of_an_extra_is_imported_only_inside_functions() -> None:
    early = {str(path): name for path in SOURCE.rglob("*.py") for name, at_once in _foreign(path) if at_once}
    assert {path: name for path, name in early.items() if name not in REQUIRED} == {}


def test_the_check_finds_all_imports() -> None:
    text = """
import os, numpy.linalg
if TYPE_CHECKING:
    import never
try:
    from yaml import load
except ImportError:
    pass
class Here:
    import inside
    def late(self):
        import lazily
"""
    found = dict(_imports(ast.parse(text)))
    assert found == {"os": True, "numpy": True, "yaml": True, "inside": True, "lazily": False}


def test_development_packages_are_pinned_by_version_and_hash_and_name_no_index() -> None:
    text = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash=sha256:)", text, re.MULTILINE)
    entries = re.split(r"\n(?=[a-z])", text.strip())
    pinned = {re.split(r"[ ;]", entry, maxsplit=1)[0] for entry in entries if "--hash=sha256:" in entry}
    assert len(pinned) == len(entries)
    assert set(WHOLE["dependency-groups"]["dev"]) <= pinned, "make lock-dev"
    assert {_name(one) for one in pinned} >= REQUIRED | OPTIONAL


def test_the_version_is_in_one_place() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT
