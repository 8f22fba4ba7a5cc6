"""A base image is read and inspected, and rejected if it is unusable."""

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.errors import ImageError
from preheat.oci.config.base_files import Listing
from preheat.oci.config.base_image import BaseFindings, BaseQuery, inspect_base, read_image
from preheat.oci.layers.overlay import FOLDER
from preheat.oci.local.archive_reader import DockerArchive, open_oci_archive
from preheat.oci.local.archive_writer import ArchiveTarget
from preheat.oci.local.layout import LayoutTarget, open_layout
from preheat.oci.model.content import Content, Small, chunks
from preheat.oci.model.descriptor import LAYER, Descriptor
from preheat.oci.model.image import ImageDocument, config_document, write_manifest
from preheat.oci.model.interfaces import HERE, ImageSource
from preheat.oci.model.platform import Platform
from tests.guard.apps import until
from tests.oci.bases import Files, layer, layout

AMD = Platform("linux", "amd64")


def listing(*layers: Files) -> Listing:
    found = Listing()
    for files in layers:
        body = gzip.compress(layer(files))
        found.apply(Small("layer", body, ImageDocument("", body).digest), f"{LAYER}+gzip")
    return found


def test_layers_replace_and_remove_paths_of_lower_layers() -> None:
    found = listing(
        {"a": None, "a/old": b"1", "b": None, "b/file": b"2", "c": b"3", "kept": None, "kept/x": b""},
        {"a/.wh.old": b"", "b/.wh..wh..opq": b"", "b/new": b"4", "c": None, "c/deep/er": b"5"},
    )
    kinds = {path: found.kind(path) for path in ("a", "a/old", "b/file", "b/new", "c", "c/deep", "kept/x")}
    assert kinds == {
        "a": "folder",
        "a/old": "",
        "b/file": "",
        "b/new": "file",
        "c": "folder",
        "c/deep": "folder",
        "kept/x": "file",
    }


def test_links_are_followed_and_loops_end() -> None:
    found = listing({"bin": "usr/bin", "usr/bin/python3": "python3.11", "usr/bin/python3.11": b"", "x": "y", "y": "x"})
    assert found.resolve("/bin/python3") == "usr/bin/python3.11"
    assert found.resolve("x/z") == ""


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"usr/bin/python3": "python3.11", "usr/bin/python3.11": b""}, ("/usr/bin/python3", "3.11")),
        ({"usr/bin/python3": "python3.7", "usr/bin/python3.7": b""}, ("", "")),
        ({"usr/bin/python3.8": b""}, ("/usr/bin/python3.8", "3.8")),
        ({"app/bin/python": "/usr/bin/python3", "usr/bin/python3": "python3.12", "usr/bin/python3.12": b""}, None),
        ({"usr/bin/python2": b""}, ("", "")),
        ({}, ("", "")),
    ],
)
def test_python_3_8_and_later_is_found(files: Files, found: tuple[str, str] | None) -> None:
    search = ["app/bin", "usr/bin"]
    # The app's own environment comes first in its PATH; the first Python that can run the guard is used.
    assert listing(files).python(search) == (found or ("/usr/bin/python3", "3.12"))


def test_a_file_in_the_place_of_a_view_is_a_clash_and_a_folder_is_not(tmp_path: Path) -> None:
    files: Files = {"app": None, "app/checkpoints": "/data", "opt": b"a file", "srv/models/config.json": None}
    layout(tmp_path, [layer(files)])
    source = open_layout(tmp_path, "base")
    question = BaseQuery(("app", "opt/preheat"), ("app/checkpoints/gpt.pth", "srv/models/config.json", "new"), ())
    found = inspect_base(read_image(source, AMD), question, lambda one: source.content(one, "layer"))
    assert found.folders == ("app",)
    assert [clash.split(" ")[0] for clash in found.clashes] == ["/app/checkpoints", "/opt", "/srv/models/config.json"]


@given(st.dictionaries(st.sampled_from(["a", "a/b", "a/b/c", "d", "d/e"]), st.sampled_from([b"", None]), max_size=5))
def test_the_parents_of_every_path_are_folders(files: Files) -> None:
    found = listing(dict(sorted(files.items())))
    for path in ("a/b/c", "a/b", "d/e"):
        if found.kind(path):
            assert found.kind(path.rpartition("/")[0]) in (FOLDER, "file")


def refused(read: Callable[[], object], words: str) -> None:
    with pytest.raises(ImageError, match=words) as error:
        read()
    assert error.value.end == "source"
    assert error.value.hint


def test_a_base_for_another_platform_is_rejected_with_its_platforms(tmp_path: Path) -> None:
    layout(tmp_path, [layer({"a": b""})], architecture="arm64")
    refused(lambda: read_image(open_layout(tmp_path, "base"), AMD), "is for linux/arm64, but linux/amd64")


def test_the_requested_platform_is_chosen(tmp_path: Path) -> None:
    layout(tmp_path, [layer({"a": b""})], tag="one", architecture="arm64")
    layout(tmp_path, [layer({"b": b""})], tag="two", architecture="amd64")
    index = json.loads((tmp_path / "index.json").read_bytes())
    for entry, architecture in zip(index["manifests"], ("arm64", "amd64"), strict=True):
        entry.pop("annotations")
        entry["platform"] = {"os": "linux", "architecture": architecture}
    body = json.dumps({**index, "mediaType": "application/vnd.oci.image.index.v1+json"}).encode()
    digest = hashlib.sha256(body).hexdigest()
    (tmp_path / "blobs/sha256" / digest).write_bytes(body)
    top = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": f"sha256:{digest}", "size": len(body)}
    (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    image = read_image(open_layout(tmp_path, ""), Platform("linux", "arm64", "v8"))
    assert image.platform.architecture == "arm64"
    refused(lambda: read_image(open_layout(tmp_path, ""), Platform("linux", "s390x")), "no image for linux/s390x")


def test_a_document_with_a_wrong_digest_is_rejected(tmp_path: Path) -> None:
    layout(tmp_path, [layer({"a": b""})])
    manifest = json.loads((tmp_path / "index.json").read_bytes())["manifests"][0]["digest"].partition(":")[2]
    blob = tmp_path / "blobs/sha256" / manifest
    blob.write_bytes(blob.read_bytes().replace(b"by", b"by"[::-1]) + b" ")
    refused(lambda: read_image(open_layout(tmp_path, "base"), AMD), "does not match its digest")


def test_an_unknown_tag_is_rejected_with_the_known_ones(tmp_path: Path) -> None:
    layout(tmp_path, [layer({"a": b""})], tag="there")
    with pytest.raises(ImageError) as error:
        read_image(open_layout(tmp_path, "other"), AMD)
    assert "there" in error.value.hint


def content(source: ImageSource, one: Descriptor) -> bytes:
    return b"".join(bytes(chunk) for chunk in chunks(source.content(one, "layer").pieces()))


@pytest.mark.parametrize("form", ["layout", "oci-archive", "docker-archive"])
def test_an_image_written_in_each_form_is_read_back_the_same(form: str, tmp_path: Path) -> None:
    bodies = [layer({"a": b"1"}), layer({"b": b"2" * 6_000_000})]
    contents: list[Content] = [
        Small(str(number), body, ImageDocument("", body).digest) for number, body in enumerate(bodies)
    ]
    told: list[int] = []
    docker = form == "docker-archive"
    at = tmp_path / "out"
    target = (
        LayoutTarget(at, "v1", told.append)
        if form == "layout"
        else ArchiveTarget(at, "me/x:v1" if docker else "v1", told.append, docker=docker)
    )
    target.begin()
    digests = [target.put(one)[0] for one in contents]
    # A layout names a blob in another thread, after fsync.
    assert until(lambda: target.put(contents[0])[1] == HERE)
    config = config_document(
        {
            "os": "linux",
            "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": [str(digest) for digest in digests]},
        }
    )
    layers = tuple(Descriptor(LAYER, digest, len(body)) for digest, body in zip(digests, bodies, strict=True))
    target.publish(write_manifest(config, layers, {}, docker=docker), config)
    target.close()
    source: ImageSource = (
        open_layout(at, "v1")
        if form == "layout"
        else DockerArchive(at, "me/x:v1")
        if docker
        else open_oci_archive(at, "v1")
    )
    image = read_image(source, AMD)
    assert [content(source, one) for one in image.layers] == bodies
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("docker", [True, False])
def test_an_unfinished_archive_leaves_no_file(docker: bool, tmp_path: Path) -> None:
    target = ArchiveTarget(tmp_path / "x.tar", "", lambda _: None, docker=docker)
    target.begin()
    target.put(Small("a", b"a" * 2000, ImageDocument("", b"a" * 2000).digest))
    target.close()
    assert list(tmp_path.iterdir()) == []


def test_a_content_with_a_wrong_digest_gets_no_name(tmp_path: Path) -> None:
    target = LayoutTarget(tmp_path, "v1", lambda _: None)
    target.begin()
    lie = Small("lie", b"something else", ImageDocument("", b"something").digest, trusted=False)
    with pytest.raises(ImageError, match="expected") as error:
        target.put(lie)
    target.close()
    assert error.value.end == "source"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_cached_findings_are_the_same_as_new_ones() -> None:
    import msgspec

    found = BaseFindings(("a",), (), "/usr/bin/python3", "3.11", ("curl",), ())
    assert msgspec.json.decode(msgspec.json.encode(found), type=BaseFindings) == found
