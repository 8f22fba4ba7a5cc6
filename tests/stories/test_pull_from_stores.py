"""Pull from object stores: whole models, verified, with or without ranges, signed addresses and a login."""

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.small_store import SECRET, SmallStore, StoreFaults, store_serving
from tests.stories.disk import disk
from tests.stories.kept import blobs
from tests.stories.two_machines import RECIPE, locked

AT = "s3://models/team"


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a machine has pushed: the objects of the store; and its recipe and lock."""

    objects: dict[str, bytes]
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def pushed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    """An app, pushed once."""
    folder = tmp_path_factory.mktemp("pushing")
    with FlakyHub({"acme/tiny": model}) as hub, store_serving() as store:
        machine = locked(Preheat(folder, hub.url), RECIPE)
        machine.env |= store.environ
        told = machine("push", AT)
        machine.close()
        assert told.status == 0, told.err
        return Pushed(store.objects, {name: (folder / name).read_bytes() for name in ("preheat.toml", "preheat.lock")})


@pytest.fixture
def store(pushed: Pushed) -> Iterator[SmallStore]:
    """A store over TLS, with the app."""
    with store_serving() as store:
        store.objects |= pushed.objects
        yield store


@pytest.fixture
def node(pushed: Pushed, store: SmallStore, tmp_path: Path) -> Iterator[Preheat]:
    """A second machine, with the recipe and its lock, a login of the store, and a hub that has no model."""
    node = Preheat(tmp_path, store.url)
    for name, body in pushed.files.items():
        (tmp_path / name).write_bytes(body)
    node.env |= store.environ
    yield node
    node.close()


def noted(told: Told) -> str:
    """Return the notes and the error of a pull."""
    return " ".join(str(one.get("said") or one.get("message") or "") for one in told.events)


def contents(model: Path) -> dict[str, bytes]:
    return {str(path.relative_to(model)): path.read_bytes() for path in model.rglob("*") if path.is_file()}


def size_of(model: Path) -> int:
    return sum(map(len, set(contents(model).values())))


def right(node: Preheat, model: Path) -> bool:
    return all((node.folder / "checkpoints" / path).read_bytes() == body for path, body in contents(model).items())


def test_a_second_machine_takes_everything_from_the_store(node: Preheat, store: SmallStore, model: Path) -> None:
    told = node("pull", "--from", AT, "--dry-run", "--json")
    assert (told.status, told.last["missing"]) == (0, size_of(model))
    store.sent = 0  # it has measured the rate
    told = node("pull", "--from", AT, "--json")
    assert told.status == 0, told.out + told.err
    assert right(node, model)
    assert told.last["fetched"] == size_of(model)
    # Parts that are moved to another connection leave bytes in the buffers of the first.
    assert size_of(model) <= store.sent <= 1.02 * size_of(model) + 3_100_000
    assert store.signed >= 6
    # A second time: nothing is asked.
    store.asked.clear()
    assert node("pull", "--from", AT).status == 0
    assert store.asked == []
    # No key is in the library, nor in any output.
    kept = b"".join(path.read_bytes() for path in node.library.rglob("*") if path.is_file())
    assert SECRET.encode() not in kept
    assert b"X-Amz-" not in kept
    assert SECRET not in told.out + told.err


def test_without_a_lock_the_stores_manifest_lists_the_files(node: Preheat, model: Path) -> None:
    told = node("pull", "acme/tiny", "--from", AT, "--library", "other", "--json")
    assert told.status == 0, told.out + told.err
    assert told.last["fetched"] == size_of(model)
    told = node("pull", "acme/tiny", "--files", "config.json", "--from", AT, "--library", "third", "--json")
    assert told.status == 0, told.out + told.err
    assert told.last["size"] == len(contents(model)["config.json"])


def test_a_store_in_the_recipe_helps_and_replaces_the_hub(node: Preheat, store: SmallStore, model: Path) -> None:
    recipe = RECIPE.replace('ref = "acme/tiny"', f'ref = "acme/tiny"\nsame = ["{AT}"]')
    (node.folder / "preheat.toml").write_text(recipe)
    told = node("pull", "--json")
    assert told.status == 0, told.out + told.err
    assert right(node, model)
    assert store.sent >= size_of(model)


@pytest.mark.parametrize(
    "faults",
    [
        StoreFaults(no_ranges=True),
        StoreFaults(unsigned_only=True),
        StoreFaults(no_ranges=True, unsigned_only=True),
        StoreFaults(false_tags=True),
        StoreFaults(false_tags=True, unsigned_only=True),
        StoreFaults(cut=[1_000_000, 100_000, 5]),
        StoreFaults(cut=[1_000_000, 100_000, 5], unsigned_only=True),
        StoreFaults(busy=2),
    ],
    ids=lambda faults: " ".join(name for name in StoreFaults.__dataclass_fields__ if getattr(faults, name)),
)
def test_awkward_stores(node: Preheat, store: SmallStore, model: Path, faults: StoreFaults) -> None:
    store.faults.__dict__.update(faults.__dict__, cut=list(faults.cut))
    told = node("pull", "--from", AT, "--json")
    assert told.status == 0, told.out + told.err
    assert right(node, model)


@pytest.mark.parametrize("fault", ["lie", "short"])
def test_wrong_bytes_are_not_stored(node: Preheat, store: SmallStore, fault: str) -> None:
    setattr(store.faults, fault, "/blobs/sha256/")
    for unsigned_only in (False, True):
        store.faults.unsigned_only = unsigned_only
        told = node("pull", "--from", AT, "--json")
        assert told.status in (3, 4), told.out + told.err
        assert ("should have" if fault == "short" else "arrived as") in noted(told), told.out
        assert "Traceback" not in told.err
        assert all(len(body) < 1000 for body in blobs(node.library).values())
        assert not (node.folder / "checkpoints").exists()


def test_a_hub_has_what_the_store_lost(node: Preheat, store: SmallStore, hub: FlakyHub, model: Path) -> None:
    largest = max(store.keys("/blobs/"), key=lambda key: len(store.objects[key]))
    del store.objects[largest]
    told = node("pull", "--from", AT, "--json")
    assert told.status == 3
    assert "is not in the store any more" in noted(told)
    assert not (node.folder / "checkpoints").exists()
    told = node("pull", "--from", AT, "--json", HF_ENDPOINT=hub.url)
    assert told.status == 0, told.out + told.err
    assert right(node, model)


def test_a_model_is_whole_or_not_there(node: Preheat, store: SmallStore) -> None:
    for key in store.keys(r"/models/"):
        del store.objects[key]
    largest = max(store.keys("/blobs/"), key=lambda key: len(store.objects[key]))
    body = store.objects.pop(largest)
    for words in ((), ("acme/tiny",)):
        told = node("pull", *words, "--from", AT, "--json")
        assert told.status == 3
        assert f"{AT} does not contain" in told.last["message"]
    assert store.sent == 0
    # With all blobs, the lock needs no manifest.
    store.objects[largest] = body
    assert node("pull", "--from", AT).status == 0


def test_a_killed_pull_is_resumed(node: Preheat, store: SmallStore, model: Path) -> None:
    running = node.start("pull", "--from", AT, "--limit-rate", "5M", "--json")
    running.event("progress")
    running.kill(signal.SIGKILL)
    told = node("pull", "--from", AT, "--json")
    assert told.status == 0, told.out + told.err
    assert right(node, model)
    assert told.last["fetched"] < size_of(model)


def test_a_public_store_needs_no_login(node: Preheat, store: SmallStore, model: Path) -> None:
    store.faults.public = True
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del node.env[name]
    told = node("pull", "--from", AT, "--json")
    assert told.status == 0, told.out + told.err
    assert right(node, model)
    # And its address needs no obstore.
    for what, library in (("preheat.toml", "other"), ("acme/tiny", "third")):
        told = node("pull", what, "--from", f"{store.url}/models/team", "--library", library, "--json", "--replace")
        assert told.status == 0, told.out + told.err
        assert told.last["fetched"] >= 12_000_000


WRONG = [
    ("s3://none/team", 3, "there is no bucket none"),
    ("s3://models/other", 3, "s3://models/other does not contain"),
    ("s3://", 2, "is not a place in an object store"),
    ("https://store.example.org/x?X-Amz-Signature=abcdef123456", 2, "has a query"),
    ("http://store.example.org/x", 2, "is not encrypted"),
]


def test_what_is_wrong_is_said(node: Preheat) -> None:
    for place, status, said in WRONG:
        told = node("pull", "--from", place, "--json")
        assert told.status == status, told.out + told.err
        assert said in told.last["message"]
        assert "abcdef123456" not in told.out + told.err


def test_a_refused_login_is_said(node: Preheat, store: SmallStore) -> None:
    told = node("pull", "--from", AT, "--json", AWS_ACCESS_KEY_ID="AKIAOTHERKEY")
    assert (told.status, "credentials are wrong" in told.last["message"]) == (3, True), told.out
    store.faults.expired = True
    told = node("pull", "--from", AT, "--json")
    assert (told.status, "have expired" in told.last["message"]) == (3, True), told.out
    store.faults.expired, store.faults.skewed = False, True
    told = node("pull", "--from", AT, "--json")
    assert (told.status, "the clock of this machine is wrong" in told.last["message"]) == (3, True), told.out
    store.faults.skewed = False
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del node.env[name]
    told = node("pull", "--from", AT, "--json")
    assert (told.status, "there are no credentials" in told.last["message"]) == (3, True), told.out


def test_a_manifest_that_is_none_is_said(node: Preheat, store: SmallStore) -> None:
    [key] = store.keys(r"/models/.*/[0-9a-f]{40}\.json$")
    good = json.loads(store.objects[key])
    for body in (
        b"\xff",
        b"{}",
        json.dumps(good | {"version": 2}).encode(),
        json.dumps(good | {"repo": "a/b"}).encode(),
    ):
        store.objects[key] = body
        told = node("pull", "--from", AT, "--json")
        assert told.status == 3, told.out + told.err
        assert key.removeprefix("team/") in told.last["message"]


def test_a_full_disk_ends_the_pull_and_space_continues_it(node: Preheat, store: SmallStore, tmp_path: Path) -> None:
    with disk(tmp_path / "small", "size=10m") as small:
        library = small.mounted / "library"
        told = node("pull", "acme/tiny", "--from", AT, "--library", str(library), "--json", inside=small.inside)
        assert told.status == 5, told.out + told.err
        assert store.sent == 0
