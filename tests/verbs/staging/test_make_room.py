"""Make room: the choice of what goes, as a law."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import Digest
from preheat.core.ref import Ref
from preheat.library.upkeep.inventory import Blob
from preheat.verbs.staging.make_room import choose
from preheat.verbs.staging.stage_notes import StageNote

REFS = [Ref("hf", "model", f"acme/{name}", f"{index:040x}") for index, name in enumerate("abcd")]
BLOBS = [Blob((Digest("sha256", f"{index:064x}"),), 10 << index, 10 << index, 0.0) for index in range(5)]
NOTES = st.lists(
    st.tuples(st.sets(st.sampled_from(REFS), min_size=1), st.integers(0, 100), st.booleans()), min_size=1, max_size=5
)
CONTENTS = st.fixed_dictionaries({ref: st.sets(st.sampled_from(BLOBS)) for ref in REFS})


def on_disk(versions: set[Ref], contents: Mapping[Ref, set[Blob]]) -> int:
    return sum(blob.blocks for blob in {blob for ref in versions for blob in contents[ref]})


@given(NOTES, CONTENTS, st.integers(0, 100), st.integers(0, 400))
def test_the_oldest_go_until_there_is_room_and_never_those_in_use(
    drawn: list[tuple[set[Ref], int, bool]], contents: dict[Ref, set[Blob]], used_before: int, above: int
) -> None:
    notes = [
        StageNote(str(number), "app", tuple(sorted(versions, key=str)), (), used_at=used_at)
        for number, (versions, used_at, _) in enumerate(drawn)
    ]
    busy = {str(number) for number, (*_, in_use) in enumerate(drawn) if in_use}
    going = choose(notes, contents, used_before, above, lambda note: "busy" if note.name in busy else "")
    assert not busy & {note.name for note in going}
    free = [note for note in notes if note.name not in busy]
    assert {note.name for note in free if note.used_at < used_before} <= {note.name for note in going}
    left = [note for note in notes if note not in going]
    owned = {ref for note in notes for ref in note.versions}
    kept = {ref for note in left for ref in note.versions} | (set(REFS) - owned)
    freed = on_disk(set(REFS), contents) - on_disk(kept, contents)
    assert freed >= above or not [note for note in left if note.name not in busy]
    for number, note in enumerate(going):
        if note.used_at >= used_before:  # it went for its size alone: without it, there was too little room
            others = {ref for one in [*left, note] for ref in one.versions} | (set(REFS) - owned)
            # Only of the last one: one that went before, at the same time too, may have freed nothing.
            later = going[number + 1 :]
            assert later or on_disk(set(REFS), contents) - on_disk(others, contents) < above
