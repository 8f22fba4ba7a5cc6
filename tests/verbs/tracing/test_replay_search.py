"""Replay search: the least demanding recipe with which an app starts, in a bounded number of starts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import SHA256, Digest
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.recipes.inference.infer import Inferred
from preheat.recipes.lock_file import Lock, Pinned
from preheat.recipes.recipe import Need, Recipe
from preheat.verbs.tracing.replaying.replay_search import MOST_REPLAYS, ReplayFound, search
from preheat.verbs.tracing.replaying.replayed_start import INTERRUPTED, Replayed

STRENGTH = {"": 0, "hardlink": 1, "copy": 2}


def inferred(count: int, unread: int = 0) -> Inferred:
    pins = []
    for number in range(count):
        files = [File(f"{one}.bin", 1, Digest(SHA256, f"{one:064x}")) for one in range(1 + unread)]
        ref = Ref.parse(f"https://example.com/{number}#sha256={number:064x}")
        pins.append(Pinned(Need(ref), Snapshot(ref, ref.revision, tuple(files))))
    return Inferred(Recipe("app", Path("/app"), needs=tuple(one.need for one in pins)), Lock(tuple(pins)), ())


def found(count: int, accepts: Callable[[Inferred], bool]) -> tuple[ReplayFound, int]:
    tries: list[Inferred] = []

    def attempt(one: Inferred, words: str) -> Replayed:
        tries.append(one)
        assert tuple(pinned.need for pinned in one.lock.needs) == one.recipe.needs, "recipe and lock agree"
        return Replayed() if accepts(one) else Replayed("it failed")

    fuller = inferred(count, unread=1)
    return search(inferred(count), fuller, attempt, lambda replayed: fuller), len(tries)


@given(st.lists(st.sampled_from(sorted(STRENGTH)), max_size=9))
def test_what_is_found_passes_and_takes_few_starts(wants: list[str]) -> None:
    def accepts(one: Inferred) -> bool:
        return all(STRENGTH[need.link] >= STRENGTH[want] for need, want in zip(one.recipe.needs, wants, strict=True))

    result, count = found(len(wants), accepts)
    assert accepts(result.inferred)
    assert result.replayed.passed
    assert result.count == count <= MOST_REPLAYS
    if not any(wants):
        assert count == 1
    if len(wants) == 1:
        assert [need.link for need in result.inferred.recipe.needs] == wants


def test_one_need_that_requires_copies_does_not_make_the_others_copies() -> None:
    result, _ = found(4, lambda one: one.recipe.needs[2].link == "copy")
    assert [need.link for need in result.inferred.recipe.needs] == ["", "", "copy", ""]


def test_unread_files_are_put_back_before_copies_of_them() -> None:
    result, count = found(1, lambda one: len(one.lock.needs[0].snapshot.files) == 2)
    assert len(result.inferred.lock.needs[0].snapshot.files) == 2
    assert [need.link for need in result.inferred.recipe.needs] == [""]
    assert count == 3


def test_app_that_worked_but_went_online_is_not_tried_with_copies() -> None:
    kinds: list[str] = []

    def attempt(one: Inferred, words: str) -> Replayed:
        kinds.extend(need.link for need in one.recipe.needs)
        return Replayed("it tried to reach example.com", worked=True)

    result = search(inferred(1), inferred(1), attempt, lambda _: inferred(1))
    assert not result.replayed.passed
    assert kinds == [""]


def test_recipe_with_which_the_app_worked_is_returned_if_none_passes() -> None:
    def attempt(one: Inferred, words: str) -> Replayed:
        unread = len(one.lock.needs[0].snapshot.files) == 2
        return Replayed("it went online", worked=True) if unread else Replayed("it failed")

    result = search(inferred(1), inferred(1, unread=1), attempt, lambda _: inferred(1, unread=1))
    assert result.replayed.error == "it went online"
    assert len(result.inferred.lock.needs[0].snapshot.files) == 2


def test_interrupted_replay_ends_the_search_with_the_first_recipe() -> None:
    asked = iter((Replayed("it failed"), Replayed(INTERRUPTED)))
    result = search(inferred(1), inferred(1), lambda one, words: next(asked), lambda _: inferred(1))
    assert result.replayed.error == INTERRUPTED
    assert result.inferred == replace(inferred(1))


@pytest.mark.parametrize("native", [False, True])
def test_unread_files_that_the_second_start_does_not_read_are_left_out_again(native: bool) -> None:
    # Of two files that the first start did not read, the second one reads one; natively, no log has that.
    needed = inferred(1, unread=1)

    def attempt(one: Inferred, words: str) -> Replayed:
        return Replayed() if len(one.lock.needs[0].snapshot.files) >= 2 else Replayed("it failed")

    read = inferred(1) if native else needed
    result = search(inferred(1), inferred(1, unread=2), attempt, lambda _: read)
    assert result.replayed.passed
    assert len(result.inferred.lock.needs[0].snapshot.files) == (3 if native else 2)
    assert result.count == 4
