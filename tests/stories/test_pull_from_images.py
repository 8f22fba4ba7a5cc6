"""Pull from images: an app's files from the layers of an image in a registry or a file, without a hub."""

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.oci.bases import layer
from tests.oci.small_registry import Faults, Registry, serving
from tests.stories.two_machines import NOWHERE, RECIPE, another, locked

OCI = "application/vnd.oci.image"
PACK = "application/vnd.cncf.model"


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry over TLS, with a login."""
    with serving(Faults(auth="token")) as registry:
        yield registry


@pytest.fixture
def app(preheat: Preheat) -> Preheat:
    """A locked recipe, whose files the machine's library has."""
    return locked(preheat, RECIPE)


@pytest.fixture
def node(app: Preheat, tmp_path: Path) -> Iterator[Preheat]:
    """A second machine, with the recipe and its lock, and no hub."""
    with another(tmp_path / "node", app) as node:
        yield node


def pushed(app: Preheat, registry: Registry, *words: str) -> str:
    """Push the app's image; return its name with the digest."""
    told = app("build", "--base", "scratch", "--output", f"docker://{registry.host}/acme/demo:1", "--json", *words)
    assert told.status == 0, told.err
    registry.sent = 0
    return f"docker://{registry.host}/acme/demo@{told.last['digest']}"


def published(
    registry: Registry, layers: list[tuple[bytes, str, dict[str, str]]], repository: str = "acme/hand"
) -> str:
    """Publish an image that preheat did not build; `layers` are bodies, media types and annotations."""
    with_sizes = [
        {"mediaType": kind, "digest": registry.keep(repository, body), "size": len(body), "annotations": notes}
        for body, kind, notes in layers
    ]
    config = registry.keep(repository, b"{}")
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": {"mediaType": f"{OCI}.config.v1+json", "digest": config, "size": 2},
            "layers": with_sizes,
        }
    ).encode()
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    registry.manifests[repository, digest] = (f"{OCI}.manifest.v1+json", manifest)
    return f"docker://{registry.host}/{repository}@{digest}"


def contents(model: Path) -> dict[str, bytes]:
    return {str(path.relative_to(model)): path.read_bytes() for path in model.rglob("*") if path.is_file()}


def right(node: Preheat, model: Path) -> bool:
    return all((node.folder / "checkpoints" / path).read_bytes() == body for path, body in contents(model).items())


@pytest.mark.parametrize("words", [(), ("--format", "modelcar"), ("--format", "modelpack")])
def test_a_second_machine_takes_everything_from_the_image(
    app: Preheat, node: Preheat, registry: Registry, model: Path, words: tuple[str, ...]
) -> None:
    image = pushed(app, registry, *words)
    told = node("pull", "--from", image, "--json")
    assert told.status == 0, told.out + told.err
    assert right(node, model)
    size = sum(map(len, contents(model).values()))
    # Each view in the image has the small files of its own.
    assert size <= registry.sent <= 1.02 * size + 3_100_000
    assert told.last["fetched"] <= size
    # A second time: nothing is asked.
    registry.asked.clear()
    assert node("pull", "--from", image).status == 0
    assert registry.asked == []


@pytest.mark.parametrize("kind", ["oci:image:1", "oci-archive:image.tar:1", "docker-archive:image.tar:demo:1"])
def test_an_image_in_a_file_is_a_source_as_in_a_registry(app: Preheat, node: Preheat, model: Path, kind: str) -> None:
    told = app("build", "--base", "scratch", "--output", kind, "--json")
    assert told.status == 0, told.err
    store, _, rest = kind.partition(":")
    at, _, tag = rest.partition(":")
    shutil.move(app.folder / at, node.folder / at)
    image = f"{store}:{at}:{tag}"
    told = node("pull", "--from", image, "--json")
    assert told.status == 0, told.out + told.err
    assert right(node, model)
    # Without the lock, another library: the image's own lock lists the files.
    (node.folder / "preheat.lock").unlink()
    told = node("pull", "acme/tiny", "--from", image, "--library", "again", "--json")
    assert told.status == 0, told.out + told.err
    assert told.last["fetched"] == sum({body: len(body) for body in contents(model).values()}.values())


def test_a_damaged_or_missing_image_in_a_file_is_reported(app: Preheat, node: Preheat) -> None:
    assert app("build", "--base", "scratch", "--output", "oci:image:1").status == 0
    largest = max((app.folder / "image/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    with open(largest, "r+b") as file:
        file.seek(largest.stat().st_size // 2)
        file.write(b"not the right bytes")
    shutil.move(app.folder / "image", node.folder / "image")
    told = node("pull", "--from", "oci:image:1", "--patience", "1s")
    assert told.status in (3, 4), told.err
    assert "Traceback" not in told.err
    told = node("pull", "--from", "oci:nothing:1", "--patience", "1s")
    assert told.status == 3
    assert "nothing is not an OCI layout" in told.err
    told = node("pull", "--from", "docker-daemon:demo:1")
    assert (told.status, "docker save" in told.err) == (2, True)


def test_without_a_lock_the_image_lists_the_files(app: Preheat, node: Preheat, registry: Registry, model: Path) -> None:
    image = pushed(app, registry)
    (node.folder / "preheat.lock").unlink()
    assert node("pull", "--from", image).status == 0
    assert right(node, model)
    ended = node("pull", "acme/other", "--from", image, "--patience", "1s")
    assert ended.status == 3
    assert "does not contain" in ended.err


@pytest.mark.parametrize("packed", [False, True])
def test_another_programs_modelcar(node: Preheat, registry: Registry, model: Path, *, packed: bool) -> None:
    car = layer({f"models/{path}": body for path, body in contents(model).items()})
    body, kind = (gzip.compress(car, 1), f"{OCI}.layer.v1.tar+gzip") if packed else (car, f"{OCI}.layer.v1.tar")
    image = published(registry, [(body, kind, {})])
    told = node("pull", "--from", image)
    assert told.status == 0, told.err
    assert right(node, model)
    assert registry.sent <= 1.02 * len(body) + 40_000


@pytest.mark.parametrize("names", ["cncf", "cnai"])
def test_another_programs_model_pack_of_raw_files(node: Preheat, registry: Registry, model: Path, names: str) -> None:
    raw = f"application/vnd.{names}.model.weight.v1.raw"
    key = f"org.{names}.model.filepath"
    image = published(registry, [(body, raw, {key: path}) for path, body in contents(model).items()])
    assert node("pull", "--from", image).status == 0
    assert right(node, model)


def test_an_image_named_in_the_recipe_helps_when_no_hub_answers(
    app: Preheat, node: Preheat, registry: Registry, model: Path
) -> None:
    image = pushed(app, registry).replace("docker://", "oci:")
    text = RECIPE.replace('ref = "acme/tiny"', f'ref = "acme/tiny"\nsame = ["{image}"]')
    for machine in (app, node):
        (machine.folder / "preheat.toml").write_text(text)
    assert app("lock").status == 0
    (node.folder / "preheat.lock").write_bytes((app.folder / "preheat.lock").read_bytes())
    told = node("pull", "--patience", "1s")
    assert told.status == 0, told.err
    assert right(node, model)
    assert node("pull", image).status == 2


def test_what_the_image_lacks_comes_from_the_hub(node: Preheat, hub: FlakyHub, registry: Registry, model: Path) -> None:
    image = published(registry, [(layer({"models/other": b"x"}), f"{OCI}.layer.v1.tar", {})])
    node.env["HF_ENDPOINT"] = hub.url
    told = node("pull", "--from", image)
    assert told.status == 0, told.err
    assert right(node, model)


def test_a_registry_that_prunes_a_layer_meanwhile(
    app: Preheat, node: Preheat, hub: FlakyHub, registry: Registry, model: Path
) -> None:
    image = pushed(app, registry)
    [largest] = [name for name, body in registry.blobs.items() if len(body) > 8_000_000]
    node.env["HF_ENDPOINT"] = NOWHERE
    registry.blobs[largest] = b""
    ended = node("pull", "--from", image, "--patience", "1s")
    assert ended.status in (3, 4), ended.err
    assert not right_so_far(node)
    node.env["HF_ENDPOINT"] = hub.url
    assert node("pull", "--from", image, "--patience", "1s").status == 0
    assert right(node, model)


def right_so_far(node: Preheat) -> bool:
    return (node.folder / "checkpoints/model.safetensors").exists()


def test_a_registry_that_lies(app: Preheat, node: Preheat, registry: Registry) -> None:
    image = pushed(app, registry)
    registry.faults.lie = True
    ended = node("pull", "--from", image, "--patience", "1s")
    assert ended.status in (3, 4)
    assert not right_so_far(node)


@pytest.mark.parametrize(
    "faults",
    [{"busy": 4}, {"busy_tokens": 3}, {"expire_reads": 1}, {"busy": 2, "busy_tokens": 2, "expire_reads": 1}],
    ids=lambda faults: " ".join(faults),
)
def test_a_busy_registry_whose_tokens_expire_is_asked_again(
    app: Preheat, node: Preheat, registry: Registry, model: Path, faults: dict[str, int]
) -> None:
    image = pushed(app, registry)
    registry.tokens.clear()
    registry.faults.__dict__.update(faults)
    told = node("pull", "--from", image, "--json")
    assert told.status == 0, told.out + told.err
    assert right(node, model)
    assert node("verify").status == 0


def test_a_registry_that_forgets_its_users_meanwhile_publishes_nothing(
    app: Preheat, node: Preheat, registry: Registry, model: Path
) -> None:
    image = pushed(app, registry)
    registry.faults.expire_reads = 10_000
    told = node("pull", "--from", image, "--patience", "1s", "--json")
    assert told.status in (3, 6), told.out + told.err
    assert told.last["hint"]
    assert not right_so_far(node)
    registry.faults.expire_reads = 0
    assert node("pull", "--from", image).status == 0
    assert right(node, model)


def test_a_registry_without_ranges(app: Preheat, node: Preheat, registry: Registry, model: Path) -> None:
    image = pushed(app, registry)
    registry.faults.no_ranges = True
    assert node("pull", "--from", image).status == 0
    assert right(node, model)


def test_a_connection_that_breaks_is_resumed(app: Preheat, node: Preheat, registry: Registry, model: Path) -> None:
    image = pushed(app, registry)
    registry.faults.cut = [100_000] * 5
    assert node("pull", "--from", image).status == 0
    assert right(node, model)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        pytest.param("docker://127.0.0.1:9/acme/demo:1", 3, marks=pytest.mark.slow),
        ("oci:out:1", 3),
        ("scratch", 2),
        ("docker://UPPER/Case", 2),
    ],
)
def test_images_that_cannot_be_asked(node: Preheat, words: str, status: int) -> None:
    ended = node("pull", "--from", words, "--patience", "1s")
    assert ended.status == status, ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("body", [b"", b"not a tar" * 100, layer({"a": b"1"})[:700]])
def test_damaged_layers_are_an_error_of_the_image(node: Preheat, registry: Registry, body: bytes) -> None:
    image = published(registry, [(body, f"{OCI}.layer.v1.tar", {})])
    ended = node("pull", "--from", image, "--patience", "1s")
    assert ended.status == 3, ended.err
    assert "Traceback" not in ended.err


def test_a_layer_that_unpacks_to_gigabytes_is_refused(node: Preheat, registry: Registry) -> None:
    bomb = gzip.compress(layer({"models/zeros": bytes(200 << 20)}), 9)
    image = published(registry, [(bomb, f"{OCI}.layer.v1.tar+gzip", {})])
    ended = node("pull", "--from", image, "--patience", "1s")
    assert ended.status == 3, ended.err
