"""Untrusted tars: read like tarfile does, with bounded memory and time."""

import contextlib
import gzip
import io
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.errors import ImageError
from preheat.oci.config.base_files import Listing
from preheat.oci.layers.overlay import Overlay
from preheat.oci.layers.tar_reader import FILE, FOLDER, LARGEST_HEADER, LINK, MOST_BYTES, Damaged, TarEntries
from preheat.oci.model.content import FileSpan, Local, Small
from preheat.oci.model.descriptor import LAYER

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=300)
KINDS = {tarfile.REGTYPE: FILE, tarfile.DIRTYPE: FOLDER, tarfile.SYMTYPE: LINK}


def header(name: bytes = b"x", size: bytes = b"00000000000\0", kind: bytes = b"0") -> bytes:
    block = bytearray(512)
    block[: len(name)], block[124:136], block[156:157], block[257:265] = name, size, kind, b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(body: bytes) -> bytes:
    return body + bytes(-len(body) % 512)


def base_256(size: int) -> bytes:
    return b"\x80" + size.to_bytes(11, "big")


@given(
    st.lists(st.tuples(NAMES, st.sampled_from(list(KINDS)), st.binary(max_size=2000), NAMES), max_size=8),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.booleans(),
)
def test_reads_tars_that_tarfile_writes(files: list[tuple[str, bytes, bytes, str]], form: int, seeking: bool) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, kind, body, target in files:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target if kind == tarfile.SYMTYPE else ""
            member.size = len(body) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(body))
    said = io.BytesIO(out.getvalue())
    entries = TarEntries(said, said.seek if seeking else None)
    for entry, (name, kind, body, target) in zip(entries, files, strict=True):
        assert entry.name.strip("/") == name.rstrip("/").strip("/")
        assert (entry.kind, entry.target) == (KINDS[kind], target if kind == tarfile.SYMTYPE else "")
        if kind == tarfile.REGTYPE:
            assert out.getvalue()[entry.at : entry.at + entry.size] == body
            assert entries.read(len(body)) == body


@given(st.binary(max_size=3000), st.integers(0, 5))
def test_any_bytes_are_rejected_or_read_to_their_end(junk: bytes, blocks: int) -> None:
    said = (header(b"a") * blocks) + junk
    with contextlib.suppress(Damaged):
        list(TarEntries(io.BytesIO(said)))


@pytest.mark.parametrize(
    "said",
    [
        header(size=base_256(6 << 30), kind=b"x"),
        header(size=base_256(LARGEST_HEADER + 1), kind=b"L"),
        header(size=base_256(2 << 30), kind=b"g"),
        header(size=base_256(1 << 80)),
        header(size=base_256(MOST_BYTES + 1)),
        header(size=b"\xff" * 12),
        header(size=b"zzzzzzzzzzz\0"),
        header(size=b"%011o\0" % 20, kind=b"x") + padded(b"99999999 path=abc\n\0\0"),
        header(size=b"%011o\0" % 10, kind=b"x") + padded(b"0 path=a\n\n"),
        header(size=b"%011o\0" % 13, kind=b"x") + padded(b"13 size=9e99\n") + header(),
        header(size=b"%011o\0" % 5000, kind=b"L") + padded(b"a" * 5000) + header(),
        header(size=b"%011o\0" % 1000),
        header()[:300],
    ],
)
def test_implausible_sizes_and_headers_are_rejected(said: bytes) -> None:
    with pytest.raises(Damaged):
        list(TarEntries(io.BytesIO(said)))


def test_a_zip_bomb_is_rejected() -> None:
    """A long header of zeros is refused by its size, before any of it is unpacked."""
    packed = gzip.compress(header(size=base_256(6 << 30), kind=b"x") + bytes(64 << 20))
    with pytest.raises(ImageError, match="the maximum is"):
        Listing().apply(Small("layer", packed, sha256("0" * 64)), f"{LAYER}+gzip")


def test_a_layer_with_a_wrong_digest_gives_no_listing() -> None:
    body = gzip.compress(header(b"a") + bytes(1024))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "layer").write_bytes(body)
        wrong = Local("layer", FileSpan(Path(folder) / "layer", 0, len(body)), sha256("0" * 64))
        with pytest.raises(ImageError, match="does not match its digest"):
            Listing().apply(wrong, f"{LAYER}+gzip")


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)


@given(st.lists(st.lists(st.tuples(st.sampled_from(["put", "away", "below"]), PATHS), max_size=8), max_size=4))
def test_removals_affect_only_paths_of_older_layers(layers: list[list[tuple[str, str]]]) -> None:
    """Compare with a simple model: a set of paths, each with the layer that added it."""
    overlay, model = Overlay(), dict[str, int]()
    for number, layer in enumerate(layers):
        overlay.begin()
        for act, path in layer:
            if act == "put":
                overlay.put(path, "folder")
                parts = path.split("/")
                for depth in range(len(parts)):
                    model["/".join(parts[: depth + 1])] = number
            else:
                (overlay.remove if act == "away" else overlay.remove_below)(path)
                gone = [
                    one
                    for one, by in model.items()
                    if by < number and (one.startswith(f"{path}/") or (act == "away" and one == path))
                ]
                for one in gone:
                    del model[one]
        every = [f"{a}{b}{c}" for a in "abc" for b in ("", "/a", "/b", "/c") for c in ("", "/a", "/b", "/c")]
        assert {path for path in every if overlay.kind(path)} == set(model)


def test_the_cost_of_whiteouts_depends_on_what_they_name_only() -> None:
    """Count the nodes that are visited, instead of measuring time."""
    overlay = Overlay()
    overlay.begin()
    for number in range(3000):
        overlay.put(f"d/f{number}", "file")
    overlay.begin()
    for number in range(3000):
        overlay.remove(f"d/f{number}")
        overlay.remove_below("d")
    assert not overlay.kind("d/f0")
    assert overlay.kind("d") == "folder"


@pytest.mark.parametrize(("kind", "read"), [(b"0", FILE), (b"\0", FOLDER)])
def test_a_trailing_slash_makes_a_folder_only_in_old_tars(kind: bytes, read: str) -> None:
    said = header(name=b"d/", kind=kind) + header(name=b"after")
    assert [(entry.kind, entry.name.strip("/")) for entry in TarEntries(io.BytesIO(said))] == [
        (read, "d"),
        (FILE, "after"),
    ]


def test_the_last_file_needs_no_padding() -> None:
    """Umoci's layers end so."""
    entries = TarEntries(io.BytesIO(header(b"a", b"00000000003\0") + b"abc"))
    assert [(entry.name, entries.read(9)) for entry in entries] == [("a", b"abc")]
