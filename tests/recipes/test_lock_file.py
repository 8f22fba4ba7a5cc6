"""A lock pins a recipe, the same on every machine."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import git_sha1, sha256
from preheat.core.errors import UsageError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.recipes.depends import Depends
from preheat.recipes.lock_file import Archive, Lock, Pinned, lock_path, read_lock
from preheat.recipes.lock_writer import lock_text
from preheat.recipes.recipe import Need, Recipe, read_recipe
from preheat.recipes.recipe_writer import recipe_text
from preheat.verbs.lock import keep_lock, moved

# Usual and unusual file names: quotes, spaces, control characters above 31; no backslash.
SEGMENT = st.text(
    st.characters(min_codepoint=32, exclude_characters="/\\", exclude_categories=["Cs"]), min_size=1, max_size=12
)
PATHS = st.lists(SEGMENT.filter(lambda name: name not in (".", "..")), max_size=6, unique=True)
HEX = st.integers(0, 2**160 - 1).map(lambda number: f"{number:040x}")
DIGESTS = HEX.map(git_sha1) | HEX.map(lambda value: sha256(value + "0" * 24))
REFS = st.sampled_from(
    [
        "hf:acme/one",
        "hf:acme/one@fp16",
        "ms:acme/one",
        "hf:datasets/acme/rows",
        f"https://h.example/f#sha256={'a' * 64}",
    ]
).map(Ref.parse)


@st.composite
def pinned(draw: st.DrawFn) -> Pinned:
    need = Need(
        draw(REFS),
        tuple(draw(st.lists(SEGMENT, max_size=3))),
        draw(st.sampled_from(["hf-cache", "flat"])),
        draw(st.just("") | SEGMENT),
        tuple(draw(st.lists(REFS, max_size=2))),
        draw(st.dictionaries(SEGMENT, SEGMENT, max_size=2)),
    )
    need = replace(need, link=draw(st.sampled_from(["", "symlink", "hardlink", "copy"])))
    files = tuple(File(path, draw(st.integers(0, 2**50)), draw(DIGESTS)) for path in sorted(draw(PATHS)))
    commit, depends, archive = draw(HEX), None, None
    match draw(st.sampled_from(["hub", "made", "archive"])):
        case "made":
            need = replace(need, ref=Ref.parse("made:my-app/cache"))
            packages = st.dictionaries(SEGMENT, SEGMENT, max_size=2)
            depends = draw(st.none() | st.builds(Depends, SEGMENT | st.just(""), st.just("x86_64"), packages, SEGMENT))
        case "archive":
            need = replace(need, ref=Ref.parse(f"https://h.example/f#sha256={'a' * 64}"), same=(), unpack="zip")
            commit = need.ref.revision
            archive = draw(st.none() | st.builds(Archive, st.integers(0, 2**50), st.just(need.ref.digest)))
    return Pinned(need, Snapshot(need.stored, commit, files), archive=archive, depends=depends)


# Needs with equal fields are the same need.
NEEDS = st.lists(pinned(), max_size=4, unique_by=lambda one: repr(one.need)).map(tuple)
READS = st.lists(
    SEGMENT.map("{dir}/%s\t0-4096\n".__mod__).filter(lambda line: line.replace("\t", "")[:-1].isprintable())
)
LOCKS = st.builds(Lock, NEEDS, READS.map("".join).filter(lambda text: "'''" not in text))


@given(lock=LOCKS)
def test_a_written_lock_is_read_back_the_same(tmp_path_factory: object, lock: Lock) -> None:
    path = Path(tmp_path_factory.mktemp("lock")) / "preheat.lock"  # type: ignore[attr-defined]
    keep_lock(path, lock)
    assert read_lock(path) == lock
    assert path.read_text() == lock_text(lock, path.parent)


@given(lock=LOCKS)
def test_applying_a_lock_leaves_other_needs_unchanged(lock: Lock) -> None:
    recipe = Recipe("talk", Path("/app"), needs=tuple(one.need for one in lock.needs))
    assert lock.stale(recipe) == ()
    for need, pin in zip(recipe.needs, lock.apply(recipe).needs, strict=True):
        assert pin.ref.pinned
        assert (pin.files, pin.view, pin.at, pin.to) == (need.files, need.view, need.at, need.to)
        assert pin.locked is not None
    other = replace(recipe, needs=tuple(replace(need, at=f"{need.at}!") for need in recipe.needs))
    assert lock.apply(other) == other
    assert lock.stale(other) == tuple(
        f"{ref} differs from the lock" for ref in dict.fromkeys(n.ref for n in other.needs)
    )


def test_a_lock_without_a_start_list_is_read_and_written_as_before(tmp_path: Path) -> None:
    path = tmp_path / "preheat.lock"
    path.write_text("version = 1\n")
    before = read_lock(path)
    assert before == Lock(())
    assert "start" not in lock_text(before, tmp_path)


def test_what_no_line_of_a_start_list_can_have_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "preheat.lock"
    path.write_text("version = 1\n[start]\nreads = \"{dir}/a\\u0001\\n{dir}/b\\n{dir}/c'''\\n\\n{dir}/d\"\n")
    lock = read_lock(path)
    assert lock is not None
    keep_lock(path, lock)
    assert read_lock(path) == Lock((), "{dir}/b\n{dir}/d\n")


@pytest.mark.parametrize("words", ["reads = 1", "reads = []", 'read = ""', "reads"])
def test_a_start_list_of_another_form_is_a_mistake_with_its_line(tmp_path: Path, words: str) -> None:
    path = tmp_path / "preheat.lock"
    path.write_text(f"version = 1\n[start]\n{words}\n")
    with pytest.raises(UsageError, match=r"preheat\.lock"):
        read_lock(path)


@given(lock=LOCKS)
def test_an_unchanged_need_is_not_reported_as_moved(lock: Lock) -> None:
    assert moved(lock, lock) == ()


def test_a_folder_next_to_the_recipe_is_stored_relative_to_it(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    ref = Ref.parse(f"file:{here}/weights")
    lock = Lock((Pinned(Need(ref), Snapshot(ref, "0" * 40, ())),))
    keep_lock(here / "preheat.lock", lock)
    (there / "preheat.lock").write_bytes((here / "preheat.lock").read_bytes())
    moved_lock = read_lock(there / "preheat.lock")
    assert moved_lock is not None
    assert moved_lock.needs[0].need.ref.repo == f"{there}/weights"
    assert str(tmp_path) not in (here / "preheat.lock").read_text()


def test_a_recipe_is_written_and_read_with_all_that_a_need_says(tmp_path: Path) -> None:
    address = f"https://h.example/words.zip#sha256={'a' * 64}"
    depends = Depends("3.11", "x86_64", {"pynini": "2.1.6", "odd name": "1"}, "")
    needs = (
        Need(Ref.parse(address), ("stop/*",), "flat", "{home}/nltk_data", unpack="zip", link="copy"),
        Need(Ref.parse("made:app/tagger-fst"), view="flat", at="{site-packages}/tn", depends=depends),
        Need(Ref.parse(address), view="flat", at="~/x", link="hardlink"),
    )
    path = tmp_path / "preheat.toml"
    path.write_text(recipe_text(Recipe("app", tmp_path, needs=needs)))
    again = read_recipe(path)
    assert again.needs == needs
    assert again.needs[1].depends == depends


@pytest.mark.parametrize(
    ("words", "line", "why"),
    [
        ('ref = "hf:a/b"\nunpack = "zip"', 5, "only the archive at"),
        ('ref = "https://h.example/f#sha256=AAA"\nunpack = "rar"', 5, "not a kind of archive"),
        ('ref = "zip:https://h.example/f#sha256=AAA"', 4, "write unpack"),
        ('ref = "hf:a/b"\nlink = "reflink"', 5, "not a kind of link"),
        ('ref = "hf:a/b"\nat = "{hone}/x"', 5, "not a place"),
        ('ref = "hf:a/b"\ndepends = { python = "3.11" }', 5, "only what an app's start made"),
        ('ref = "made:justone"', 4, "does not name what"),
    ],
)
def test_a_need_that_contradicts_itself_is_a_mistake_with_its_line(
    tmp_path: Path, words: str, line: int, why: str
) -> None:
    path = tmp_path / "preheat.toml"
    path.write_text(f'[app]\nname = "x"\n[[needs]]\n{words.replace("AAA", "a" * 64)}\n')
    with pytest.raises(UsageError, match=rf"preheat.toml:{line}: .*{why}"):
        read_recipe(path)


def test_there_is_one_line_per_file_in_the_order_of_paths(tmp_path: Path) -> None:
    ref = Ref.parse("acme/one")
    files = tuple(File(path, 3, git_sha1("0" * 40)) for path in ("b", "a/c", "a/b"))
    text = lock_text(Lock((Pinned(Need(ref), Snapshot(ref, "1" * 40, files)),)), tmp_path)
    assert [line.split('"')[1] for line in text.splitlines() if "digest" in line] == ["a/b", "a/c", "b"]


def test_the_lock_is_next_to_its_recipe(tmp_path: Path) -> None:
    recipe = Recipe("talk", tmp_path, path=tmp_path / "talk.toml")
    assert lock_path(recipe) == tmp_path / "talk.lock"
    assert lock_path(replace(recipe, path=None)) == tmp_path / "preheat.lock"
    assert read_lock(lock_path(recipe)) is None
