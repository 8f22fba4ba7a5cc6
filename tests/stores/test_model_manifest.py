"""Manifests: written and read unchanged, and joined without losing a file."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from preheat.core.digest import Digest
from preheat.core.errors import HubError, IntegrityError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.stores.model_manifest import ModelManifest, branch_text, read_branch, read_manifest

REF = Ref.parse("acme/tiny")
COMMIT = "a" * 40
PATHS = some.sets(some.sampled_from([f"folder/{name}.bin" for name in "abcdefgh"]))


def made(path: str, content: str = "") -> File:
    return File(path, len(path), Digest("sha256", (path + content).encode().hex().ljust(64, "0")[:64]))


def manifest(there: set[str], listed: set[str], unlisted: tuple[str, ...] | None = None) -> ModelManifest:
    wanted = Snapshot(REF, COMMIT, tuple(made(path) for path in sorted(there)), unlisted)
    return ModelManifest(wanted, tuple(made(path) for path in sorted(listed - there)))


@given(PATHS, PATHS)
def test_a_manifest_is_read_as_it_was_written(there: set[str], listed: set[str]) -> None:
    one = manifest(there, listed)
    assert read_manifest(one.text(), REF, COMMIT, "here") == one


@given(PATHS, PATHS, PATHS, PATHS)
def test_joined_manifests_have_the_files_of_both(a: set[str], b: set[str], c: set[str], d: set[str]) -> None:
    one, other = manifest(a, b, ()), manifest(c, d)
    joined = one.joined(other)
    assert {file.path for file in joined.wanted.files} == a | c
    assert {file.path for file in joined.listed.files} == a | b | c | d
    assert joined.joined(one).text() == joined.text() == joined.joined(other).text() == other.joined(one).text()
    assert joined.wanted.unlisted is None


def test_other_bytes_of_a_file_are_not_joined() -> None:
    wanted = Snapshot(REF, COMMIT, (made("folder/a.bin", "other"),))
    with pytest.raises(IntegrityError, match=r"folder/a\.bin"):
        ModelManifest(wanted).joined(manifest({"folder/a.bin"}, set()))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"version": 2}',
        manifest({"folder/a.bin"}, set()).text().replace(b'"version": 1', b'"version": 2'),
        manifest({"folder/a.bin"}, set()).text().replace(b"acme/tiny", b"acme/other"),
        manifest({"folder/a.bin"}, set()).text().replace(b"sha256:", b"md5:"),
    ],
)
def test_an_invalid_manifest_is_the_stores_fault(body: bytes) -> None:
    with pytest.raises(HubError):
        read_manifest(body, REF, COMMIT, "s3://models/x.json")


@pytest.mark.parametrize("name", [b"../a.bin", b"/a.bin", b"folder//a.bin"])
def test_a_path_that_no_file_may_have_is_no_accident(name: bytes) -> None:
    body = manifest({"folder/a.bin"}, set()).text().replace(b"folder/a.bin", name)
    with pytest.raises(IntegrityError, match=r"s3://models/x\.json"):
        read_manifest(body, REF, COMMIT, "s3://models/x.json")


def test_the_document_of_a_branch_is_of_that_branch() -> None:
    assert read_branch(branch_text(REF, COMMIT), REF, "here") == COMMIT
    for body in (b"", branch_text(REF.at("v2"), COMMIT), branch_text(REF, "main")):
        with pytest.raises(HubError):
            read_branch(body, REF, "here")
