"""Archives: what they say they have, and what of it is believed; nothing is stored of one that lies."""

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.errors import IntegrityError, UsageError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.library import archive_members
from preheat.library.adopt.intake import Intake
from preheat.library.archives import members, unpack
from preheat.library.library import Library

CONTENTS = {"words/a.txt": b"alpha\n" * 1000, "words/deep/b.bin": bytes(range(256)) * 6000, "empty": b""}


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def of_zip(names: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", method) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return body.getvalue()


def of_tar(*entries: tuple[str, bytes | str, bytes], **more: int) -> bytes:
    """Return a tar of (name, content or link's target, type)."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as archive:
        for name, content, kind in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            if isinstance(content, str):
                info.linkname = content
            else:
                info.size = more.get("size", len(content))
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return body.getvalue()


def listed(folder: Path, body: bytes, kind: str) -> dict[str, tuple[int, str]]:
    path = folder / f"archive.{kind}"
    path.write_bytes(body)
    return {file.path: (file.size, file.digest.hex) for file in members(path, kind)}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_of_zips(tmp_path: Path, method: int) -> None:
    found = listed(tmp_path, of_zip(CONTENTS | {"folder/": b""}, method), "zip")
    assert found == {name: (len(body), digest(body)) for name, body in CONTENTS.items()}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_members_of_tars(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    entries = [(name, body, tarfile.REGTYPE) for name, body in CONTENTS.items()]
    links = [("words/link", "a.txt", tarfile.SYMTYPE), ("hard", "words/a.txt", tarfile.LNKTYPE)]
    found = listed(tmp_path, pack(of_tar(("words", b"", tarfile.DIRTYPE), *entries, *links)), "tar")
    same = CONTENTS | {"words/link": CONTENTS["words/a.txt"], "hard": CONTENTS["words/a.txt"]}
    assert found == {name: (len(body), digest(body)) for name, body in same.items()}


LYING_NAMES = {
    "../out": "leads out",
    "a/../../out": "leads out",
    "/etc/passwd": "leads out",
    "a//b": "leads out",
    "C:\\windows": "leads out",
    "x\ny": "control characters",
    "/".join("d" * 40): "too long",
    "n" * 1025: "too long",
}


@pytest.mark.parametrize(("name", "why"), LYING_NAMES.items(), ids=[repr(name[:12]) for name in LYING_NAMES])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str, why: str, kind: str) -> None:
    body = of_zip({"good": b"1", name: b"2"}) if kind == "zip" else of_tar(("good", b"1", b"0"), (name, b"2", b"0"))
    with pytest.raises(IntegrityError, match=why):
        listed(tmp_path, body, kind)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("a", "a", "'a' twice"),
        ("README", "readme", "differ only by case"),
        ("Words/a", "words/b", "differ only by case"),
        ("a", "a/b", "both a file and a folder"),
        ("a/b", "a", "both a file and a folder"),
    ],
)
def test_names_that_exclude_each_other_are_refused(tmp_path: Path, first: str, second: str, why: str) -> None:
    with pytest.raises(IntegrityError, match=why):
        listed(tmp_path, of_tar((first, b"1", b"0"), (second, b"2", b"0")), "tar")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "missing", "."])
def test_a_link_that_leads_to_no_earlier_file_is_refused(tmp_path: Path, kind: bytes, target: str) -> None:
    with pytest.raises(IntegrityError, match="is a link"):
        listed(tmp_path, of_tar(("a/good", b"1", b"0"), ("a/link", target, kind)), "tar")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(IntegrityError, match="device"):
        listed(tmp_path, of_tar(("dev", "", kind)), "tar")


@pytest.mark.parametrize(("mode", "target", "why"), [(0o120777, b"../../x", "leads out"), (0o020666, b"", "device")])
def test_a_zip_with_modes_that_are_no_files(tmp_path: Path, mode: int, target: bytes, why: str) -> None:
    info = zipfile.ZipInfo("a")
    info.external_attr = mode << 16
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr(info, target)
    with pytest.raises(IntegrityError, match=why):
        listed(tmp_path, body.getvalue(), "zip")


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    body = bytearray(of_zip({"secret": b"1"}))
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        body[body.index(signature) + at] |= 1
    with pytest.raises(IntegrityError, match="encrypted"):
        listed(tmp_path, bytes(body), "zip")


def test_a_wrong_checksum_is_noticed(tmp_path: Path) -> None:
    body = bytearray(of_zip({"a": b"some bytes"}, zipfile.ZIP_STORED))
    body[body.index(b"some bytes")] ^= 1
    with pytest.raises(IntegrityError, match="CRC"):
        listed(tmp_path, bytes(body), "zip")


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0, 1, 47, 255])), min_size=1, max_size=6), st.booleans())
def test_any_bytes_are_members_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int]], is_zip: bool
) -> None:
    small = {"d/a": b"alpha", "d/b": b""}
    body = bytearray(of_zip(small) if is_zip else of_tar(*((name, text, b"0") for name, text in small.items())))
    for at, value in changes:
        body[int(at * (len(body) - 1))] = value
    with contextlib.suppress(IntegrityError):
        listed(tmp_path_factory.getbasetemp(), bytes(body), "zip" if is_zip else "tar")


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    body = of_zip({"a": b"1"})
    for signature, at in ((b"PK\3\4", 26), (b"PK\1\2", 28)):
        start = body.index(signature)
        body = body[: start + at] + bytes(2) + body[start + at + 2 :]
    with pytest.raises(IntegrityError):
        listed(tmp_path, body, "zip")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_any_cut_and_no_archive_at_all_are_errors_of_ours(tmp_path: Path, kind: str) -> None:
    whole = of_zip(CONTENTS) if kind == "zip" else gzip.compress(of_tar(("a", CONTENTS["words/a.txt"], b"0")))
    for body in (
        b"",
        b"nothing of the kind" * 100,
        *(whole[:cut] for cut in range(1, len(whole) - 20, len(whole) // 40)),
    ):
        with pytest.raises(IntegrityError):
            listed(tmp_path, body, kind)


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_members, "FREE_BYTES", 1 << 20)
    body = of_zip({"zeros": bytes(8 << 20)})
    assert len(body) * archive_members.MOST_RATIO < 8 << 20
    with pytest.raises(IntegrityError, match="unpacks to more than"):
        listed(tmp_path, body, "zip")
    with pytest.raises(IntegrityError, match="unpacks to more than"):
        listed(tmp_path, gzip.compress(of_tar(("zeros", bytes(8 << 20), b"0"))), "tar")


def test_a_header_that_fills_memory_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    with pytest.raises(IntegrityError, match="header"):
        listed(tmp_path, gzip.compress(header.tobuf() + bytes(1 << 20)), "tar")


def test_a_million_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory of a million members is not even read; with fewer, they are counted."""
    whole = of_zip({"a": b""})
    end = whole.index(b"PK\5\6")
    claims = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 64 << 20, 0, 0)
    with pytest.raises(IntegrityError, match="its directory has"):
        listed(tmp_path, whole[:end] + claims, "zip")
    monkeypatch.setattr(archive_members, "MOST_MEMBERS", 10)
    with pytest.raises(IntegrityError, match="more than 10"):
        listed(tmp_path, of_zip({str(number): b"" for number in range(11)}), "zip")
    with pytest.raises(IntegrityError, match="more than 10"):
        listed(tmp_path, of_tar(*((str(number), b"", b"0") for number in range(11))), "tar")


def test_an_empty_archive_and_an_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="has no file"):
        listed(tmp_path, of_zip({}), "zip")
    with pytest.raises(UsageError):
        listed(tmp_path, of_zip({}), "rar")


# ---- stored


def kept(library: Library, body: bytes, name: str = "a.zip") -> Snapshot:
    """Store an archive as a blob, as a pull does; return its snapshot."""
    library.prepare(0)
    aside = library.root.parent / name
    aside.write_bytes(body)
    Intake(library.root, library.path, lambda _: None, copy=True).take(aside, sha256(digest(body)))
    ref = Ref.parse(f"https://hub.test/{name}#sha256={digest(body)}")
    return Snapshot(ref, ref.revision, (File(name, len(body), sha256(digest(body))),))


def test_members_become_blobs_and_a_version_of_the_library(tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    archive = kept(library, of_zip(CONTENTS))
    snapshot = unpack(library, archive, "zip")
    assert snapshot.ref == Ref.parse(f"zip:{archive.ref}")
    assert library.find(Ref.parse(str(snapshot.ref))) == snapshot
    assert {file.path: library.path(file.digest).read_bytes() for file in snapshot.files} == CONTENTS
    assert all(library.path(file.digest).stat().st_mode & 0o777 == 0o444 for file in snapshot.files)
    assert not library.touched(snapshot.files), "they are sealed"
    assert not list((library.root / "partial").iterdir())
    assert unpack(library, archive, "zip") == snapshot


def test_several_processes_may_unpack_the_same_archive_at_once(tmp_path: Path) -> None:
    members = {str(number): str(number).encode() * 2000 for number in range(100)} | {"large": bytes(3 << 20)}
    archive = kept(Library(tmp_path / "library"), of_zip(members))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: unpack(Library(tmp_path / "library"), archive, "zip"), range(4)))
    library = Library(tmp_path / "library")
    assert not library.missing(found[0])
    assert found == [found[0]] * 4
    assert not list((library.root / "partial").iterdir())


def test_nothing_is_recorded_of_an_archive_that_lies(tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    with pytest.raises(IntegrityError):
        unpack(library, kept(library, of_zip({"a": b"1", "../b": b"2"})), "zip")
    assert not list(library.snapshots())
    assert not list((library.root / "partial").iterdir())
