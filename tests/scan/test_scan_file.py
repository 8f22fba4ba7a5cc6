"""A file that would run code is found, and scanning it runs none."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest

from preheat.core.digest import git_sha1
from preheat.core.ref import Ref
from preheat.core.scan_verdict import CLEAN, DANGEROUS, SUSPICIOUS, UNSCANNED, ScanVerdict
from preheat.core.snapshot import File
from preheat.hubs.folder import Folder
from preheat.library.library import Library
from preheat.library.records.scan_results import Verdicts
from preheat.scan.scan_file import may_run_code, scan, scanner
from preheat.verbs.scan import scan_files
from tests.growth.counting import operations
from tests.guard.apps import until


class Runs:
    """An object that calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., object], *words: object) -> None:
        self._call = (function, words)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


@pytest.fixture
def planted(tmp_path: Path) -> Runs:
    return Runs(os.system, f"touch {tmp_path}/it-ran")


def _zipped(content: bytes) -> bytes:
    """Wrap a pickle as torch.save does."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", os.urandom(4096))
        archive.writestr("archive/version", "3\n")
    return whole.getvalue()


def _scanned(tmp_path: Path, name: str, content: bytes) -> ScanVerdict:
    blob = tmp_path / "a-blob-without-a-suffix"
    blob.write_bytes(content)
    return scan(blob, name)


@pytest.mark.parametrize("name", ["s2mel.pth", "a/b.bin", "x.pt", "x.ckpt", "x.pkl", "x.joblib", "X.PKL", "no_suffix"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_planted_pickle_is_found_and_not_run(tmp_path: Path, planted: Runs, name: str, protocol: int) -> None:
    told = _scanned(tmp_path, name, pickle.dumps({"weights": [1, 2], "x": planted}, protocol))
    assert (told.level, told.found) == (DANGEROUS, ("posix.system",))
    assert told.unsafe
    assert told.scanner == scanner(name) != ""
    assert str(told) == "dangerous: it calls posix.system"
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("name", ["s2mel.pth", "model.bin", "x.pkl"])
def test_a_planted_pickle_is_found_in_a_torch_zip(tmp_path: Path, planted: Runs, name: str) -> None:
    told = _scanned(tmp_path, name, _zipped(pickle.dumps([planted], 2)))
    assert (told.level, told.found) == (DANGEROUS, ("posix.system",))


def test_an_ordinary_checkpoint_is_clean(tmp_path: Path) -> None:
    told = _scanned(tmp_path, "model.pt", _zipped(pickle.dumps(OrderedDict(a=1), 2)))
    assert (told.level, told.found, str(told)) == (CLEAN, (), "clean")
    assert told.unsafe == (told.level != CLEAN)


def test_an_unknown_function_is_suspicious_and_named(tmp_path: Path) -> None:
    told = _scanned(tmp_path, "model.pkl", pickle.dumps(Path("x")))
    assert told.level == SUSPICIOUS
    assert told.found == ("pathlib.PosixPath",)
    assert told.unsafe == (told.level != CLEAN)


def test_weights_in_other_formats_are_clean_whatever_their_name(tmp_path: Path) -> None:
    assert _scanned(tmp_path, "model.bin", bytes(range(256)) * 5000).level == CLEAN
    assert _scanned(tmp_path, "empty.bin", b"").level == CLEAN


def _tarred(content: bytes) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        one = tarfile.TarInfo("pickle")
        one.size = len(content)
        archive.addfile(one, io.BytesIO(content))
    return whole.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zlib.compress, _tarred, _zipped])
@pytest.mark.parametrize("name", ["model.joblib", "weights.dat", "a.tar.gz", "checkpoint"])
def test_compressed_pickles_are_found(tmp_path: Path, planted: Runs, pack: Callable[[bytes], bytes], name: str) -> None:
    told = _scanned(tmp_path, name, pack(pickle.dumps(planted)))
    assert (told.level, told.found) == (DANGEROUS, ("posix.system",))
    assert _scanned(tmp_path, name, pack(pickle.dumps([1, 2]))).level == CLEAN


def test_a_truncated_or_malicious_pickle_is_never_clean(tmp_path: Path, planted: Runs) -> None:
    whole = pickle.dumps({"a": [1.0] * 100}, 4)
    assert _scanned(tmp_path, "model.pkl", whole[:50]).level == UNSCANNED
    # The opcode announces a string of 16 TB.
    assert _scanned(tmp_path, "model.pkl", b"\x80\x04\x8d" + (1 << 44).to_bytes(8, "little") + b"x").level == UNSCANNED
    assert _scanned(tmp_path, "model.pkl", pickle.dumps(planted)[:-1] + b"\xff").level == DANGEROUS
    broken = bytearray(_zipped(pickle.dumps(planted, 2)))
    broken[broken.index(b"archive/data.pkl") + len("archive/data.pkl") + 3] ^= 255
    assert _scanned(tmp_path, "model.pth", bytes(broken)).level in (UNSCANNED, DANGEROUS)


def test_names_chosen_by_a_file_stay_on_one_line(tmp_path: Path) -> None:
    hostile = b"c" + b"o" * 300 + b"\nx\x1b[2J\x07\n."
    told = _scanned(tmp_path, "model.pkl", hostile)
    assert str(told).isprintable()
    assert len(str(told)) < 200


def test_files_that_run_nothing_are_not_scanned(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"{}")
    assert not may_run_code(tmp_path / "blob", "config.json")
    assert not may_run_code(tmp_path / "blob", "model.safetensors")
    assert may_run_code(tmp_path / "blob", "speaker/Model.PTH")
    (tmp_path / "blob").write_bytes(pickle.dumps(1))
    assert may_run_code(tmp_path / "blob", "config.json"), "a pickle by another name is one still"


def test_without_the_extra_the_verdict_has_the_install_command(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(pickle.dumps(1))
    program = (
        "import sys; sys.modules['picklescan'] = None\n"
        "from pathlib import Path; from preheat.scan.scan_file import scan, scanner\n"
        f"print(repr(scanner()), scan(Path({str(tmp_path / 'x.pth')!r}), 'x.pth'), sep='; ')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    how = f"{sys.executable} -m pip install 'picklescan>=1.0.5'"
    assert done.stdout.strip() == f"''; not scanned: picklescan is not installed: {how}"


# ---- kept in the library


def _library(tmp_path: Path, planted: Runs) -> tuple[Library, tuple[File, ...]]:
    """Make a library that has a harmless and a malicious file, as after a pull."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "good.pt").write_bytes(_zipped(pickle.dumps(OrderedDict(), 2)))
    (model / "evil.bin").write_bytes(pickle.dumps(planted))
    files = Folder().resolve(Ref.parse(f"file:{model}")).files
    library = Library(tmp_path / "library")
    for file in files:
        place = library.path(file.digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((model / file.path).read_bytes())
    return library, files


def test_verdicts_are_cached_by_blob(tmp_path: Path, planted: Runs) -> None:
    library, files = _library(tmp_path, planted)
    told = {file.path: verdict.level for file, verdict in scan_files(files, library)}
    assert told == {"good.pt": CLEAN, "evil.bin": DANGEROUS}
    evil = next(file for file in files if file.path == "evil.bin")
    marked = ScanVerdict(DANGEROUS, scanner(evil.path), ("kept.before",))
    Verdicts(library.root).keep(evil.digest, marked)
    assert dict(scan_files(files, library))[evil] == marked
    Verdicts(library.root).keep(evil.digest, ScanVerdict(CLEAN, "picklescan 0.0.1"))
    assert dict(scan_files(files, library))[evil].found == ("posix.system",), "a newer scanner looks again"


def test_all_files_of_a_repository_have_one_bound_of_time(
    tmp_path: Path, planted: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("preheat.verbs.scan._MOST_S", 0.0)
    library, files = _library(tmp_path, planted)
    found = {file.path: verdict for file, verdict in scan_files(files, library)}
    assert {verdict.level for verdict in found.values()} == {UNSCANNED}
    assert all(verdict.unsafe and "15 minutes" in verdict.why for verdict in found.values())
    monkeypatch.undo()
    assert {verdict.level for _, verdict in scan_files(files, library)} == {CLEAN, DANGEROUS}


def test_what_may_pass_by_itself_is_scanned_again(
    tmp_path: Path, planted: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, files = _library(tmp_path, planted)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    assert {verdict.level for _, verdict in scan_files(files, library)} == {UNSCANNED}
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))
    assert {verdict.why for _, verdict in scan_files(files, library)} == {"the scanner was killed by SIGKILL"}
    monkeypatch.undo()
    assert {verdict.level for _, verdict in scan_files(files, library)} == {CLEAN, DANGEROUS}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_scanner_ends_with_its_parent_and_before_it_if_memory_runs_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless")  # opening it waits for a writer
    program = (
        "import subprocess, sys\n"
        f"words = [sys.executable, '-P', '-m', 'preheat.scan.child', {str(tmp_path / 'endless')!r}, 'x.pt']\n"
        "child = subprocess.Popen(words); print(child.pid, flush=True); child.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        scanner = Path("/proc", parent.stdout.readline().strip())
        assert until(lambda: (scanner / "oom_score_adj").read_text() == "1000\n", 30)
        assert until(lambda: "State:\tS" in (scanner / "status").read_text(), 30)  # it waits for the FIFO
        parent.kill()
    assert until(lambda: not scanner.exists() or "State:\tZ" in (scanner / "status").read_text(), 10)


def test_the_same_bytes_by_another_name_are_scanned_again(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name in ("a.bin", "b.onnx"):
        (model / name).write_bytes(b"\x0a\x08location\x12\x10../../etc/passwd")
    files = Folder().resolve(Ref.parse(f"file:{model}")).files
    library = Library(tmp_path / "library")
    place = library.path(files[0].digest)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes((model / "a.bin").read_bytes())
    assert {file.path: verdict.level for file, verdict in scan_files(files, library)}["b.onnx"] == SUSPICIOUS


def test_a_script_is_reported_once(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "run.py").write_text("#!/usr/bin/env python3\n")
    files = Folder().resolve(Ref.parse(f"file:{model}")).files
    library = Library(tmp_path / "library")
    place = library.path(files[0].digest)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes((model / "run.py").read_bytes())
    assert [verdict.level for _, verdict in scan_files(files, library)] == [SUSPICIOUS]


def test_a_verdict_is_read_back_the_same(tmp_path: Path) -> None:
    verdicts, digest = Verdicts(tmp_path), git_sha1("a" * 40)
    assert verdicts.find(digest) is None
    verdict = ScanVerdict(UNSCANNED, "picklescan 1.0.5", ("a.b", "c.d"), "too long")
    verdicts.keep(digest, verdict)
    assert verdicts.find(digest) == verdict
    (path,) = tmp_path.rglob("*.json")
    path.write_text('{"level": "splendid"}')
    assert verdicts.find(digest) is None


def test_a_missing_file_has_no_verdict(tmp_path: Path) -> None:
    assert list(scan_files([File("x.pth", 3, git_sha1("a" * 40))], Library(tmp_path))) == []


def test_a_small_file_is_searched_in_memory_and_a_large_one_to_its_end(planted: Runs, tmp_path: Path) -> None:
    for size in (1 << 10, 256 << 10, (256 << 10) + 1, 1 << 20):
        at = tmp_path / str(size)
        at.write_bytes(b"\x01" * size)
        with operations(tmp_path) as count:
            assert not may_run_code(at, "weights.bin.txt")
        assert sum(count.values()) <= 2, count
        at.write_bytes(b"\x01" * size + pickle.dumps(planted, 2))
        assert may_run_code(at, "weights.bin.txt")
    assert not (tmp_path / "it-ran").exists()
