"""Pull from a real registry: images of preheat, and those that skopeo has recompressed or umoci has made."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.outsiders.test_images import RECIPE, need, registry, run
from tests.stories.two_machines import another, locked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def app(preheat: Preheat) -> Preheat:
    """A locked recipe, whose files the machine's library has."""
    return locked(preheat, RECIPE)


@pytest.fixture
def node(app: Preheat, tmp_path: Path) -> Iterator[Preheat]:
    """A second machine, with the recipe and its lock, and no hub."""
    with another(tmp_path / "node", app) as node:
        yield node


def right(node: Preheat, model: Path) -> bool:
    files = [path for path in model.rglob("*") if path.is_file()]
    placed = [node.folder / "checkpoints" / path.relative_to(model) for path in files]
    return all(one.read_bytes() == path.read_bytes() for one, path in zip(placed, files, strict=True))


def test_a_real_registry_is_a_source(app: Preheat, node: Preheat, model: Path, tmp_path: Path) -> None:
    with registry(tmp_path / "registry") as host:
        told = app("build", "--base", "scratch", "--output", f"docker://{host}/acme/demo:1", "--json")
        assert told.status == 0, told.err
        image = f"docker://{host}/acme/demo@{told.last['digest']}"
        pulled = node("pull", "--from", image)
        assert pulled.status == 0, pulled.err
        assert right(node, model)


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_what_skopeo_compressed(app: Preheat, node: Preheat, model: Path, tmp_path: Path, packing: str) -> None:
    need("skopeo")
    with registry(tmp_path / "registry") as host:
        told = app("build", "--base", "scratch", "--output", "oci:out:1", "--json")
        assert told.status == 0, told.err
        words = ("--dest-compress-format", packing)
        run("skopeo", "--insecure-policy", "copy", *words, f"oci:{app.folder}/out:1", f"docker://{host}/acme/packed:1")
        listed = json.loads(run("skopeo", "inspect", "--raw", f"docker://{host}/acme/packed:1"))
        assert any(layer["mediaType"].endswith(packing) for layer in listed["layers"])
        pulled = node("pull", "--from", f"docker://{host}/acme/packed:1", "--patience", "1s")
        if packing == "zstd":
            assert pulled.status == 3
            assert "zstd" in pulled.err
        else:
            assert pulled.status == 0, pulled.err
            assert right(node, model)


def test_a_modelcar_that_umoci_made(node: Preheat, model: Path, tmp_path: Path) -> None:
    need("umoci", "skopeo")
    shutil.copytree(model, tmp_path / "root/models")
    run("umoci", "init", "--layout", "car", cwd=tmp_path)
    run("umoci", "new", "--image", "car:1", cwd=tmp_path)
    run("umoci", "insert", "--image", "car:1", "root/models", "/models", cwd=tmp_path)
    with registry(tmp_path / "registry") as host:
        to = f"docker://{host}/acme/car:1"
        run("skopeo", "--insecure-policy", "copy", f"oci:{tmp_path}/car:1", to)
        pulled = node("pull", "--from", to)
        assert pulled.status == 0, pulled.err
        assert right(node, model)
        assert node("verify").status == 0
