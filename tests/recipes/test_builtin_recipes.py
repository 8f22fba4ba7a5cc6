"""The built-in recipes: each can be read, pulled and placed, from a local hub with small files."""

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import pytest

from preheat.core.errors import IntegrityError
from preheat.core.events import Event, Placed
from preheat.core.ref import FOLDER, Ref
from preheat.core.snapshot import Snapshot, listing_commit
from preheat.guard.model.tail import Tail
from preheat.guard.probes.probes import parse_probe
from preheat.hubs.huggingface import HuggingFace
from preheat.hubs.modelscope import ModelScope
from preheat.library.library import Library
from preheat.mirror.api.folders import ServedSnapshot, Shelf
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.server import Server
from preheat.net.http import NetworkSettings, Transport
from preheat.recipes.builtin_recipes import built_in, is_built_in, names, shipped_lock, text_of
from preheat.recipes.recipe import Need, Recipe
from preheat.transfer.fetch import Policy
from preheat.verbs.pull import pull
from preheat.verbs.pull_sources import FileSelection, PullSource
from preheat.verbs.view import place_needs
from preheat.views.layouts.flat import Flat
from preheat.views.layouts.huggingface import HuggingFaceCache
from preheat.views.layouts.modelscope import ModelScopeCache
from preheat.views.layouts.modelscope_old import OldModelScopeCache
from preheat.views.layouts.whisper import Whisper
from preheat.views.view_protocol import View
from tests.authority import authority, trusting
from tests.command import Preheat

NAMED = {
    "indextts2", "indextts2.5", "indextts1.5", "indextts2-hf-cache", "indextts-cache-hub", "openai-whisper",
    "indextts2-modelscope", "indextts2.5-modelscope",
    "faster-whisper", "sdxl", "vllm", "llama-cpp", "cosyvoice2", "cosyvoice3", "f5-tts", "sensevoice",
}  # fmt: skip
LAYOUTS: dict[str, type[View]] = {
    layout.kind: layout for layout in (Flat, HuggingFaceCache, ModelScopeCache, OldModelScopeCache, Whisper)
}
EACH = pytest.mark.parametrize("name", names())


def test_the_documented_recipes_exist() -> None:
    assert set(names()) >= NAMED
    assert not is_built_in("acme/tiny")
    assert not is_built_in("./indextts2")


@EACH
def test_each_has_a_description_and_states_how_it_was_verified(name: str, tmp_path: Path) -> None:
    recipe = built_in(name, tmp_path)
    assert recipe.name == name
    assert recipe.about
    assert recipe.verified
    assert recipe.needs
    assert text_of(name).startswith("# ")
    if recipe.ready:
        assert parse_probe(recipe.ready, Tail()) is not None
        assert recipe.command
    for need in recipe.needs:
        assert need.view in LAYOUTS
        assert bool(need.at) == (need.view == "flat" or name == "indextts-cache-hub")
        if need.ref.hub == "url":
            assert need.ref.digest.hex in need.ref.address, "openai-whisper's addresses hold their own digest"
        if need.ref.hub == "made":
            assert need.optional, "no hub has it"
        elif not need.ref.pinned:
            assert "branch" in recipe.verified or "no pin" in recipe.verified


@EACH
def test_each_can_be_pulled_and_placed(name: str, tmp_path: Path) -> None:
    recipe = built_in(name, tmp_path / "app")
    if recipe.needs[0].ref.hub == "url":
        pytest.skip("its weights are at a fixed address, which no stand-in can have")
    placed: list[Event] = []
    library = Library(tmp_path / "library")
    with stand_ins(recipe, tmp_path) as url:
        transport = Transport(trusting(NetworkSettings(connections=4)))
        for need in of_hubs(recipe):
            hub = HuggingFace(url, transport) if need.ref.hub == "hf" else ModelScope(url, transport)
            pull([PullSource(url, hub, need.ref)], library, Policy(4), placed.append, FileSelection(need.files))
    place_needs(recipe, library, lambda kind: LAYOUTS[kind](), placed.append)
    assert len([event for event in placed if isinstance(event, Placed)]) == len(of_hubs(recipe))


def of_hubs(recipe: Recipe) -> list[Need]:
    """Return the needs that a hub has."""
    return [need for need in recipe.needs if need.ref.hub != "made"]


def test_indextts_finds_all_its_files_where_it_looks(tmp_path: Path) -> None:
    test_each_can_be_pulled_and_placed("indextts2", tmp_path)
    checkpoints = tmp_path / "app" / "checkpoints_2"
    for path in (
        "gpt.pth",
        "qwen0.6bemo4-merge/some",
        "hf_cache/w2v-bert-2.0/model.safetensors",
        "hf_cache/semantic_codec_model.safetensors",
        "hf_cache/campplus_cn_common.bin",
        "hf_cache/bigvgan/bigvgan_generator.pt",
        "../examples/some.wav",
    ):
        assert (checkpoints / path).is_file(), path
    assert not list(checkpoints.rglob("conformer_shaw.pt"))


@pytest.mark.parametrize("name", ["indextts2-modelscope", "indextts2.5-modelscope"])
def test_modelscope_alone_serves_all_that_indextts_requires(name: str, tmp_path: Path) -> None:
    recipe = built_in(name, tmp_path / "app")
    with stand_ins(recipe, tmp_path) as url:
        preheat = Preheat(tmp_path, "https://127.0.0.1:9")
        told = preheat("pull", name, "--dir", "app", "--json", MODELSCOPE_ENDPOINT=url)
    assert told.status == 0, told.out + told.err
    assert [one["ref"].partition("@")[0] for one in told.last["left_out"]] == ["hf:spaces/IndexTeam/IndexTTS-2-Demo"]
    required = [need for need in recipe.needs if not need.optional]
    assert {one["ref"] for one in told.last["snapshots"]} == {str(need.ref) for need in required}
    assert all(need.ref.hub == "ms" for need in required)
    assert recipe.env["USE_MODELSCOPE"] == "true"


@contextmanager
def stand_ins(recipe: Recipe, workplace: Path) -> Iterator[str]:
    """Serve a small file for each one in the recipe, and one more, at any commit that the recipe names."""
    pins: dict[tuple[str, str], Snapshot] = {}
    folders = {}
    for need in of_hubs(recipe):
        folder = workplace / "hub" / need.ref.slug
        for pattern in (*need.files, "conformer_shaw.pt"):
            path = folder / pattern.replace("*", "some")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{need.ref} {pattern}\n")
        kind = "" if need.ref.kind == "model" else f"{need.ref.kind}s/"
        folders[f"{kind}{need.ref.repo}"] = folder
        pins[need.ref.kind, need.ref.repo] = Snapshot(need.ref, need.ref.revision, ())
    shelf = Shelf(folders)

    def find(ref: Ref) -> ServedSnapshot | None:
        known = pins.get((ref.kind, ref.repo))
        if known is None or not known.ref.pinned or ref.hub == FOLDER:
            return shelf.find(ref)
        found = shelf.find(ref.at(ref.branch))
        assert found is not None
        commit = known.commit if ref.hub == "hf" else listing_commit(found.snapshot.files)
        return ServedSnapshot(Snapshot(ref, commit, found.snapshot.files), found.locate, found.revisions)

    with Server(("127.0.0.1", 0), partial(answer, find=find), lambda event: None, tls=authority().context) as server:
        yield server.url


@EACH
def test_the_shipped_digests_are_of_needed_files(name: str, tmp_path: Path) -> None:
    recipe, lock = built_in(name, tmp_path), shipped_lock(name, tmp_path)
    applied = lock.apply(recipe)
    assert sum(need.locked is not None for need in applied.needs) == len(lock.needs), "each is of a need as it stands"
    for need in applied.needs:
        if need.locked is not None:
            assert need.locked.files == need.locked.only([file.path for file in need.locked.files]).files
            assert all(any(fnmatchcase(file.path, one) for one in need.files) for file in need.locked.files)
            globs = [one for one in need.files if "*" in one]
            assert need.partly or (not globs and len(need.files) == len(need.locked.files))


def test_a_built_in_recipe_is_pulled_by_its_shipped_digests(tmp_path: Path) -> None:
    """The local files have other bytes, so with the shipped digests, all of them are rejected."""
    recipe = shipped_lock("indextts2", tmp_path).apply(built_in("indextts2", tmp_path / "app"))
    with stand_ins(recipe, tmp_path) as url:
        hub = HuggingFace(url, Transport(trusting(NetworkSettings(connections=4))))
        for need in recipe.needs:
            if need.locked is not None:
                selection = FileSelection(need.files, locked=need.locked, partly=need.partly)
                with pytest.raises(IntegrityError, match="does not match the lock"):
                    pull([PullSource(url, hub, need.ref)], Library(tmp_path / "library"), Policy(4), print, selection)
    assert not list((tmp_path / "library").rglob("*.json"))
