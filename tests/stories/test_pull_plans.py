"""A pull is one plan: the dry run, the disk check, the progress bar and the transfer have the same figures."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from preheat.mirror.http.messages import Answer, Request
from tests.command import Preheat, Told
from tests.flaky_hub import Fault, FlakyHub
from tests.stories.caches import write
from tests.stories.disk import disk
from tests.stories.kept import blobs, contents, settled

SIZE = 2_500_000
NEEDS = ("acme/one", "acme/two", "acme/three")


@pytest.fixture
def three(tmp_path: Path) -> Iterator[FlakyHub]:
    """A hub with three models of two files each, which all share the small one."""
    for name in NEEDS:
        write(tmp_path / name / "model.bin", os.urandom(SIZE))
        write(tmp_path / name / "config.json", b"{}")
    with FlakyHub({name: tmp_path / name for name in NEEDS}) as hub:
        yield hub


@pytest.fixture
def app(tmp_path: Path, three: FlakyHub) -> Iterator[Preheat]:
    """An app that needs the three models."""
    (tmp_path / "app").mkdir()
    recipe(tmp_path)
    preheat = Preheat(tmp_path, three.url)
    yield preheat
    preheat.close()


def recipe(folder: Path, *needs: str) -> None:
    text = "".join(
        f'[[needs]]\nref = "{need}"\nview = "flat"\nat = "{number}"\n' for number, need in enumerate(needs or NEEDS)
    )
    (folder / "app/preheat.toml").write_text(f'[app]\nname = "talk"\ncommand = ["true"]\n{text}')


def both(app: Preheat, *words: str, status: int = 0, hub: FlakyHub | None = None) -> tuple[Told, Told]:
    """Run the dry run, which must change nothing, and then the pull; return both with the bytes that the hub sent."""
    before = settled(app.folder / "app"), settled(app.library)
    dry = app("pull", "app/preheat.toml", "--json", "--dry-run", *words)
    assert (settled(app.folder / "app"), settled(app.library)) == before
    if hub is not None:
        hub.recovers()
    told = app("pull", "app/preheat.toml", "--json", *words)
    assert (dry.status, told.status) == (status, status), dry.out + told.out
    return dry, told


def lists_config(size: int) -> Fault:
    """List config.json with another size, and its right digest."""

    def fault(request: Request, full: Answer) -> Answer:
        assert isinstance(full.body, bytes)
        document = json.loads(full.body)
        [listed] = [one for one in document["siblings"] if one["rfilename"] == "config.json"]
        listed["size"] = size
        body = json.dumps(document).encode()
        return replace(full, headers={**full.headers, "Content-Length": str(len(body))}, body=body)

    return fault


def planned(told: Told) -> int:
    """Return the total of the progress, which must be that of the only plan."""
    names = [event["event"] for event in told.events]
    assert names.count("planned") == 1
    start = names.index("planned")
    total = told.events[start]["missing"]
    assert all(one["done"] <= one["total"] == total for one in told.events[start:] if one["event"] == "progress")
    return int(total)


def test_all_needs_have_one_total_and_a_shared_file_counts_once(app: Preheat, three: FlakyHub) -> None:
    dry, told = both(app, hub=three)
    total = 3 * SIZE + 2
    assert dry.last["missing"] == planned(told) == told.last["fetched"] == three.sent("/resolve/") == total
    assert dry.last["size"] == 3 * (SIZE + 2)
    three.recovers()
    dry, told = both(app)
    assert dry.last["missing"] == planned(told) == told.last["fetched"] == three.sent("/resolve/") == 0
    assert three.asked("/api/"), "branches may have moved"


@pytest.mark.slow
def test_the_rest_of_an_interrupted_pull_is_planned_and_downloaded(app: Preheat, three: FlakyHub) -> None:
    with FlakyHub({name: app.folder / name for name in NEEDS}, pace=2_000_000) as slow:
        running = app.start("pull", "app/preheat.toml", "--json", "--connections", "2", HF_ENDPOINT=slow.url)
        running.until(lambda running: '"event":"progress"' in running.out)
        running.kill(signal.SIGKILL)
    dry, told = both(app, hub=three)
    assert 0 < dry.last["missing"] < 3 * SIZE
    assert dry.last["missing"] == planned(told) == told.last["fetched"] == three.sent("/resolve/")
    three.recovers()
    assert both(app)[0].last["missing"] == 0


@pytest.mark.parametrize(
    ("last", "named"),
    [
        ("acme/none", "acme/none"),
        ("acme/three@v9", "v9"),
        ('acme/three"\nfiles = ["model.bin", "weights/*.pth"]\nto = { } #', "weights/*.pth"),
    ],
)
def test_a_missing_need_is_an_error_before_the_first_byte(app: Preheat, three: FlakyHub, last: str, named: str) -> None:
    recipe(app.folder, "acme/one", "acme/two", last)
    for told in both(app, status=3):
        assert named in told.last["message"]
    assert not three.asked("/resolve/.*model")
    assert blobs(app.library) == {}


def test_pinned_and_present_needs_contact_no_hub_and_are_placed(app: Preheat, three: FlakyHub) -> None:
    assert app("lock", "app/preheat.toml").status == 0
    assert app("pull", "app/preheat.toml").status == 0
    before = contents(app.folder / "app")
    for number in range(3):
        (app.folder / f"app/{number}/model.bin").unlink()
    three.recovers()
    away = "https://127.0.0.1:9"
    dry = app("pull", "app/preheat.toml", "--dry-run", "--json", HF_ENDPOINT=away)
    assert (dry.status, dry.last["missing"]) == (0, 0)
    told = app("pull", "app/preheat.toml", "--json", HF_ENDPOINT=away)
    assert told.status == 0, told.out
    assert contents(app.folder / "app") == before
    assert three.asked() == []


@pytest.mark.parametrize(("room", "link", "needed"), [(2.2, "auto", "7.5 MB"), (4, "copy", "15.0 MB")])
def test_one_disk_check_covers_all_needs_and_the_copies_in_views(
    app: Preheat, three: FlakyHub, room: float, link: str, needed: str
) -> None:
    """The disk has space for two of the models, or for all three without the copies in the views."""
    kept_free = 64 << 20
    with disk(app.folder / "small", f"size={(kept_free + int(room * SIZE)) // 1024}k") as small:
        (small.path / "preheat.toml").write_bytes((app.folder / "app/preheat.toml").read_bytes())
        words = (
            "pull",
            f"{small.mounted}/preheat.toml",
            "--json",
            "--link",
            link,
            "--library",
            f"{small.mounted}/library",
        )
        for more in ((), ("--dry-run",)):
            told = app(*words, *more, inside=small.inside)
            assert (told.status, told.last["kind"]) == (5, "NoSpace"), told.out
            assert f"needs {needed}" in told.last["message"]
            assert more or not three.asked("/resolve/")
        assert [path.name for path in small.path.iterdir()] == ["preheat.toml"]


def test_files_of_the_user_are_part_of_the_plan(app: Preheat, three: FlakyHub) -> None:
    write(app.folder / "app/0/model.bin", (app.folder / "acme/one/model.bin").read_bytes())
    write(app.folder / "app/1/model.bin", b"mine")
    dry, told = both(app, status=5)
    assert (
        [one["path"] for one in dry.events[-2]["conflicts"]] == told.last["paths"] == [f"{app.folder}/app/1/model.bin"]
    )
    assert dry.last["paths"] == told.last["paths"]
    assert blobs(app.library) == {}
    three.recovers()
    dry, told = both(app, "--replace")
    assert [(one["path"], one["size"]) for one in dry.last["own"]] == [(f"{app.folder}/app/0/model.bin", SIZE)]
    assert dry.last["missing"] == planned(told) == told.last["fetched"] == 2 * SIZE + 2
    assert not three.asked("/one/resolve/.*/model.bin"), "it was at its place already"


def test_a_view_is_planned_before_it_is_placed(app: Preheat) -> None:
    assert app("pull", "acme/one").status == 0
    write(app.folder / "app/config.json", b"mine")
    words = ("view", "flat", "app", "acme/one", "--link", "copy", "--json")
    before = settled(app.library), settled(app.folder / "app")
    dry = app(*words, "--dry-run")
    assert (settled(app.library), settled(app.folder / "app")) == before
    told = app(*words)
    assert (
        (dry.status, dry.last["paths"]) == (told.status, told.last["paths"]) == (5, [f"{app.folder}/app/config.json"])
    )
    dry = app(*words, "--dry-run", "--keep")
    told = app(*words, "--keep")
    [placed] = [event for event in told.events if event["event"] == "placed"]
    assert dry.last["views"][0]["copied"] == placed["copied"] == SIZE
    assert dry.last["conflicts"][0]["path"] == f"{app.folder}/app/config.json"


@pytest.mark.parametrize("size", [1, 7, 10**18])
def test_a_need_that_lists_another_needs_file_with_a_wrong_size_is_not_recorded(
    app: Preheat, three: FlakyHub, size: int
) -> None:
    """The other need's download verifies the digest, so only the size can be wrong."""
    three.fails("/api/models/acme/two", lists_config(size))
    recipe(app.folder, "acme/one", "acme/two")
    for _ in range(2):
        told = app("pull", "app/preheat.toml")
        assert (told.status, "config.json is listed with" in told.err) == (4, True), told.err
        assert not list(app.library.glob("records/hf/*two"))
    three.recovers()
    assert app("pull", "app/preheat.toml").status == 0
