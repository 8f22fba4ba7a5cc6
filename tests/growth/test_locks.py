"""The cost of locks is linear in their files and needs."""

from pathlib import Path

import pytest

from preheat.core.digest import Digest
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.recipes.lock_file import Lock, Pinned
from preheat.recipes.lock_writer import lock_text
from preheat.recipes.recipe import Need, Recipe
from tests.growth.counting import calls_of, grows_as_the_work

COMMIT = "a" * 40


def _files(count: int) -> tuple[File, ...]:
    return tuple(File(f"part-{number}.bin", number, Digest("sha256", f"{number:064x}")) for number in range(count))


def _one_need(files: int) -> Lock:
    ref = Ref.parse("hf:owner/name")
    return Lock((Pinned(Need(ref), Snapshot(ref, COMMIT, _files(files))),))


def _many_needs(needs: int) -> Lock:
    refs = [Ref.parse(f"hf:owner/name-{number}") for number in range(needs)]
    return Lock(tuple(Pinned(Need(ref), Snapshot(ref, COMMIT, _files(1))) for ref in refs))


def test_writing_a_lock_grows_linearly_with_its_files() -> None:
    small, large = _one_need(30), _one_need(300)
    assert grows_as_the_work(
        calls_of(lambda: lock_text(small, Path("/app"))), calls_of(lambda: lock_text(large, Path("/app"))), 10
    )


def test_selecting_files_by_name_grows_linearly() -> None:
    def cost(count: int) -> int:
        snapshot = Snapshot(Ref.parse("hf:owner/name"), COMMIT, _files(count))
        names = [file.path for file in snapshot.files]
        return calls_of(lambda: snapshot.only(names))

    assert grows_as_the_work(cost(30), cost(300), 10)


def test_finding_files_by_path_grows_linearly() -> None:
    def cost(count: int) -> int:
        snapshot = Snapshot(Ref.parse("hf:owner/name"), COMMIT, _files(count))
        return calls_of(lambda: [snapshot.file(file.path) for file in snapshot.files])

    assert grows_as_the_work(cost(30), cost(300), 10)


@pytest.mark.parametrize("question", ["stale", "apply"])
def test_comparing_a_lock_with_its_recipe_grows_linearly_with_needs(question: str) -> None:
    def cost(count: int) -> int:
        lock = _many_needs(count)
        recipe = Recipe("app", Path("/app"), needs=tuple(pinned.need for pinned in lock.needs))
        return calls_of(lambda: getattr(lock, question)(recipe))

    assert grows_as_the_work(cost(30), cost(300), 10)
