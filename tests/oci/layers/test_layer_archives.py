"""A layer is a tar that other programs read, with large files on page boundaries, and reproducible."""

import hashlib
import io
import tarfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.oci.layers.layer import LARGE, Layer, LayerEntry, blob_entry, file_entry, folder_entry, link_entry
from preheat.oci.layers.tar import BLOCK, END, FILE, FOLDER, LINK, PAGE, Header, header, padding
from preheat.oci.model.content import chunks

NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\\"), min_size=1, max_size=60)
PATHS = st.lists(
    NAMES.filter(lambda name: name not in (".", "..") and name == name.strip()), min_size=1, max_size=5
).map("/".join)

KINDS = "a3db36e0dbc9648aa5fd9fa5d6709345164452d364c1f4cacd4e2b01126606ba"
KINDS_KEY = "5b29b256deb2b6e40dd83874cc30a34e3ec6b60ae42bdb6187ea69acbc0c8b69"
PAGE_DIGEST = "16ddb06fcd283adc59839bdbc7afae1bee14784a8e6f1b2035c32c9da64fa518"


def body(layer: Layer, start: int = 0) -> bytes:
    return b"".join(bytes(chunk) for chunk in chunks(layer.pieces(start)))


def read(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getmembers()


@given(PATHS, st.sampled_from([FILE, FOLDER, LINK]), PATHS, st.booleans())
def test_other_programs_read_the_headers_as_written(path: str, kind: str, target: str, executable: bool) -> None:
    said = Header(path, kind, 0, target if kind == LINK else "", executable and kind == FILE)
    [member] = read(header(said) + END)
    assert member.name == path
    assert (member.type.decode(), member.linkname) == (kind, said.target)
    assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 0)
    assert member.mode == {FILE: 0o444, FOLDER: 0o755, LINK: 0o777}[kind] | (0o111 if said.executable else 0)


@given(PATHS, st.integers(0, 1 << 45), st.integers(0, 1 << 20).map(lambda blocks: blocks * BLOCK))
def test_aligned_bytes_begin_on_a_page_boundary(path: str, size: int, at: int) -> None:
    said = header(Header(path, size=size), at, aligned=True)
    assert (at + len(said)) % PAGE == 0
    assert len(said) <= 3 * PAGE
    member = tarfile.TarInfo.frombuf(said[-BLOCK:], "utf-8", "strict")
    archive = tarfile.open(fileobj=io.BytesIO(said), mode="r:")  # noqa: SIM115 - its members alone
    found = archive.next()
    assert found is not None
    assert (found.name, found.size) == (path, size)
    assert member.size == (size if size < 8**11 else 0)


def test_the_header_of_a_single_file_layer_is_one_page() -> None:
    name = f"opt/preheat/blobs/sha256/{'a' * 64}"
    for size in (LARGE, 8**11 - 1, 8**11, 1 << 50):
        assert len(header(Header(name, size=size), aligned=True)) == PAGE


def test_the_format_has_not_changed() -> None:
    """Registries store layers by their digests: another format needs another number, and an ADR."""
    entries = (
        file_entry("app/checkpoints/config.json", b"{}\n"),
        folder_entry("app/checkpoints"),
        link_entry("app/" + "long/" * 30 + "gpt.pth", "../" * 8 + "opt/preheat/blobs/sha256/" + "0" * 64),
        file_entry("opt/preheat/müde.txt", "schön".encode()),
        file_entry("opt/preheat/guard.pyz", b"#!/usr/bin/env python3\n", executable=True),
    )
    layer = Layer("all kinds", tuple(sorted(entries, key=lambda entry: entry.path.encode())))
    assert hashlib.sha256(body(layer)).hexdigest() == KINDS
    assert layer.key == KINDS_KEY
    page = header(Header(f"opt/preheat/blobs/sha256/{'a' * 64}", size=5 << 20), aligned=True)
    assert hashlib.sha256(page).hexdigest() == PAGE_DIGEST


def test_a_layer_has_its_announced_size_and_can_be_read_from_any_offset(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * (LARGE // 256) + b"more")
    digest = sha256(hashlib.sha256(large.read_bytes()).hexdigest())
    layer = Layer(
        "mixed",
        (
            file_entry("a.txt", b"hello"),
            blob_entry("b.bin", large.stat().st_size, digest, large),
            file_entry("empty", b""),
            link_entry("z", "b.bin"),
        ),
    )
    whole = body(layer)
    assert len(whole) == layer.size
    for start in (0, 1, 511, 4096, 8191, LARGE, layer.size - 1, layer.size):
        assert body(layer, start) == whole[start:]
    members = {member.name: member for member in read(whole)}
    assert members["b.bin"].offset_data % PAGE == 0
    assert whole[members["b.bin"].offset_data :][: large.stat().st_size] == large.read_bytes()
    assert whole.endswith(END)


@given(st.lists(st.tuples(PATHS, st.binary(max_size=20)), max_size=5, unique_by=lambda one: one[0]))
def test_different_layers_have_different_keys(files: list[tuple[str, bytes]]) -> None:
    layer = Layer("x", tuple(file_entry(path, data) for path, data in files))
    assert layer.key == Layer("y", layer.entries).key
    for number, entry in enumerate(layer.entries):
        others = [*layer.entries]
        others[number] = LayerEntry(entry.path, FILE, size=entry.size + 1, body=entry.body + b"!")
        assert Layer("x", tuple(others)).key != layer.key


@given(st.integers(0, 10 * BLOCK))
def test_padding_fills_a_block(size: int) -> None:
    assert (size + len(padding(size))) % BLOCK == 0
    assert len(padding(size)) < BLOCK
