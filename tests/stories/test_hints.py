"""Hints: each command that a message names is known here, and works when it is typed."""

import ast
import importlib
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.cli.parser import VERBS, parser
from preheat.recipes.builtin_recipes import built_in, names
from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.stories.caches import write
from tests.stories.hinted import FOLLOWED, NAMED, RECIPE, TYPED, follows, type_all, world

SOURCE = Path(parser.__code__.co_filename).parents[1]
COMMAND = re.compile(rf"\bpreheat (?:{'|'.join(sorted(VERBS, key=len, reverse=True))})\b")
# Examples of the help, which are tested elsewhere, and what is written into files.
ELSEWHERE = (
    "cli/options/",
    "cli/parser.py",
    "deploy/",
    "guard/options.py",
    "oci/config/",
    "oci/layers/",
    "recipes/lock_writer.py",
    "verbs/building/docker_context.py",
)


def texts() -> Iterator[tuple[str, str]]:
    """Yield each text of the code that names a command, with `{}` for what is inserted, and its file."""
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith(ELSEWHERE):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        whole = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        parts = {id(part) for node in whole for part in ast.walk(node) if part is not node}
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if id(node) in docstrings or id(node) in parts:
                continue
            text = _text(node)
            if COMMAND.search(text):
                yield text, name


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_each_command_that_a_message_names_is_run_below() -> None:
    found, known = dict(texts()), {*TYPED, *FOLLOWED, *NAMED}
    assert sorted(found.keys() - known) == [], "add the new texts to TYPED, with what to type"
    assert sorted(known - found.keys()) == [], "remove the texts that are gone"


def test_each_option_that_a_hint_names_exists() -> None:
    known = {name for form in parser().verbs.values() for name in form.options()}
    others = {"--create-home", "--system", "--force"}  # of useradd, uv and docker
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                text = " ".join(_text(one) for one in ast.walk(node.value))
                named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
                assert named <= known | others, f"{path.name}: {text}"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_each_of_these_commands_works_as_typed(preheat: Preheat, hub: FlakyHub) -> None:
    world(preheat)
    assert type_all(preheat, hub) == []


def _of_errors(tree: ast.Module) -> set[int]:
    """Return the texts of a module that errors contain: `dispatch` completes their hints."""
    raised = [node for node in ast.walk(tree) if isinstance(node, ast.Raise | ast.keyword)]
    errors = [node for node in raised if isinstance(node, ast.Raise) or node.arg == "hint"]
    return {id(part) for node in errors for part in ast.walk(node)}


def test_each_result_that_names_a_command_gets_what_was_typed() -> None:
    """A sentence passes as_typed, which adds --library, --endpoint, the folder and the app; notes do so anyway."""
    named, missing = [], []
    for path in sorted((SOURCE / "cli/commands").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        hints = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.FunctionDef)
                 and _makes_hints(node) for part in ast.walk(node)}  # fmt: skip
        for node in ast.walk(tree):
            if not isinstance(node, ast.expr):
                continue
            if COMMAND.search(_text(node)) and id(node) not in {*docstrings, *_of_errors(tree), *hints}:
                named.append(path.name)
                calls = [one.func for one in ast.walk(tree) if isinstance(one, ast.Call)]
                if not any(isinstance(call, ast.Name) and call.id == "as_typed" for call in calls):
                    missing.append(f"{path.name}: {_text(node)}")
    assert missing == []
    assert {"import_.py", "trace.py"} <= set(named)


def _makes_hints(node: ast.Assign | ast.FunctionDef) -> bool:
    """Return whether a statement sets a variable, or a function returns a text, that is the hint of an error."""
    if isinstance(node, ast.FunctionDef):
        return "hint" in (ast.get_docstring(node) or "")
    return any(isinstance(target, ast.Name) and target.id == "hint" for target in node.targets)


def test_no_command_sends_its_events_past_the_listener_that_completes_commands() -> None:
    for path in sorted((SOURCE / "cli/commands").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        owners = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr == "console" and id(node) not in owners:
                raise AssertionError(f"{path.name}:{node.lineno}: pass wiring.on_event, not wiring.console")


def test_the_typed_command_is_that_of_the_text() -> None:
    assert [(text, command) for text, command in TYPED.items() if not follows(text, command)] == []


def test_other_hints_are_followed_by_tests_of_their_own() -> None:
    for text, (module, name) in FOLLOWED.items():
        assert callable(getattr(importlib.import_module(module), name)), text


# ---- the hint has what was typed


def hint_of(preheat: Preheat, *words: str) -> str:
    told = preheat(*words, "--json")
    assert told.status, told.out
    return str(next(event for event in [*told.events, *_errors(told.err)] if event["event"] == "error")["hint"])


def _errors(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def works(preheat: Preheat, hint: str) -> None:
    told = preheat(*shlex.split(hint)[1:])
    assert told.status == 0, f"{hint}: {told.err}"


@pytest.mark.parametrize("folder", [".", "apps/small"])
def test_a_missing_need_leads_to_one_pull_of_the_app(preheat: Preheat, folder: str) -> None:
    text = RECIPE + '\n[[needs]]\nref = "datasets/acme/rows"\nfiles = ["note.txt"]\n'
    write(preheat.folder / folder / "preheat.toml", text.encode())
    path, library = f"{folder}/preheat.toml", str(preheat.folder / "else where")
    words = ("run", *(() if folder == "." else (path,)), "--library", library)
    hint = hint_of(preheat, *words)
    assert hint == f"preheat pull --library '{library}'{'' if folder == '.' else f' {path}'}"
    works(preheat, hint)
    assert preheat(*words).status == 0


def test_a_missing_model_leads_to_its_pull_from_the_same_endpoint_into_the_same_library(
    preheat: Preheat, hub: FlakyHub
) -> None:
    library = str(preheat.folder / "other")
    hint = hint_of(preheat, "view", "flat", "out", "acme/tiny", "--library", library)
    assert hint == f"preheat pull --library {library} hf:acme/tiny"
    works(preheat, hint)
    write(preheat.folder / "preheat.toml", RECIPE.encode())
    endpoint = f"hf={hub.url}"
    hint = hint_of(preheat, "pull", "--locked", "--endpoint", endpoint, "--library", library)
    assert hint == f"preheat lock --library {library} --endpoint {endpoint} preheat.toml"
    works(preheat, hint)


def test_hints_of_lock_keep_the_app_and_the_library(preheat: Preheat) -> None:
    app, library = "my apps/preheat.toml", str(preheat.folder / "else where")
    path = write(preheat.folder / app, RECIPE.encode())
    kept = f"--library '{library}' '{app}'"
    words = ("lock", "--check", app, "--library", library)
    for spoil, hint in (
        (lambda: None, f"preheat lock {kept}"),
        (lambda: path.write_text(RECIPE.replace("config", "same")), f"to update it: preheat lock {kept}"),
    ):
        spoil()
        assert hint_of(preheat, *words) == hint
        works(preheat, hint.partition(": ")[2] or hint)
        assert preheat(*words).status == 0
    hint = hint_of(preheat, "lock", "--replay", app, "--library", library)
    assert hint == f"preheat lock {kept} --check --replay"
    works(preheat, f"preheat pull {kept}")
    works(preheat, hint)


@pytest.mark.slow
def test_what_trace_and_status_name_next_works_with_another_library(preheat: Preheat) -> None:
    library = str(preheat.folder / "else where")
    write(preheat.folder / "webui.py", b"print('listening', flush=True)")
    command, output = (sys.executable, "webui.py"), "my app.toml"
    told = preheat("trace", "-o", output, "--ready", "line:listening", "--library", library, "--", *command)
    assert told.status == 0, told.err
    hint = next(line for line in told.out.splitlines() if "Next: " in line).partition("Next: ")[2]
    assert library in hint
    works(preheat, hint)
    write(preheat.folder / "preheat.toml", RECIPE.encode())
    for verb in ("pull", "lock", "run"):
        steps = preheat("status", "--library", library, "--json").last["next"]
        named = [one["command"] for one in steps if one["command"].startswith(f"preheat {verb}")]
        if verb != "lock" or named:
            works(preheat, named[0])


@pytest.mark.parametrize("name", names())
def test_a_built_in_recipe_keeps_its_name(tmp_path: Path, name: str) -> None:
    assert built_in(name, Path.cwd()).typed == name
    assert built_in(name, tmp_path / "a b").typed == f"{name} --dir '{tmp_path}/a b'"
