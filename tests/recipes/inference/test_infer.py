"""Inference: a recipe contains the files that a start read, and no other large ones."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File
from preheat.recipes.app_python import AppPython
from preheat.recipes.inference.infer import infer
from preheat.recipes.inference.observation import HubFile, Loaded, Made, Observation, Opened, Unpacked, UnpackedFile
from preheat.recipes.inference.omitted import LARGE
from preheat.recipes.places import Places
from preheat.recipes.recipe import Recipe, read_recipe
from preheat.recipes.recipe_writer import recipe_text

APP, CACHE, XDG, TORCH = "/srv/app", "/tmp/t/hf", "/tmp/t/xdg", "/tmp/t/torch"
HOME, SITE = "/home/u", "/srv/venv/lib/python3.11/site-packages"
PLACES = Places(Path(APP), Path(HOME), Path(f"{HOME}/.cache"), Path("/tmp"), Path(SITE))
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
    return replace(
        Observation("talk", APP, (f"{APP}/.venv/bin/python", "app.py"), caches=CACHES, places=PLACES),
        **facts,  # type: ignore[arg-type]
    )


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
        (f"{XDG}/talk/voices/a.bin", "flat", "{cache}/talk", {}),
        (f"{HOME}/.insightface/voices/a.bin", "flat", "{home}/.insightface", {}),
        (f"{SITE}/talk/voices/a.bin", "flat", "{site-packages}/talk", {}),
        (hf("voices/a.bin", cache=f"{HOME}/.cache/huggingface/hub"), "hf-cache", "", {}),
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
    assert found.env == {}
    assert [(need.view, need.at) for need in found.needs] == [("flat", "{cache}/whisper"), ("flat", "{cache}/other")]


def test_equal_bytes_in_two_repositories_are_distinguished_by_their_caches() -> None:
    facts = seen(
        served=(served("config.json", 1, repo="acme/one"), served("config.json", 1, repo="acme/two")),
        opened=(opened(hf("config.json"), 1, 1.0), opened(hf("config.json", "acme/two"), 1, 2.0)),
    )
    assert [(str(need.ref), need.at) for need in infer(facts).recipe.needs] == [
        ("hf:acme/one", ""),
        ("hf:acme/two", ""),
    ]


# ---- unpacked and made


def unpacked(*names: str, base: str, prefix: str = "", others: tuple[str, ...] = (), size: int = 10) -> Unpacked:
    members = tuple(
        UnpackedFile(name, f"{base}/{name[len(prefix) + 1 :] if prefix else name}", size, sha256(digest(number)))
        for number, name in enumerate(names, 20)
    )
    archive = Loaded("https://example.org/code.zip", "", 99, sha256(digest(9)))
    return Unpacked(archive, "zip", base, prefix, members, others)


def test_an_archive_is_needed_with_the_members_that_were_unpacked_and_where() -> None:
    facts = seen(
        unpacked=(
            unpacked("stopwords/english", "stopwords/README", base=f"{HOME}/nltk_data/corpora"),
            unpacked("v-main/hubconf.py", "v-main/src/a.py", base=f"{TORCH}/hub/o_v_main", prefix="v-main"),
        )
    )
    corpora, code = infer(facts).lock.needs
    assert (corpora.need.unpack, corpora.need.at, corpora.need.files) == ("zip", "{home}/nltk_data/corpora", ())
    assert (code.need.at, code.need.to) == ("{cache}/torch/hub/o_v_main", {"v-main/": ""})
    assert str(code.need.ref) == f"https://example.org/code.zip#sha256={digest(9)}"
    assert code.archive is not None
    assert (code.archive.size, [file.path for file in code.snapshot.files]) == (
        99,
        ["v-main/hubconf.py", "v-main/src/a.py"],
    )


def test_what_a_hub_serves_and_the_app_puts_beside_itself_goes_there_though_it_is_not_read() -> None:
    voice, weights = served("examples/voice.wav", 1, 3 * LARGE), served("all.pt", 2, 3 * LARGE)
    facts = seen(
        served=(voice, weights),
        put=(
            Made(f"{APP}/examples/voice.wav", 3 * LARGE, sha256(digest(1))),
            Made(f"{APP}/hf_cache/all.pt", 3 * LARGE, sha256(digest(2))),
        ),
    )
    [need] = infer(facts).recipe.needs
    assert (need.view, need.at, need.files) == ("flat", ".", ("examples/voice.wav",))


def test_members_that_were_not_unpacked_or_never_read_are_left_out() -> None:
    wheel = unpacked("m/a.bin", "m/b.py", "m-1.dist-info/METADATA", base=SITE, others=("m-1.dist-info/RECORD",))
    [need] = infer(seen(unpacked=(wheel,))).recipe.needs
    assert need.files == ("m-1.dist-info/METADATA", "m/*")
    large = unpacked("m/a.bin", "m/b.py", base=SITE, size=2 * LARGE)
    found = infer(seen(unpacked=(large,)))
    assert [need.files for need in found.recipe.needs] == [("m/b.py",)], "opens of code are not logged"
    assert [(left.what, left.reason) for left in found.left_out] == [
        ("https://example.org/code.zip: m/a.bin", "unpacked, never opened")
    ]
    assert infer(seen(unpacked=(large,)), keep_unread=True).recipe.needs[0].files == ()


def made(path: str, size: int = 10, **facts: object) -> Made:
    return replace(Made(path, size, sha256(digest(len(path)))), **facts)  # type: ignore[arg-type]


def test_what_the_start_wrote_is_needed_by_place() -> None:
    facts = seen(
        made=(
            made(f"{APP}/weights/voice.ckpt", 5 * LARGE),
            made(f"{APP}/own.json"),
            made(f"{XDG}/tiktoken/9b5"),
            made(f"{HOME}/.cache/pip/http-v2/a"),
            made(f"{HOME}/.cache/huggingface/datasets/acme___toy/0.0.0/toy-train.arrow"),
            made(f"{SITE}/sm/native.cpython-311-x86_64-linux-gnu.so"),
            made(f"{SITE}/sm-1.dist-info/METADATA"),
            made(f"{HOME}/.x/deep/down.bin"),
        ),
        opened=(Opened(f"{APP}/weights/voice.ckpt", 0.5, 5 * LARGE),),
        environment=AppPython("3.11", "x86_64"),
    )
    found = {str(one.need.ref): one for one in infer(facts).lock.needs}
    assert {ref: one.need.at for ref, one in found.items()} == {
        "made:talk/dir-weights": "weights",
        "made:talk/dir": ".",
        "made:talk/cache-tiktoken": "{cache}/tiktoken",
        "made:talk/site-packages": "{site-packages}",
        "made:talk/home-x": "{home}/.x",
        "made:talk/cache-huggingface": "{cache}/huggingface",
    }
    assert [file.path for file in found["made:talk/home-x"].snapshot.files] == ["deep/down.bin"]
    depends = found["made:talk/site-packages"].depends
    assert depends is not None
    assert dict(depends.words) == {"python": "3.11", "machine": "x86_64"}
    assert found["made:talk/dir-weights"].depends is None


@pytest.mark.parametrize(
    "path",
    [
        f"{APP}/app.log",
        f"{APP}/logs/today",
        f"{APP}/voice/.git/objects/aa/bb",
        f"{APP}/weights/.cache/huggingface/download/a.bin.metadata",
        f"{HOME}/.cache/huggingface/hub/models--a--b/other",
        f"{APP}/__pycache__/app.cpython-311.pyc",
        f"{APP}/weights/voice.bin.aria2",
        f"{HOME}/.cache/huggingface/token",
        f"{HOME}/.netrc",
        f"{HOME}/.modelscope/credentials/session",
        f"{HOME}/.cache/matplotlib/fontlist-v390.json",
        f"{HOME}/.cache/Microsoft/DeveloperTools/deviceid",
        "/tmp/gradio/aa/out.wav",
        "/tmp/tmpab12cd34/part",
        "/tmp/o.wav",
        "/var/lib/other",
        f"{APP}/outputs/said.wav",
    ],
)
def test_what_programs_write_for_themselves_is_not_needed(path: str) -> None:
    assert infer(seen(made=(made(path),))).recipe.needs == ()


def test_what_is_written_in_the_first_use_is_its_answer_and_a_cache_is_not() -> None:
    answer, cache = made(f"{APP}/answers/one.txt", at=9.0), made(f"{HOME}/.cache/kernels/one.txt", at=9.0)
    before = made(f"{APP}/vocab/one.txt", at=1.0)
    facts = seen(made=(answer, cache, before), used_at=5.0, first="exec:curl http://127.0.0.1:7860/say")
    found = infer(facts).recipe
    assert {need.at for need in found.needs} == {"{cache}/kernels", "vocab"}
    assert found.first == "exec:curl http://127.0.0.1:7860/say"


def test_a_large_file_that_was_written_and_never_opened_is_left_out_with_its_size() -> None:
    facts = seen(made=(made(f"{APP}/dump/all.bin", 3 * LARGE), made(f"{APP}/dump/huge.bin", 9 << 30, digest=None)))
    found = infer(facts)
    assert found.recipe.needs == ()
    assert [(left.what, left.size) for left in found.left_out] == [
        ("{dir}/dump/huge.bin", 9 << 30),
        ("{dir}/dump/all.bin", 3 * LARGE),
    ]
    assert [need.at for need in infer(facts, keep_unread=True).recipe.needs] == ["dump"]


@pytest.mark.parametrize("name", ["zh_tn_tagger.fst", "model.engine", "kernel.cubin", "one.nbc", "rows.arrow"])
def test_what_the_start_compiled_is_kept_although_only_the_next_start_reads_it(name: str) -> None:
    """A real WeText builds its grammar in memory, writes 3.5 MB, and does not open the file in the same start."""
    facts = seen(made=(made(f"{APP}/cache/{name}", size=4 * LARGE), made(f"{APP}/cache/dump.bin", size=4 * LARGE)))
    found = infer(facts)
    assert [[file.path for file in one.snapshot.files] for one in found.lock.needs] == [[name]]
    assert [one.what for one in found.left_out] == ["{dir}/cache/dump.bin"]


def test_a_native_programs_format_names_the_packages_that_it_comes_from() -> None:
    class Packages(AppPython, frozen=True):
        def version(self, package: str) -> str:
            return {"pynini": "2.1.6", "WeTextProcessing": "1.0.4.1", "numba": "0.60"}.get(package, "")

    facts = seen(
        made=(made(f"{APP}/tagger/zh.fst"), made(f"{XDG}/kernels/one.nbi", modules=("numba", "talk"))),
        environment=Packages("3.11", "x86_64"),
    )
    depends = {one.need.at: one.depends for one in infer(facts).lock.needs}
    assert {at: dict(one.packages) for at, one in depends.items() if one} == {
        "tagger": {"pynini": "2.1.6", "WeTextProcessing": "1.0.4.1"},
        "{cache}/kernels": {"numba": "0.60"},
    }


def test_no_path_of_this_machine_is_in_the_recipe() -> None:
    facts = seen(
        served=(served("a.bin", 1),),
        opened=(opened(f"{HOME}/models/a.bin", 1),),
        loaded=(Loaded("https://example.org/x", f"{TORCH}/hub/x", 5, sha256(digest(2))),),
        made=(made(f"{XDG}/made/one"), made("/srv/elsewhere/two")),
        command=(f"{APP}/.venv/bin/python", "app.py", "--models", f"{APP}/models"),
        first=f"exec:{APP}/say.sh",
    )
    text = recipe_text(infer(facts).recipe)
    assert not [word for word in (APP, HOME, XDG, TORCH, CACHE, "/srv", "/tmp") if word in text]


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
    return seen(
        served=tuple(had),
        opened=tuple(read),
        made=(Made(f"{APP}/made.fst", 3, sha256(digest(900))), Made("/tmp/else", 4, sha256(digest(901)))),
    )


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
    assert (again.name, again.makes) == (found.recipe.name, ())
    assert [str(need.ref) for need in again.needs if need.ref.hub == "made"] == ["made:talk/dir"]


@given(REPOS)
def test_needs_and_files_are_in_the_order_in_which_they_are_read(
    repos: dict[str, dict[str, tuple[int, bool, float]]],
) -> None:
    found: Recipe = infer(observation(repos)).recipe
    firsts = []
    for need in found.needs:
        if need.ref.hub == "made":
            continue
        files = repos[str(need.ref).removeprefix("hf:")]
        times = [at if is_read else float("inf") for _, is_read, at in (files[_plain(path)] for path in need.files)]
        assert times == sorted(times)
        firsts.append(times[0])
    assert firsts == sorted(firsts)


def _plain(pattern: str) -> str:
    return pattern.replace("[[]", "[").replace("[*]", "*")


def test_a_session_in_the_temporary_folder_is_not_needed_even_if_it_was_read() -> None:
    session = made("/tmp/.ses")
    facts = seen(made=(session,), opened=(Opened("/tmp/.ses", 1.0, session.size),))
    assert infer(facts).recipe.needs == ()


def test_an_empty_file_of_another_program_is_not_the_repositorys() -> None:
    facts = seen(
        served=(served("model.bin", 1), served("empty.txt", 2, 0)),
        opened=(opened(hf("model.bin"), 1), opened("/usr/lib/python3/urllib/__init__.py", 2, size=0)),
    )
    [need] = infer(facts).recipe.needs
    assert (need.view, set(need.files)) == ("hf-cache", {"model.bin", "empty.txt"})
