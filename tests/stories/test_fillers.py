"""Fillers of a node: killed in the middle, two at once, and on a full disk; from images, object stores and bundles."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import Preheat, Running
from tests.oci.small_registry import Registry, serving
from tests.small_store import SmallStore, store_serving
from tests.stories.disk import disk
from tests.stories.kept import blobs
from tests.stories.test_pull_from_images import contents, pushed, right, right_so_far
from tests.stories.two_machines import RECIPE, another, locked

AT = "s3://models/team"
SLOWLY = ("--limit-rate", "5M")


@pytest.fixture
def app(preheat: Preheat) -> Preheat:
    """A locked recipe, whose files the machine's library has."""
    return locked(preheat, RECIPE)


@pytest.fixture
def node(app: Preheat, tmp_path: Path) -> Iterator[Preheat]:
    """A second machine, with the recipe and its lock, and no hub."""
    with another(tmp_path / "node", app) as node:
        yield node


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry over TLS."""
    with serving() as registry:
        yield registry


@pytest.fixture
def store() -> Iterator[SmallStore]:
    """An object store over TLS."""
    with store_serving() as store:
        yield store


@dataclass(frozen=True, slots=True)
class Carrier:
    """What brings an app to the node: the words of the command, and a server that counts the bytes that it sends."""

    words: tuple[str, ...]
    counted: Registry | SmallStore | None = None


@pytest.fixture(params=["image", "store", "bundle"])
def carrier(request: pytest.FixtureRequest, app: Preheat, node: Preheat) -> Carrier:
    """An image in a registry, an object store, and a bundle, each with the app."""
    recipe = str(node.folder / "preheat.toml")
    if request.param == "image":
        registry: Registry = request.getfixturevalue("registry")
        return Carrier(("pull", recipe, "--from", pushed(app, registry)), registry)
    if request.param == "store":
        store: SmallStore = request.getfixturevalue("store")
        for machine in (app, node):
            machine.env |= store.environ
        assert app("push", AT).status == 0
        return Carrier(("pull", recipe, "--from", AT), store)
    told = app("export", "-o", "bundle.tar")
    assert told.status == 0, told.err
    return Carrier(("import", str(app.folder / "bundle.tar")))


def size(model: Path) -> int:
    return sum(map(len, set(contents(model).values())))


def begun(node: Preheat, carrier: Carrier, *words: str) -> Running:
    return node.start(*carrier.words, *words, "--json")


def test_of_two_fillers_at_once_both_succeed(node: Preheat, carrier: Carrier, model: Path) -> None:
    two = [begun(node, carrier) for _ in range(2)]
    for one in two:
        told = one.ended()
        assert told.status == 0, told.out + told.err
    assert node("verify").status == 0
    assert set(contents(model).values()) <= set(blobs(node.library).values())
    if carrier.counted is not None:
        # Both read the small layers of an image, but large files are downloaded by one of them.
        assert carrier.counted.sent <= 1.1 * size(model) + 3 * 3_100_000


def test_a_full_disk_is_named_and_holds_no_model(node: Preheat, carrier: Carrier, model: Path, tmp_path: Path) -> None:
    with disk(tmp_path / "small", "size=10m") as small:
        library = small.mounted / "library"
        told = node(*carrier.words, "--library", str(library), "--json", inside=small.inside)
        assert (told.status, told.last["kind"]) == (5, "NoSpace"), told.out + told.err
        assert str(small.mounted) in told.last["message"]
        assert not list((small.path / "library").glob("blobs/**/[0-9a-f]*"))
        assert not (node.folder / "checkpoints").exists()


def test_a_node_that_dies_while_it_reads_an_image_goes_on_later(
    node: Preheat, app: Preheat, registry: Registry
) -> None:
    model = app.folder / "checkpoints"
    image = Carrier(("pull", "--from", pushed(app, registry)))
    running = begun(node, image, *SLOWLY)
    running.event("progress")
    running.kill(signal.SIGKILL)
    assert not (node.folder / "checkpoints").exists()
    told = begun(node, image).ended()
    assert told.status == 0, told.out + told.err
    assert right(node, model)
    assert told.last["fetched"] < size(model)


def test_a_layer_that_is_pruned_during_the_pull_leaves_nothing_half_published(
    node: Preheat, app: Preheat, registry: Registry
) -> None:
    image = Carrier(("pull", "--from", pushed(app, registry), "--patience", "1s"))
    registry.faults.cut = [1_000_000] * 100  # each response ends early, so that more requests follow
    running = begun(node, image, *SLOWLY, "--connections", "1")
    running.event("progress")
    kept = {name: set(digests) for name, digests in registry.repositories.items()}
    registry.repositories["acme/demo"].clear()
    told = running.ended()
    assert told.status == 3, told.out + told.err
    assert not right_so_far(node)
    assert node("verify").status == 0
    registry.repositories |= kept
    registry.faults.cut.clear()
    told = begun(node, image).ended()
    assert told.status == 0, told.out + told.err
    assert right(node, app.folder / "checkpoints")
