"""The library's parsers, on any bytes: they return a value or raise LibraryError, in bounded time."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.errors import LibraryError
from preheat.core.ref import Ref
from preheat.library.adopt import hf_caches, ms_caches
from preheat.library.blobs.journal import Journal
from preheat.library.library import Library
from preheat.library.records.claims import Claims
from preheat.library.records.image_cache import Images, LayerFact
from preheat.library.records.records import Records
from preheat.library.records.scan_results import Verdicts
from preheat.library.records.seals import Seals
from preheat.library.upkeep.sweep import Sweep
from preheat.mirror.upstream.visibility import Gate
from tests.library.shelves import shelve

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REF = Ref.parse("acme/voice")
HEX = "ab" * 32
FOLDER = "records/hf/models--acme--voice"


@dataclass(frozen=True)
class Parser:
    """A file below a library's folder, a valid content of it, and the function that reads it."""

    path: str
    honest: bytes
    read: Callable[[Path], object]


def trouble(parser: Parser, at: Path) -> LibraryError | None:
    """Call the parser; return the LibraryError that it raised, if any."""
    try:
        parser.read(at)
    except LibraryError as error:
        return error
    return None


def record() -> bytes:
    files = [{"path": "model.bin", "size": 1_500_000, "digest": f"sha256:{HEX}"}]
    return json.dumps({"hub": "hf", "kind": "model", "repo": "acme/voice", "commit": COMMIT, "files": files}).encode()


def claim() -> bytes:
    said = {"by": "pull", "machine": "x", "digests": [f"sha256:{HEX}"], "process": "boot pid:[1] 17 4", "at": "/x"}
    return json.dumps(said).encode()


PARSERS = {
    "format": Parser("format", b"1\n", Library),
    "record": Parser(f"{FOLDER}/{COMMIT}.json", record(), lambda at: Records(at / "records").find(REF.at(COMMIT))),
    "listed": Parser(f"{FOLDER}/{COMMIT}.json", record(), lambda at: list(Records(at / "records").listed())),
    "all": Parser(f"{FOLDER}/{COMMIT}.json", record(), lambda at: list(Records(at / "records").all())),
    "sweep": Parser(f"{FOLDER}/{COMMIT}.json", record(), lambda at: Sweep(at).plan()),
    "ref": Parser(f"{FOLDER}/refs/main", f"{COMMIT}\n".encode(), lambda at: Records(at / "records").find(REF)),
    "refs": Parser(f"{FOLDER}/refs/main", f"{COMMIT}\n".encode(), lambda at: Records(at / "records").revisions(REF)),
    "claim": Parser("claims/x-1.json", claim(), lambda at: list(Claims(at / "claims"))),
    "journal": Parser(
        "x.journal",
        b"preheat-journal 1 1000 boot\nw 0 10\nd 10 20\n",
        lambda at: Journal.read(at / "x.journal", 1000, "boot").ranges,
    ),
    "seals": Parser(
        "seals/x.log", f"preheat-seals 1\nsha256:{HEX} 1 2 3 4 5 6\n".encode(), lambda at: Seals(at / "seals").read()
    ),
    "verdict": Parser(
        f"verdicts/sha256/ab/{HEX}.json", b'{"level":"clean"}\n', lambda at: Verdicts(at).find(sha256(HEX))
    ),
    "layer": Parser(
        f"images/layers/ab/{HEX}.json",
        b'{"digest":"sha256:00","size":1,"pushed":[]}\n',
        lambda at: (Images(at).layer(HEX), Images(at).base(HEX, LayerFact)),
    ),
    "gate": Parser("mirror/hf/models--acme--voice", b"open\n", lambda at: Gate(at).state(REF)),
    "hf tree": Parser(
        f"models--a--b/trees/{COMMIT}.json",
        json.dumps({"format_version": 1, "files": {"x": {"size": 1, "blob_id": "0" * 40}}}).encode(),
        lambda at: hf_caches._tree(at / f"models--a--b/trees/{COMMIT}.json"),
    ),
    "ms list": Parser("a/b/.msc", b"\x80\x04].", lambda at: ms_caches._listed(at / "a/b/.msc")),
}


@st.composite
def damaged(draw: st.DrawFn, honest: bytes) -> bytes:
    """Return random bytes, or the valid ones with some flipped, removed, doubled or replaced."""
    body = bytearray(honest)
    for _ in range(draw(st.integers(0, 4))):
        at, size = draw(st.integers(0, len(body))), draw(st.integers(0, 12))
        body[at : at + size] = draw(
            st.one_of(
                st.binary(max_size=12),
                st.sampled_from(
                    [
                        b"..",
                        b"/",
                        b"\x00",
                        b"-1",
                        b"9" * 400,
                        b"9" * 5000,
                        b"1e999",
                        b"null",
                        b"[" * 5000,
                        b'{"a":' * 3000,
                    ]
                ),
                st.just(bytes(byte ^ (1 << draw(st.integers(0, 7))) for byte in body[at : at + size])),
            )
        )
    return draw(st.one_of(st.just(bytes(body)), st.binary(max_size=200)))


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_a_value_or_a_library_error(tmp_path: Path, name: str, data: st.DataObject) -> None:
    parser = PARSERS[name]
    at = tmp_path / parser.path
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_bytes(data.draw(damaged(parser.honest)))
    error = trouble(parser, tmp_path)
    assert error is None or (str(tmp_path) in error.message and error.hint)


def a_folder(at: Path) -> None:
    at.mkdir()


def a_fifo(at: Path) -> None:
    os.mkfifo(at)


def a_loop(at: Path) -> None:
    at.symlink_to(at)


def a_disk_error(at: Path) -> None:
    at.symlink_to("/proc/self/mem")  # can be opened, but reading fails with EIO, even for root


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("make", [a_folder, a_fifo, a_loop, a_disk_error])
def test_an_entry_that_is_no_file_gives_a_value_or_a_library_error(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    parser = PARSERS[name]
    at = tmp_path / parser.path
    at.parent.mkdir(parents=True, exist_ok=True)
    make(at)
    error = trouble(parser, tmp_path)
    assert error is None or str(at) in error.message


@given(
    revision=st.one_of(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=300),
        st.sampled_from([".", "..", "a" * 300, "漢" * 90, "refs/pr/1", "~" + "a" * 64, "%2E", ".hidden"]),
    )
)
@settings(max_examples=100, deadline=None)
def test_every_revision_has_its_own_ref_file_and_is_listed_by_name(
    tmp_path_factory: pytest.TempPathFactory, revision: str
) -> None:
    library = Library(tmp_path_factory.mktemp("library"))
    main = shelve(library, "acme/voice", {"a.txt": b"a"})
    other = shelve(library, "acme/voice@other", {"a.txt": b"b"})
    library.records.write(type(other)(other.ref.at(revision), other.commit, other.files))
    found = library.find(REF.at(revision))
    assert found is not None
    assert found.commit == other.commit
    if not REF.at(revision).pinned:
        assert library.revisions(REF)[revision] == other.commit
    if revision != "main":
        assert library.find(REF) == main


def test_a_record_under_another_repositorys_path_is_rejected(tmp_path: Path) -> None:
    library = Library(tmp_path)
    snapshot = shelve(library, "acme/voice", {"a.txt": b"a"})
    here = tmp_path / FOLDER / f"{snapshot.commit}.json"
    for there in (tmp_path / "records/hf/models--acme--other", tmp_path / FOLDER):
        there.mkdir(exist_ok=True)
        copy = there / f"{'1' * 40}.json"
        copy.write_bytes(here.read_bytes())
        with pytest.raises(LibraryError, match="does not match its path"):
            list(library.records.listed())
        copy.unlink()
