"""Pull, end to end: the real command, a real hub on a socket, a real disk."""

import hashlib
import json
from pathlib import Path

import pytest

from preheat.core.ref import Ref
from preheat.hubs.folder import Folder
from tests.command import Preheat
from tests.flaky_hub import WEIGHTS, FlakyHub
from tests.stories.kept import blobs, contents, partials


def commit_of(folder: Path) -> str:
    return Folder().resolve(Ref.parse(f"file:{folder}")).commit


def test_many_files_arrive_over_several_connections_verified_and_equal(
    preheat: Preheat, hub: FlakyHub, model: Path
) -> None:
    told = preheat("pull", "acme/tiny", "--connections", "6", "--view", "hf-cache=cache")
    assert told.status == 0, told.err
    placed = preheat.folder / "cache/models--acme--tiny/snapshots" / commit_of(model)
    assert contents(placed) == contents(model)
    for name, body in blobs(preheat.library).items():
        algorithm, _, value = name.partition("/")
        if algorithm == "sha256":
            assert hashlib.sha256(body).hexdigest() == Path(value).name
    # Both large files were downloaded in parts, each byte once.
    assert len(hub.asked(WEIGHTS)) > 2
    assert hub.sent(WEIGHTS) == 12_000_000
    assert partials(preheat.library) == []


def test_the_same_bytes_under_two_names_are_downloaded_once(preheat: Preheat, hub: FlakyHub) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    assert len(hub.asked(r"/(config|same)\.json$")) == 1


def test_a_second_pull_sends_one_request_and_downloads_nothing(preheat: Preheat, hub: FlakyHub) -> None:
    preheat("pull", "acme/tiny", "hf:datasets/acme/rows")
    hub.recovers()
    told = preheat("pull", "acme/tiny", "hf:datasets/acme/rows")
    assert told.status == 0
    assert "all cached" in told.err
    assert [request.target.partition("?")[0] for request in hub.asked()] == [
        "/api/models/acme/tiny/revision/main",
        "/api/datasets/acme/rows/revision/main",
    ]


def test_bytes_shared_by_two_repositories_are_downloaded_once(preheat: Preheat, hub: FlakyHub) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    assert preheat("pull", "hf:datasets/acme/rows").status == 0
    assert hub.sent(WEIGHTS) == 12_000_000


def test_only_the_requested_files_are_downloaded(preheat: Preheat, hub: FlakyHub) -> None:
    told = preheat("pull", "acme/tiny", "--files", "voices/*", "--files", "config.json", "--json")
    assert told.status == 0
    assert {event["path"] for event in told.events if event["event"] == "stored"} == {
        "config.json",
        "voices/deep/low.bin",
        "voices/müde & froh #1.txt",
    }
    assert told.last["size"] == told.last["fetched"] == 3_000_000 + 23 + 4
    assert not hub.asked("model.safetensors")


def test_a_pattern_without_a_match_is_reported_before_any_download(preheat: Preheat, hub: FlakyHub) -> None:
    told = preheat("pull", "acme/tiny", "--files", "*.gguf")
    assert told.status == 3
    assert "no file that matches '*.gguf'" in told.err
    assert "config.json" in told.err
    assert not hub.asked("/resolve/")


def test_a_commit_can_be_requested(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    commit = commit_of(model)
    told = preheat("pull", f"acme/tiny@{commit}", "--view", "hf-cache=cache", "--json")
    assert told.last["snapshots"] == [{"ref": f"hf:acme/tiny@{commit}", "commit": commit}]
    assert hub.asked(f"/resolve/{commit}/")
    # An app without a revision requests main, and gets the version placed last.
    assert (preheat.folder / "cache/models--acme--tiny/refs/main").read_text() == commit


def test_a_folder_is_pulled_like_a_hub(preheat: Preheat, model: Path) -> None:
    told = preheat("pull", f"file:{model}", "--json")
    assert told.status == 0
    assert told.last["commit" if "commit" in told.last else "snapshots"] == [
        {"ref": f"file:{model}", "commit": commit_of(model)}
    ]
    assert preheat("pull", f"file:{model}", "--json").last["fetched"] == 0


def test_json_has_one_object_per_line_and_ends_with_done(preheat: Preheat) -> None:
    told = preheat("pull", "acme/tiny", "--json", "--view", "hf-cache=cache")
    assert told.err == ""
    assert all(isinstance(event["event"], str) for event in told.events)
    assert [event["event"] for event in told.events if event["event"] != "progress"] == [
        "resolved",
        "planned",
        *["stored"] * 6,
        "placed",
        "done",
    ]
    resolved = told.events[0]
    assert (resolved["ref"], resolved["files"], resolved["missing_files"]) == ("hf:acme/tiny", 7, 6)
    progress = [event for event in told.events if event["event"] == "progress"]
    assert progress
    assert all(set(event) == {"event", "done", "total", "rate", "left_s"} for event in progress)
    assert all(0 < event["done"] <= event["total"] for event in progress)
    assert told.last["fetched"] == 12_000_000 + 23 + 4 + 4
    assert told.last["received"] > told.last["fetched"]
    assert told.last["library"] == str(preheat.library)


def test_json_ends_with_error(preheat: Preheat) -> None:
    told = preheat("pull", "acme/none", "--json")
    assert told.status == 3
    assert told.last["event"] == "error"
    assert told.last["kind"] == "NotFound"
    assert "acme/none" in told.last["message"]
    assert told.last["hint"]


def test_events_can_be_written_to_a_file_besides_the_output_for_people(preheat: Preheat) -> None:
    told = preheat("pull", "acme/tiny", "--events", "events.jsonl")
    assert "12.0 MB" in told.err
    lines = (preheat.folder / "events.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["event"] == "done"
    assert str(preheat.library) in told.out


def test_quiet_prints_nothing_on_success(preheat: Preheat) -> None:
    told = preheat("pull", "acme/tiny", "-q")
    assert (told.status, told.out, told.err) == (0, "", "")


def test_a_slow_pull_shows_its_progress(preheat: Preheat, model: Path) -> None:
    with FlakyHub({"acme/tiny": model}, pace=500_000) as far:
        told = preheat("pull", "acme/tiny", "--json", "--connections", "8", HF_ENDPOINT=far.url)
    assert told.status == 0
    progress = [event for event in told.events if event["event"] == "progress"]
    assert len(progress) > 2
    assert [event["done"] for event in progress] == sorted(event["done"] for event in progress)
    assert progress[-1]["rate"] > 0
    assert progress[-1]["left_s"] >= 0


def test_another_endpoint_is_used_instead(preheat: Preheat, hub: FlakyHub) -> None:
    told = preheat("pull", "acme/tiny", "--endpoint", f"hf={hub.url}/", HF_ENDPOINT="http://127.0.0.1:1")
    assert told.status == 0, told.err


def test_the_needs_of_a_recipe_are_pulled_and_placed(preheat: Preheat) -> None:
    (preheat.folder / "app").mkdir()
    (preheat.folder / "app/preheat.toml").write_text(
        '[app]\nname = "talk"\n'
        '[[needs]]\nref = "hf:acme/tiny"\nfiles = ["*.json"]\n'
        '[[needs]]\nref = "hf:datasets/acme/rows"\nfiles = ["voices/*"]\nat = "rows"\n'
    )
    told = preheat("pull", "app/preheat.toml")
    assert told.status == 0, told.err
    assert sorted(contents(preheat.library / "views/talk/hf-cache")) != []
    assert any(name.endswith("low.bin") for name in contents(preheat.folder / "app/rows"))
    assert preheat("pull", "app").status == 0


def test_a_recipe_with_an_unknown_view_is_rejected_before_any_download(preheat: Preheat, hub: FlakyHub) -> None:
    recipe = preheat.folder / "preheat.toml"
    recipe.write_text('[app]\nname = "talk"\n[[needs]]\nref = "hf:acme/tiny"\nview = "shelf"\n')
    for words in (("pull", "preheat.toml"), ("run", "--pull", "--", "true")):
        told = preheat(*words)
        assert told.status == 2
        assert "'shelf' is not a view" in told.err
        assert not hub.asked()


@pytest.mark.parametrize("moves", ["a file changes", "a file is added"])
def test_a_moved_branch_downloads_only_the_new_files(preheat: Preheat, tmp_path: Path, moves: str) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "weights.bin").write_bytes(b"w" * 2_000_000)
    (repository / "config.json").write_text("{}")
    with FlakyHub({"acme/moving": repository}) as hub:
        first = preheat("pull", "acme/moving", "--json", HF_ENDPOINT=hub.url).last
        name = "config.json" if moves == "a file changes" else "added.json"
        (repository / name).write_text('{"new": 1}')
        second = preheat("pull", "acme/moving", "--json", HF_ENDPOINT=hub.url).last
        assert hub.sent(WEIGHTS) == 2_000_000
    assert first["snapshots"] != second["snapshots"]
    assert second["fetched"] == 10
