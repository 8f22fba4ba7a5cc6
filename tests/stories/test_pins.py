"""Pins, end to end: the locked files are pulled, placed, started and built, whichever hub serves them."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from preheat.core.digest import GIT_SHA1, hasher
from preheat.mirror.http.messages import Answer, Request, Slice
from tests.command import Preheat, Told
from tests.flaky_hub import WEIGHTS, Fault, FlakyHub, refuses

RECIPE = """\
[app]
name = "talk"
command = ["cat", "weights/weights.bin"]

[[needs]]
ref = "hf:acme/pinned"
view = "flat"
at = "weights"
"""
GOOD, EVIL = b"good" * 500_000, b"evil" * 500_000


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(GOOD)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def pinned(preheat: Preheat, repo: Path) -> Iterator[FlakyHub]:
    """A hub, and an app whose lock was written while the hub was correct."""
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    with FlakyHub({"acme/pinned": repo}) as hub:
        preheat.env["HF_ENDPOINT"] = hub.url
        assert preheat("lock").status == 0
        yield hub


def git_sha1(body: bytes) -> str:
    one = hasher(GIT_SHA1, len(body))
    one.update(body)
    return one.hexdigest()


def lists_weights(**said: Any) -> Fault:
    """List weights.bin with `said` in the API's form, and the rest correctly."""

    def fault(request: Request, full: Answer) -> Answer:
        assert isinstance(full.body, bytes)
        document = json.loads(full.body)
        for sibling in document.get("siblings", ()):
            if sibling["rfilename"] == "weights.bin":
                sibling.pop("lfs", None)
                sibling.update(said)
        body = json.dumps(document).encode()
        return replace(full, headers={**full.headers, "Content-Length": str(len(body))}, body=body)

    return fault


def sends(body: bytes) -> Fault:
    """Send the same range of other bytes."""

    def fault(request: Request, full: Answer) -> Answer:
        assert isinstance(full.body, Slice)
        return replace(full, body=body[full.body.start : full.body.stop])

    return fault


def turns_evil(hub: FlakyHub, algorithm: str) -> None:
    sha256 = hashlib.sha256(EVIL).hexdigest()
    lfs = {"lfs": {"sha256": sha256, "size": len(EVIL), "pointerSize": 1}} if algorithm == "sha256" else {}
    hub.fails("/api/models/", lists_weights(size=len(EVIL), blobId=git_sha1(EVIL), **lfs))
    hub.fails(WEIGHTS, sends(EVIL))


def run(preheat: Preheat, *words: str) -> Told:
    """Start it without a reachable hub."""
    return preheat("run", *words, HF_ENDPOINT="http://127.0.0.1:9")


@pytest.mark.parametrize("algorithm", ["sha256", "git-sha1"])
def test_other_bytes_do_not_match_the_lock_by_either_digest(preheat: Preheat, pinned: FlakyHub, algorithm: str) -> None:
    turns_evil(pinned, algorithm)
    for words in (("--locked",), ()):
        told = preheat("pull", "preheat.toml", *words)
        assert told.status == 4, told.err
    assert EVIL not in (path.read_bytes() for path in preheat.library.rglob("*") if path.is_file())
    assert run(preheat).status == 5
    pinned.recovers()
    assert preheat("pull", "preheat.toml", "--locked").status == 0
    assert run(preheat, "--locked").status == 0


def test_a_hub_that_lists_the_right_bytes_by_the_other_digest_is_used_and_recorded(
    preheat: Preheat, pinned: FlakyHub
) -> None:
    pinned.fails("/api/models/", lists_weights(size=len(GOOD), blobId=git_sha1(GOOD)))
    assert preheat("pull", "preheat.toml", "--locked").status == 0
    assert run(preheat, "--locked").status == 0
    assert preheat("verify").status == 0
    pinned.recovers()
    told = preheat("pull", "preheat.toml", "--json")
    assert told.last["received"] == 0


@pytest.mark.parametrize("algorithm", ["sha256", "git-sha1"])
def test_a_library_filled_by_a_bad_mirror_does_not_match_the_lock(
    preheat: Preheat, pinned: FlakyHub, algorithm: str
) -> None:
    turns_evil(pinned, algorithm)
    assert preheat("pull", "acme/pinned").status == 0
    output = ("--base", "scratch", "--output", f"oci:{preheat.folder}/image:x")
    for verb in (("run",), ("run", "--locked"), ("build", *output), ("build", "--dockerfile", "context", *output[:2])):
        told = preheat(*verb, HF_ENDPOINT="http://127.0.0.1:9")
        assert told.status == 4, (verb, told.err)
        assert "weights.bin" in told.err
    assert not (preheat.folder / "weights").exists()
    assert not (preheat.folder / "image" / "index.json").exists()
    pinned.recovers()
    assert preheat("pull", "preheat.toml").status == 0
    assert run(preheat, "--locked").status == 0


def test_a_library_with_the_bytes_by_the_other_digest_matches_the_lock(preheat: Preheat, pinned: FlakyHub) -> None:
    pinned.fails("/api/models/", lists_weights(size=len(GOOD), blobId=git_sha1(GOOD)))
    assert preheat("pull", "acme/pinned").status == 0
    # As after a pull from another hub: only under that digest.
    (other,) = (preheat.library / "blobs" / "sha256").rglob(hashlib.sha256(GOOD).hexdigest())
    other.unlink()
    for _ in range(2):
        assert run(preheat, "--locked").status == 0
    assert preheat("pull", "preheat.toml", "--json").last["fetched"] == 0
    assert other.is_file()


def _claims(commit: str) -> Fault:
    def fault(request: Request, full: Answer) -> Answer:
        assert isinstance(full.body, bytes)
        document = json.loads(full.body) | {"sha": commit}
        body = json.dumps(document).encode()
        return replace(full, headers={**full.headers, "Content-Length": str(len(body))}, body=body)

    return fault


# ---- commits


def test_a_hub_that_returns_another_commit_is_rejected_and_the_next_one_is_tried(
    preheat: Preheat, hub: FlakyHub, model: Path
) -> None:
    commit = preheat("pull", "acme/tiny", "--json").last["snapshots"][0]["commit"]
    shutil.rmtree(preheat.library)
    with FlakyHub({"acme/tiny": model}) as liar:
        liar.fails("/api/models/", _claims("b" * 40))
        told = preheat("pull", f"acme/tiny@{commit}", HF_ENDPOINT=liar.url)
        assert told.status == 4, told.err
        assert "b" * 40 in told.err
        assert not list(preheat.library.rglob("*.json"))
        both = ("--endpoint", f"hf={liar.url}", "--endpoint", f"hf={hub.url}")
        told = preheat("pull", f"acme/tiny@{commit}", *both)
        assert told.status == 0, told.err


def _twin_recipe(preheat: Preheat, ref: str) -> None:
    (preheat.folder / "preheat.toml").write_text(
        f'[app]\nname = "tiny"\n[[needs]]\nref = "{ref}"\nsame = ["ms:acme/tiny"]\nview = "flat"\nat = "weights"\n'
    )


def test_an_aliass_branch_is_not_the_pinned_commit_unless_the_digests_match(
    preheat: Preheat, hub: FlakyHub, model: Path
) -> None:
    """A recipe pins a commit; its hub is down, and the alias repository's branch may have other files."""
    commit = preheat("pull", "acme/tiny", "--json").last["snapshots"][0]["commit"]
    shutil.rmtree(preheat.library)
    _twin_recipe(preheat, f"hf:acme/tiny@{commit}")
    with FlakyHub({"acme/tiny": model}) as twin:
        hub.fails("/api/models/", refuses(404))
        told = preheat("pull", "preheat.toml", MODELSCOPE_ENDPOINT=twin.url)
        assert told.status == 3, told.err
        assert not list(preheat.library.rglob("*.json"))
        # With the digests of a lock it can.
        hub.recovers()
        assert preheat("lock").status == 0
        hub.fails("/api/models/", refuses(404))
        told = preheat("pull", "preheat.toml", MODELSCOPE_ENDPOINT=twin.url)
        assert told.status == 0, told.err
        assert run(preheat, "--locked", "--", "true").status == 0
        # And one whose branch has moved on cannot.
        shutil.rmtree(preheat.library)
        shutil.rmtree(preheat.folder / "weights")
    moved = preheat.folder / "moved"
    shutil.copytree(model, moved)
    (moved / "note.txt").write_text("ha!\n")
    with FlakyHub({"acme/tiny": moved}) as twin:
        told = preheat("pull", "preheat.toml", MODELSCOPE_ENDPOINT=twin.url)
        assert told.status == 4, told.err
        assert "note.txt" in told.err
    assert not list(preheat.library.rglob("*.json"))
