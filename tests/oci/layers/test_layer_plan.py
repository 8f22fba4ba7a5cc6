"""Which entries go into which layer: everything once, nothing too long, no more than there may be."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.errors import ImageError
from preheat.oci.layers.layer import LARGE, LayerEntry, blob_entry, folder_entry, link_entry
from preheat.oci.layers.layer_plan import Group, Room, plan

SIZES = st.lists(
    st.one_of(st.integers(0, 1000), st.integers(LARGE - 2, LARGE + 2), st.integers(0, 1 << 33)), max_size=40
)


def groups(sizes: list[int], per_group: int = 7) -> list[Group]:
    entries = [entry(number, size) for number, size in enumerate(sizes)]
    parts = [entries[start : start + per_group] for start in range(0, len(entries), per_group)]
    own = Group("own", (folder_entry("opt"), link_entry("opt/link", "..")))
    return [*(Group(f"group {number}", tuple(part)) for number, part in enumerate(parts)), own]


def entry(number: int, size: int) -> LayerEntry:
    return blob_entry(f"f/{number:03}", size, sha256(f"{number:064x}"), Path("/nowhere"))


@given(SIZES, st.integers(30, 127))
def test_every_entry_is_in_one_layer_and_there_are_no_more_than_there_may_be(sizes: list[int], most: int) -> None:
    layers = plan(groups(sizes), Room(most))
    paths = [entry.path for layer in layers for entry in layer.entries]
    assert sorted(paths) == sorted({entry.path for group in groups(sizes) for entry in group.entries})
    assert len(layers) <= most
    for layer in layers:
        assert [one.path.encode() for one in layer.entries] == sorted(one.path.encode() for one in layer.entries)


@given(SIZES)
def test_a_large_file_has_a_layer_of_its_own_while_there_is_room(sizes: list[int]) -> None:
    layers = plan(groups(sizes), Room())
    alone = [layer for layer in layers if len(layer.entries) == 1 and layer.entries[0].size >= LARGE]
    assert len(alone) == sum(size >= LARGE for size in sizes)


@given(st.lists(st.integers(0, 300_000), max_size=60), st.integers(400_000, 2_000_000))
def test_no_layer_is_longer_than_it_may_be(sizes: list[int], most: int) -> None:
    assert all(layer.size <= most for layer in plan(groups(sizes), Room(layer_size=most)))


@given(SIZES)
def test_the_same_entries_make_the_same_layers_in_whatever_order_they_come(sizes: list[int]) -> None:
    there = groups(sizes)
    turned = [Group(group.name, tuple(reversed(group.entries))) for group in there]
    assert [layer.key for layer in plan(there, Room())] == [layer.key for layer in plan(turned, Room())]


def test_a_file_that_is_longer_than_a_layer_may_be_is_refused_with_its_name() -> None:
    with pytest.raises(ImageError, match="f/000 has 11000000000 bytes") as refused:
        plan(groups([11_000_000_000]), Room(layer_size=10 << 30))
    assert refused.value.end == "source"


def test_more_large_files_than_layers_keep_the_largest_apart() -> None:
    sizes = [LARGE + number for number in range(200)]
    layers = plan(groups(sizes, 500), Room(50))
    assert len(layers) <= 50
    assert layers[0].entries[0].size == LARGE + 199
    together = [layer for layer in layers if layer.name == "large files"]
    assert len(together) == 1
    assert max(one.size for one in together[0].entries) < min(layer.entries[0].size for layer in layers[:30])


@pytest.mark.parametrize("name", [".wh.model.bin", "sub/.wh..wh..opq", ".wh.sub/model.bin"])
def test_a_name_that_a_layer_would_take_for_a_removal_is_refused(name: str) -> None:
    named = blob_entry(f"opt/{name}", 3, sha256("0" * 64), Path("/nowhere"))
    with pytest.raises(ImageError, match="removes a file") as refused:
        plan([Group("group", (entry(0, 1), named))], Room())
    assert "--files" in refused.value.hint


def test_a_name_with_the_same_letters_inside_is_not() -> None:
    named = blob_entry("opt/a.wh.b/x.wh.", 3, sha256("0" * 64), Path("/nowhere"))
    assert len(plan([Group("group", (named,))], Room())) == 1
