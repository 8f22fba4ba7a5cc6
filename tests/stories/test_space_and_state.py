"""Truth about space and state: what prune keeps, what doctor downloads, where a library may lie, what progress says."""

import signal
from pathlib import Path

import pytest

from preheat.cli.output.progress import DownloadRate
from preheat.core.ref import Ref
from preheat.deploy.guard_zip import keep_guard_zip
from preheat.library.library import Library
from preheat.recipes.builtin_recipes import built_in, shipped_lock
from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.stories.caches import COMMIT, hf_cache, write

RECIPE = b'[app]\nname = "small"\ncommand = ["true"]\n\n[[needs]]\nref = "acme/tiny"\nfiles = ["*.safetensors"]\n'


def versions(preheat: Preheat) -> set[str]:
    return {one["ref"] for one in preheat("ls", "--json").last["versions"]}


# ---- prune --old


@pytest.mark.parametrize(
    "at", ["", 'view = "flat"\nat = "weights"\n', 'view = "flat"\nat = "weights"\nlink = "copy"\n']
)
def test_prune_old_keeps_what_placed_views_use(preheat: Preheat, at: str) -> None:
    write(preheat.folder / "preheat.toml", RECIPE + at.encode())
    hf_cache(preheat.folder / "hub", "acme/voice", {"config.json": b"{}"})
    hf_cache(preheat.folder / "hub", "acme/voice", {"config.json": b"{} "}, COMMIT[::-1])
    assert preheat("adopt", str(preheat.folder / "hub")).status == 0
    assert preheat("lock").status == 0
    assert preheat("pull").status == 0
    before = versions(preheat)
    assert preheat("prune", "--old", "--younger", "0s", "--yes").status == 0
    [gone] = before - versions(preheat)
    assert gone.startswith("hf:acme/voice@"), "the view of the locked model was placed"
    assert preheat("run", "--locked").status == 0


def test_prune_old_keeps_what_built_in_recipes_pin(preheat: Preheat) -> None:
    recipe = shipped_lock("indextts2", Path("/")).apply(built_in("indextts2", Path("/")))
    [need, *_] = [need for need in recipe.needs if need.ref.pinned and need.ref.hub == "hf"]
    hf_cache(preheat.folder / "hub", need.ref.repo, {"config.json": b"{}"}, need.ref.revision)
    hf_cache(preheat.folder / "hub", need.ref.repo, {"config.json": b"{} "}, COMMIT)
    (preheat.folder / f"hub/models--{need.ref.repo.replace('/', '--')}/refs/main").unlink()
    assert preheat("adopt", str(preheat.folder / "hub")).status == 0
    assert preheat("prune", "--old", "--younger", "0s", "--yes").status == 0
    assert versions(preheat) == {str(need.ref)}


# ---- where a library may lie


def test_a_folder_with_other_files_is_no_library(preheat: Preheat) -> None:
    home = preheat.folder / "home"
    write(home / "notes.txt", b"mine")
    for words in (("pull", "acme/tiny"), ("ls",), ("status",)):
        told = preheat(*words, "--library", str(home))
        assert told.status == 2, told.out
        assert "is not a library: it has notes.txt" in told.err
        assert f"--library {home}/preheat" in " ".join(told.err.split())
    assert [path.name for path in home.iterdir()] == ["notes.txt"]
    (preheat.folder / "disk/lost+found").mkdir(parents=True)
    assert preheat("pull", "acme/tiny", "--library", str(preheat.folder / "disk")).status == 0


def test_a_folder_with_only_the_guard_of_a_compose_file_is_a_library(preheat: Preheat, hub: FlakyHub) -> None:
    library = preheat.folder / "new"
    assert keep_guard_zip(library).parent == library
    assert preheat("pull", "acme/tiny", "--library", str(library)).status == 0


# ---- progress


def test_progress_stays_within_its_total() -> None:
    pace = DownloadRate(100, 0.0)
    for at in range(1, 5):
        pace.add(40, float(at))
    assert (pace.done, pace.left_s(4.0)) == (100, 0.0)
    assert pace.rate(4.0) == 40.0


def test_a_log_gets_at_most_a_line_a_minute(preheat: Preheat, hub: FlakyHub) -> None:
    told = preheat("pull", "acme/tiny", "--limit-rate", "4M")
    assert told.status == 0
    assert not [line for line in told.err.splitlines() if " left" in line], told.err


def test_ctrl_c_is_one_message(preheat: Preheat) -> None:
    pulling = preheat.start("pull", "acme/tiny", "--limit-rate", "1M", "--json")
    pulling.event("progress")
    told = pulling.kill(signal.SIGINT)
    assert told.status == 130
    assert [event["kind"] for event in told.events if event["event"] == "error"] == ["PreheatError"]
    assert told.last["message"] == "interrupted"
    assert told.err == ""


# ---- doctor


def test_doctor_downloads_at_most_a_sample(preheat: Preheat) -> None:
    (preheat.folder / "big").mkdir()
    with open(preheat.folder / "big/big.bin", "wb") as big:
        big.truncate(200_000_000)
    with FlakyHub({"acme/big": preheat.folder / "big"}) as far:
        write(
            preheat.folder / "preheat.toml",
            RECIPE.replace(b"acme/tiny", b"acme/big").replace(b"*.safetensors", b"*.bin"),
        )
        told = preheat("doctor", "--json", "--endpoint", f"hf={far.url}")
        assert told.status == 0, told.err
        assert any("with at most 48.0 MB" in event.get("said", "") for event in told.events), told.out
        assert 1_000_000 < far.sent("/resolve/") <= 48_000_000


# ---- names


def test_other_capitals_are_named(preheat: Preheat) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    told = preheat("view", "flat", "out", "Acme/Tiny")
    assert told.status == 5
    assert "has hf:acme/tiny: capital letters count" in " ".join(told.err.split())
    assert Library(preheat.library).find(Ref.parse("Acme/Tiny")) is None
