"""Inference: a recipe contains the files that a start read, and no other large ones."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File
from preheat.recipes.inference.infer import LARGE, infer
from preheat.recipes.inference.observation import HubFile, Loaded, Made, Observation, Opened
from preheat.recipes.recipe import Recipe, read_recipe
from preheat.recipes.recipe_writer import recipe_text

APP, CACHE, XDG, TORCH = "/srv/app", "/tmp/t/hf", "/tmp/t/xdg", "/tmp/t/torch"
CACHES = {"HF_HOME": CACHE, "XDG_CACHE_HOME": XDG, "TORCH_HOME": TORCH}
COMMIT = "c" * 40


def digest(number: int) -> str:
    return f"{number:064x}"


def served(path: str, number: int, size: int = 5 * LARGE, repo: str = "acme/one") -> HubFile:
    return HubFile(Ref.parse(repo), COMMIT, File(path, size, sha256(digest(number))))


def opened(path: str, number: int, at: float = 1.0, size: int = 5 * LARGE) -> Opened:
    return Opened(path, at, size, frozenset([sha256(digest(number))]))


def hf(path: str, repo: str = "acme/one", cache: str = f"{CACHE}/hub") -> str:
    return f"{cache}/models--{repo.replace('/', '--')}/snapshots/{COMMIT}/{path}"


def seen(**facts: object) -> Observation:
    return replace(Observation("talk", APP, (f"{APP}/.venv/bin/python", "app.py"), caches=CACHES), **facts)  # type: ignore[arg-type]


def test_a_downloaded_and_never_opened_file_is_left_out_with_its_size() -> None:
    found = infer(
        seen(
            served=(served("model.safetensors", 1), served("conformer_shaw.pt", 2, 2_300_000_000)),
            opened=(opened(hf("model.safetensors"), 1),),
        )
    )
    [need] = found.recipe.needs
    assert (need.ref, need.files, need.view, need.at) == (Ref.parse("acme/one"), ("model.safetensors",), "hf-cache", "")
    [left] = found.left_out
    assert (left.size, left.reason) == (2_300_000_000, "downloaded, never opened")
    assert "conformer_shaw.pt" in left.what
    assert found.recipe.command == ("{dir}/.venv/bin/python", "app.py")


def test_nothing_is_left_out_if_native_opens_are_not_observed_or_if_requested() -> None:
    facts = seen(served=(served("a.bin", 1),))
    assert infer(facts).recipe.needs == ()
    assert infer(facts, keep_unread=True).recipe.needs[0].files == ("a.bin",)
    assert infer(replace(facts, sees_native=False)).recipe.needs[0].files == ("a.bin",)


@pytest.mark.parametrize(
    ("path", "view", "at", "to"),
    [
        (f"{APP}/weights/voices/a.bin", "flat", "weights", {}),
        (f"{APP}/kept/voices/a.bin", "local-dir", "kept", {}),
        (f"{APP}/other.bin", "flat", ".", {"voices/a.bin": "other.bin"}),
        (hf("voices/a.bin", cache=f"{APP}/checkpoints/hf_cache"), "hf-cache", "checkpoints/hf_cache", {}),
        (hf("voices/a.bin", cache="/data/hf"), "hf-cache", "/data/hf", {}),
        (f"{CACHE}/hub/models--acme--one/blobs/{digest(1)}", "hf-cache", "", {}),
        ("/data/ms/models/acme/one/voices/a.bin", "modelscope-old", "/data/ms", {}),
        ("/data/ms/models/acme--one/snapshots/master/voices/a.bin", "modelscope", "/data/ms", {}),
        (f"{XDG}/talk/voices/a.bin", "flat", ".preheat/XDG_CACHE_HOME/talk", {}),
    ],
)
def test_the_layout_is_detected_from_the_opened_path(path: str, view: str, at: str, to: dict[str, str]) -> None:
    facts = seen(served=(served("voices/a.bin", 1),), opened=(opened(path, 1),), local_dirs=frozenset([f"{APP}/kept"]))
    [need] = infer(facts).recipe.needs
    assert (need.view, need.at, need.to) == (view, at, to)


def test_an_apps_own_copy_of_a_file_does_not_hide_the_one_in_the_cache() -> None:
    facts = seen(
        served=(served("merges.txt", 1),),
        opened=(opened(hf("merges.txt"), 1), opened(f"{APP}/assets/merges.txt", 1)),
    )
    assert {(need.view, need.at) for need in infer(facts).recipe.needs} == {("flat", "assets"), ("hf-cache", "")}


def test_a_file_copied_out_of_the_cache_is_placed_there_and_in_the_cache() -> None:
    facts = seen(
        served=(served("a.bin", 1),),
        opened=(opened(f"{APP}/checkpoints/a.bin", 1),),
        copied=((hf("a.bin"), f"{APP}/checkpoints/a.bin"),),
    )
    assert {(need.view, need.at) for need in infer(facts).recipe.needs} == {("flat", "checkpoints"), ("hf-cache", "")}


def test_a_file_from_another_server_becomes_an_address_with_its_digest() -> None:
    url = "https://example.org/models/base.pt"
    facts = seen(
        loaded=(
            Loaded(url, f"{XDG}/whisper/base.pt", 70 * LARGE, sha256(digest(1))),
            Loaded("https://example.org/r18.pth", f"{TORCH}/hub/checkpoints/r18.pth", 9, sha256(digest(2))),
            Loaded("https://example.org/unread.zip", f"{APP}/unread.zip", 2 * LARGE, sha256(digest(3))),
            Loaded("https://example.org/f", f"{APP}/data/voice.wav", 5, sha256(digest(4))),
        ),
        opened=(opened(f"{XDG}/whisper/base.pt", 1), opened(f"{APP}/data/voice.wav", 4, 0.5)),
    )
    found = infer(facts)
    assert [(need.view, need.at, need.to) for need in found.recipe.needs] == [
        ("flat", "data", {"f": "voice.wav"}),
        ("whisper", "", {}),
        ("torch-hub", "", {}),
    ]
    assert str(found.recipe.needs[1].ref) == f"{url}#sha256={digest(1)}"
    assert [left.what for left in found.left_out] == ["https://example.org/unread.zip"]


def test_one_variable_leads_to_one_folder() -> None:
    facts = seen(
        loaded=(
            Loaded("https://example.org/base.pt", f"{XDG}/whisper/base.pt", 9, sha256(digest(1))),
            Loaded("https://example.org/x.onnx", f"{XDG}/other/x.onnx", 9, sha256(digest(2))),
        )
    )
    found = infer(facts).recipe
    assert found.env == {"XDG_CACHE_HOME": "{dir}/.preheat/XDG_CACHE_HOME"}
    assert [(need.view, need.at) for need in found.needs] == [
        ("flat", ".preheat/XDG_CACHE_HOME/whisper"),
        ("flat", ".preheat/XDG_CACHE_HOME/other"),
    ]


def test_equal_bytes_in_two_repositories_are_distinguished_by_their_caches() -> None:
    facts = seen(
        served=(served("config.json", 1, repo="acme/one"), served("config.json", 1, repo="acme/two")),
        opened=(opened(hf("config.json"), 1, 1.0), opened(hf("config.json", "acme/two"), 1, 2.0)),
    )
    assert [(str(need.ref), need.at) for need in infer(facts).recipe.needs] == [
        ("hf:acme/one", ""),
        ("hf:acme/two", ""),
    ]


# ---- laws

FILES = st.dictionaries(
    st.sampled_from(["a.bin", "b.bin", "d/c.json", "weird [1]*.txt"]),
    st.tuples(st.sampled_from([10, LARGE, LARGE + 1, 9 * LARGE]), st.booleans(), st.floats(0, 100)),
)
REPOS = st.dictionaries(st.sampled_from(["acme/one", "acme/two", "datasets/acme/rows"]), FILES)


def observation(repos: dict[str, dict[str, tuple[int, bool, float]]]) -> Observation:
    had, read = [], []
    number = 0
    for repo, files in repos.items():
        slug = Ref.parse(repo).slug
        for path, (size, is_read, at) in files.items():
            number += 1
            had.append(served(path, number, size, repo))
            if is_read:
                read.append(opened(f"{CACHE}/hub/{slug}/snapshots/{COMMIT}/{path}", number, at, size))
    return seen(served=tuple(had), opened=tuple(read), made=(Made(f"{APP}/made.fst", 3), Made("/tmp/else", 4)))


@given(REPOS)
def test_every_file_that_was_read_is_included_and_no_other_large_one(
    repos: dict[str, dict[str, tuple[int, bool, float]]],
) -> None:
    found = infer(observation(repos))
    locked = {(str(one.need.ref), file.path) for one in found.lock.needs for file in one.snapshot.files}
    for repo, files in repos.items():
        for path, (size, is_read, _) in files.items():
            assert ((str(Ref.parse(repo)), path) in locked) == (is_read or size <= LARGE)
    left = sum(size for files in repos.values() for size, is_read, _ in files.values() if not is_read and size > LARGE)
    assert sum(one.size for one in found.left_out) == left


@given(REPOS)
def test_the_recipe_and_its_lock_match_and_are_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, repos: dict[str, dict[str, tuple[int, bool, float]]]
) -> None:
    found = infer(observation(repos))
    assert found.lock.stale(found.recipe) == ()
    for one in found.lock.needs:
        assert one.snapshot.only(one.need.files) == one.snapshot, "the patterns mean the files, strange names too"
    path = Path(tmp_path_factory.mktemp("draft")) / "preheat.toml"
    path.write_text(recipe_text(found.recipe, ["left out: one\nline"]), encoding="utf-8")
    again = read_recipe(path)
    assert again.needs == found.recipe.needs
    assert (again.name, again.makes) == (found.recipe.name, ("made.fst",))


@given(REPOS)
def test_needs_and_files_are_in_the_order_in_which_they_are_read(
    repos: dict[str, dict[str, tuple[int, bool, float]]],
) -> None:
    found: Recipe = infer(observation(repos)).recipe
    firsts = []
    for need in found.needs:
        files = repos[str(need.ref).removeprefix("hf:")]
        times = [at if is_read else float("inf") for _, is_read, at in (files[_plain(path)] for path in need.files)]
        assert times == sorted(times)
        firsts.append(times[0])
    assert firsts == sorted(firsts)


def _plain(pattern: str) -> str:
    return pattern.replace("[[]", "[").replace("[*]", "*")
