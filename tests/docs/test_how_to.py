"""How-to pages: each command is run, in the order of the page, or listed with the reason why it is not."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.how_to.hub import serving
from tests.docs.how_to.page import CHINESE, ENGLISH, Command, ShownFile, steps, unrun
from tests.docs.how_to.world import World
from tests.docs.how_to.worlds import WORLDS

PAGES = sorted(path.stem for path in ENGLISH.glob("*.md"))
TRANSLATED = sorted(path.stem for path in CHINESE.glob("*.md"))


def text(folder: Path, page: str) -> str:
    return (folder / f"{page}.md").read_text(encoding="utf-8")


def test_each_page_is_run() -> None:
    assert list(WORLDS) == PAGES


@pytest.mark.parametrize("page", PAGES)
def test_each_page_begins_with_a_command_and_gives_a_reason_for_each_one_that_is_not_run(page: str) -> None:
    commands = [step.text for step in steps(text(ENGLISH, page)) if isinstance(step, Command)]
    assert commands
    for entry, reason in unrun(text(ENGLISH, page)).items():
        assert any(one.startswith(entry) for one in commands), f"{entry} is not on the page"
        assert len(reason) > 10


@pytest.mark.parametrize("page", TRANSLATED)
def test_a_translated_page_has_the_same_commands_and_files(page: str) -> None:
    assert [one.text for one in steps(text(CHINESE, page))] == [one.text for one in steps(text(ENGLISH, page))]
    assert list(unrun(text(CHINESE, page))) == list(unrun(text(ENGLISH, page)))


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work_in_their_order(page: str, tmp_path: Path) -> None:
    left_out = unrun(text(ENGLISH, page))
    with ExitStack() as held:
        world = World(tmp_path, held.enter_context(serving(tmp_path / "hub")), held)
        WORLDS[page](world)
        for step in steps(text(ENGLISH, page)):
            if isinstance(step, ShownFile):
                (world.first.cwd / step.name).write_text(world.local(step.text))
            elif not any(step.text.startswith(one) for one in left_out):
                world.type(step)
