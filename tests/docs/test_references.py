"""Reference pages: each command is run, or listed with the reason why it is not; each can be parsed."""

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from preheat.cli.parser import parser
from tests.docs.how_to.hub import serving
from tests.docs.how_to.page import ENGLISH, Command, ShownFile, steps, unrun
from tests.docs.how_to.references import REFERENCES
from tests.docs.how_to.world import World

ROOT = Path(__file__).resolve().parents[2]
# Other documents with commands: each by the test that runs or makes them.
ELSEWHERE = {
    "README.md": "tests/installed/test_installed_readme.py",
    "CONTRIBUTING.md": "tests/docs/test_references.py",
    "examples/speech_webui/README.md": "tests/stories/test_demo.py",
}
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
DOCUMENTS += sorted(ROOT.glob("examples/*/README.md"))


def commands(path: Path) -> list[str]:
    return [step.text for step in steps(path.read_text(encoding="utf-8")) if isinstance(step, Command)]


def typed_elsewhere() -> set[str]:
    """Return the commands of how-to pages and the README: they are run, or listed there with a reason."""
    return {one for page in (ROOT / "README.md", *ENGLISH.glob("*.md")) for one in commands(page)}


def left_out(page: str) -> dict[str, str]:
    """Return the beginnings of commands that are not run, with reasons: those of how-to pages count everywhere."""
    shared = [unrun(path.read_text(encoding="utf-8")) for path in ENGLISH.glob("*.md")]
    return {**{entry: reason for one in shared for entry, reason in one.items()}, **REFERENCES[page].unrun}


def test_each_document_with_commands_is_run_here_or_by_another_test() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in DOCUMENTS if commands(path)}
    run = {f"docs/{page}.md" for page in REFERENCES} | {f"docs/how-to/{path.name}" for path in ENGLISH.glob("*.md")}
    translated = {name for name in found if name.startswith("docs/zh-CN/")}
    assert found - translated == run | set(ELSEWHERE)
    assert [test for test in ELSEWHERE.values() if not (ROOT / test).is_file()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_are_in_console_blocks_and_can_be_parsed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    scripts = re.findall(r"^```(?:sh|bash)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert [one for one in scripts if re.match(r"preheat (?!stage \"\$APP\")", one)] == []
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in commands(path):
        if "[options]" in command or "…" in command:  # the form of a command, and a shortened digest
            continue
        for program, *words in parts(command):
            if program == "preheat":
                parser().parse_args(words[: words.index("--")] if "--" in words else words)
            elif program == "make":
                assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE), command


def parts(command: str) -> Iterator[list[str]]:
    """Yield the words of each program that a command line starts, without the files that it redirects to."""
    tokens = shlex.shlex(command, posix=True, punctuation_chars=True)
    tokens.whitespace_split = True
    words: list[str] = []
    for token in tokens:
        if token in ("|", "&&", ";"):
            yield words
            words = []
        elif token in (">", ">>"):
            next(tokens)
        else:
            words.append(token)
    yield words


@pytest.mark.parametrize("page", REFERENCES)
def test_each_reason_is_for_a_command_of_the_page_and_names_a_test_that_exists(page: str) -> None:
    shown = commands(ROOT / f"docs/{page}.md")
    for entry, reason in REFERENCES[page].unrun.items():
        assert any(one.startswith(entry) for one in shown), f"{entry} is not on the page"
        [test] = re.findall(r"tests/[\w/]+\.py", reason)
        assert (ROOT / test).is_file(), test


@pytest.mark.parametrize("page", sorted(path.stem for path in ROOT.glob("docs/zh-CN/*.md") if path.stem != "README"))
def test_a_translated_reference_page_has_the_same_commands_and_names(page: str) -> None:
    def names(path: Path) -> list[str]:
        """The first names of the rows of all tables."""
        return re.findall(r"^\| `([^`]+)`", path.read_text(encoding="utf-8"), re.MULTILINE)

    english, chinese = ROOT / f"docs/{page}.md", ROOT / f"docs/zh-CN/{page}.md"
    assert [re.sub("  +#.*", "", one) for one in commands(chinese)] == commands(english)
    assert names(chinese) == names(english)


def to_run(page: str) -> list[Command | ShownFile]:
    """Return the steps of a page that are typed here."""
    elsewhere, skipped = typed_elsewhere(), left_out(page)
    needed = list(steps((ROOT / f"docs/{page}.md").read_text(encoding="utf-8")))
    return [
        one
        for one in needed
        if isinstance(one, ShownFile)
        or (
            one.text not in elsewhere
            and "[options]" not in one.text
            and not any(one.text.startswith(entry) for entry in skipped)
        )
    ]


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("page", [page for page in REFERENCES if to_run(page)])
def test_the_commands_of_a_reference_page_work_in_their_order(page: str, tmp_path: Path) -> None:
    with ExitStack() as held:
        world = World(tmp_path, held.enter_context(serving(tmp_path / "hub")), held)
        REFERENCES[page].world(world)
        # Each start is observed for another 30 s by default.
        world.names["preheat prove"] = "preheat prove --observe 0s"
        for step in to_run(page):
            if isinstance(step, Command):
                world.type(step)
