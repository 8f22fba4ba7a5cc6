"""Hints: each command that a message names is known here, and works when it is typed."""

import ast
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
from tests.stories.caches import hf_cache, write

SOURCE = Path(parser.__code__.co_filename).parents[1]
COMMAND = re.compile(rf"\bpreheat (?:{'|'.join(sorted(VERBS, key=len, reverse=True))})\b")
# Examples of the help, which are tested elsewhere, and what is written into files.
ELSEWHERE = (
    "cli/options/",
    "cli/parser.py",
    "deploy/",
    "oci/config/",
    "oci/layers/",
    "recipes/lock_writer.py",
    "verbs/building/docker_context.py",
)

# Each text of the code that names a command, with the command that a user then types in the folder of `world`; "" for
# texts that name none to type.
TYPED = {
    "run preheat mirror where the container can reach it, and name it in the recipe: env = "
    '{ HF_ENDPOINT = "http://HOST:8000", MODELSCOPE_ENDPOINT = "http://HOST:8000" }': "",
    "{} in the library that no start opened: preheat prune --unread --yes removes them": "preheat prune --unread --yes",
    "Basic realm=\"preheat mirror: the token as the password\", charset=\"UTF-8\"": "",
    "Bearer realm=\"preheat mirror\"": "",
    "The last line of preheat prove --json": "",
    "Found by preheat trace on {}, from one start. Files that only later use needs are not in it.": "",
    "another preheat trace is running in {}": "",
    "{}: preheat pull and run need --allow-place {}: {}": "preheat pull --allow-place .",
    "command = […] in [app], or preheat run APP -- CMD": "preheat run preheat.toml -- true",
    "digests: none shipped; preheat lock pins those that the hub lists": "preheat lock",
    "do not trust this hub; preheat lock --check lists what changed": "preheat lock --check",
    "made:APP/NAME, as `preheat trace` writes it": "",
    "pass the path of a preheat.toml, or a command: preheat run -- CMD": "preheat run -- true",
    "preheat adopt {}": "preheat adopt hub",
    "preheat adopt ~/.cache/huggingface": "preheat adopt ~/.cache/huggingface",
    "preheat lock": "preheat lock",
    "preheat lock {}": "preheat lock preheat.toml",
    "preheat lock --check --replay": "preheat lock --check --replay",
    "preheat lock updates it": "preheat lock",
    "preheat ls lists all models": "preheat ls",
    "preheat ls shows the pins": "preheat ls",
    "preheat mirror": "",
    "preheat mirror: {}, {}": "",
    "preheat prove --json > old.json": "",
    "preheat prune": "preheat prune",
    "preheat prune --old": "preheat prune --old",
    "preheat pull": "preheat pull",
    "preheat pull {}": "preheat pull acme/tiny",
    "preheat pull {} --endpoint made=URL, from a preheat mirror of the library that has it": "",
    "preheat pull owner/name; preheat recipes lists the apps that it knows": "preheat recipes",
    "preheat pull {} for the current version": "preheat pull acme/tiny",
    "preheat pull {}, when no process changes it": "preheat pull file:plain",
    "preheat pull OWNER/NAME --endpoint hf={}": "preheat pull acme/tiny --endpoint hf={url}",
    "preheat recipes": "preheat recipes",
    "preheat recipes --form shows the format": "preheat recipes --form",
    "preheat run": "preheat run",
    "preheat run -- CMD; is a variable in it unset?": "preheat run -- true",
    "preheat run --network none {} shows it again; docs/trace.md says what to do": "preheat run --network watch",
    "preheat run{}": "preheat run preheat.toml",
    "preheat run{} --mmap-weights": "preheat run preheat.toml --mmap-weights",
    "preheat trace": "",
    "preheat trace -- python webui.py": "",
    "preheat unpin {}, then remove it": "preheat unpin acme/tiny",
    "preheat verify --mend, or pull again": "preheat verify --mend",
    "run preheat doctor, then try again": "preheat doctor",
    "run preheat lock while the first hub is available, to record the digests": "preheat lock",
    "run preheat verify on a machine that can write to the library": "preheat verify",
    "run preheat verify, or use another base": "preheat verify",
    "the output of preheat prove gives the reason": "",
    "the source is damaged: run preheat verify, or download it again": "preheat verify",
    "use --size-cap {}G or more, or preheat unpin NAME": "preheat unpin acme/tiny",
    "was it built by preheat build?": "",
    "{}--dir requires one: see preheat recipes": "preheat recipes",
    "{}preheat ls lists all models": "preheat ls",
    "{}preheat recipes lists them": "preheat recipes",
    "{}. Next: preheat run --locked --network none{} {}": "preheat run --locked preheat.toml",
    "{}; not replayed: preheat lock --check --replay {} does that": "preheat lock --check preheat.toml",
    "{}; or make it again: preheat trace": "",
    "{} is not a report of preheat prove": "",
}  # fmt: skip


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
    found = dict(texts())
    assert sorted(found.keys() - TYPED.keys()) == [], "add the new texts to TYPED, with what to type"
    assert sorted(TYPED.keys() - found.keys()) == [], "remove the texts that are gone"


def test_each_option_that_a_hint_names_exists() -> None:
    known = {name for form in parser().verbs.values() for name in form.options()}
    others = {"--create-home", "--system", "--force"}  # of useradd, uv and docker
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                text = " ".join(_text(one) for one in ast.walk(node.value))
                named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
                assert named <= known | others, f"{path.name}: {text}"


RECIPE = f"""[app]
name = "small"
command = [{sys.executable!r}, "-c", "print('listening', flush=True)"]
ready = "line:listening"

[[needs]]
ref = "acme/tiny"
files = ["config.json"]
"""


@pytest.mark.slow
def test_each_of_these_commands_works_as_typed(preheat: Preheat, hub: FlakyHub) -> None:
    write(preheat.folder / "preheat.toml", RECIPE.encode())
    write(preheat.folder / "plain/config.json", b"{}")
    for cache in ("hub", ".cache/huggingface/hub"):
        hf_cache(preheat.folder / cache, "acme/voice", {"config.json": b"{}"})
    for words in (("pull", "acme/tiny"), ("pin", "acme/tiny"), ("lock",)):
        assert preheat(*words).status == 0
    failed = []
    for command in dict.fromkeys(TYPED.values()):
        if command:
            typed = shlex.split(command.format(url=hub.url).replace("~", str(preheat.folder)))
            told = preheat(*typed[1:])
            if told.status:
                failed.append((command, told.status, told.err))
    assert failed == []


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


@pytest.mark.parametrize("name", names())
def test_a_built_in_recipe_keeps_its_name(tmp_path: Path, name: str) -> None:
    assert built_in(name, Path.cwd()).typed == name
    assert built_in(name, tmp_path / "a b").typed == f"{name} --dir '{tmp_path}/a b'"
