"""The dry runs of `adopt` and `build` show the same figures as the execution."""

import os
from pathlib import Path

import pytest

from tests.command import Preheat, Told
from tests.oci.bases import layer, layout
from tests.oci.small_registry import serving
from tests.stories.caches import hf_cache, write
from tests.stories.disk import disk
from tests.stories.kept import settled

WEIGHTS, MORE = os.urandom(2_000_000), os.urandom(1_500_000)
RECIPE = """
[app]
name = "talk"
command = ["true"]
[[needs]]
ref = "{}"
view = "flat"
at = "checkpoints"
"""


def read(told: Told) -> int:
    """Return how many bytes were read or written by the progress events, which must not exceed the total."""
    names = [event["event"] for event in told.events]
    start = len(names) - 1 - names[::-1].index("reading")
    total = told.events[start]["size"]
    assert all(one["done"] <= one["total"] == total for one in told.events[start:] if one["event"] == "progress")
    return int(total)


def test_the_plan_of_adopt_lists_the_files_to_add(preheat: Preheat) -> None:
    """One file is in the library, and one of two caches is on another disk."""
    hf_cache(preheat.folder / "hub", "acme/voice", {"model.bin": WEIGHTS, "config.json": b"{}"})
    assert preheat("adopt", "hub").status == 0
    hf_cache(preheat.folder / "hub", "acme/voice", {"model.bin": WEIGHTS, "more.bin": MORE}, "01" * 20)
    with disk(preheat.folder / "other", "size=50m") as other:
        hf_cache(other.path / "hub", "acme/far", {"far.bin": MORE + b"!"})
        words = (
            "adopt",
            str(preheat.folder / "hub"),
            f"{other.mounted}/hub",
            "--json",
            "--library",
            str(preheat.library),
        )
        before = settled(preheat.library)
        for more, status, copied in (((), 5, 0), (("--copy",), 0, 2 * len(MORE) + 1)):
            dry = preheat(*words, "--dry-run", *more, inside=other.inside)
            assert settled(preheat.library) == before
            assert dry.status == status, dry.out
            assert dry.last["copied"] == copied
            if status:
                assert [one["reason"] for one in dry.events if one["event"] == "left-out"] == [
                    "it is on another filesystem (--copy)"
                ]
        told = preheat(*words, "--copy", inside=other.inside)
    assert told.status == 0, told.out
    figures = ("files", "size", "new", "copied", "left_out", "read")
    assert {name: dry.last[name] for name in figures} == {name: told.last[name] for name in figures}
    assert read(told) == dry.last["read"] == len(MORE) + len(MORE) + 1


@pytest.fixture
def app(preheat: Preheat) -> Preheat:
    """An app whose model is in the library."""
    use(preheat, "one", model_bin=WEIGHTS, config_json=b"{}")
    return preheat


def use(preheat: Preheat, name: str, **files: bytes) -> None:
    for path, data in files.items():
        write(preheat.folder / name / path.replace("_", "."), data)
    (preheat.folder / "preheat.toml").write_text(RECIPE.format(f"file:{preheat.folder / name}"))
    told = preheat("pull", "preheat.toml", "--quiet", "--replace")
    assert told.status == 0, told.err


def written(app: Preheat) -> dict[str, tuple[int, int, int]]:
    """Describe the library and the image, without the library's cached facts about base images."""
    found = {**settled(app.library), **settled(app.folder / "out")}
    return {path: state for path, state in found.items() if not path.startswith("images/")}


def built(app: Preheat, base: str, output: str) -> tuple[Told, Told]:
    """Plan an image and build it; compare the progress total with the plan and with the bytes written."""
    words = ("build", "--base", base, "--output", output, "--no-guard", "--json")
    before = written(app)
    dry = app(*words, "--dry-run")
    assert dry.status == 0, dry.out
    assert written(app) == before
    told = app(*words)
    assert told.status == 0, told.out
    took = told.last["took"]
    assert dry.last["missing"] == read(told) == sum(size for how, size in took.items() if how != "here")
    assert dry.last["size"] == sum(took.values())
    return dry, told


@pytest.mark.slow
def test_the_plan_lists_only_layers_that_the_target_lacks(app: Preheat, tmp_path: Path) -> None:
    base = layout(tmp_path / "bases", [layer({"app": None, "big": os.urandom(300_000)})], {"WorkingDir": "/app"})
    with serving() as registry:
        outputs = ("oci:out:v{}", f"docker://{registry.host}/me/app:{{}}")
        for output in outputs:
            dry, _ = built(app, base, output.format(1))
            assert dry.last["missing"] == dry.last["size"] > 2_300_000
        use(app, "two", model_bin=WEIGHTS, config_json=b'{"v": 2}', extra_bin=b"new" * 100_000)
        for output in outputs:
            dry, _ = built(app, base, output.format(2))
            assert 0 < dry.last["missing"] < dry.last["size"]
            assert dry.last["layers"][0]["present"], "the base"


def test_an_archive_that_does_not_fit_is_not_started(app: Preheat) -> None:
    with disk(app.folder / "small", "size=1m") as small:
        words = ("build", "--base", "scratch", "--output", f"oci-archive:{small.mounted}/out.tar:v1", "--json")
        for more in (("--dry-run",), ()):
            told = app(*words, *more, "--library", str(app.library), str(app.folder), inside=small.inside)
            assert (told.status, told.last["kind"], told.last["end"]) == (6, "ImageError", "target")
            assert "has only 1.0 MB free" in told.last["message"]
            assert not list(small.path.iterdir())
