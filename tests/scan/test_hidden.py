"""Pickles behind other data are found at any offset, and words that look like one are not taken for it."""

import io
import os
import pickle
import random
import re
import struct
import time
from pathlib import Path

import pytest

from preheat.core.scan_verdict import CLEAN, DANGEROUS, UNSCANNED
from preheat.scan import hidden
from preheat.scan.child import look
from preheat.scan.hidden import hidden_names
from preheat.scan.kinds import is_safetensors
from preheat.scan.scan_file import may_run_code
from tests.scan.test_evasions import EVIL, TORCH, array_of_objects, tarred, zipped

NOISE = random.Random(7).randbytes(300_000)
FLOATS = struct.pack("<4096f", *range(4096))
NUMBERS = array_of_objects(b"").replace(b"'|O'", b"'<f4")
HARMLESS = pickle.dumps({"a": 1}, 2)
GGUF = b"GGUF\x03\0\0\0" + b"\0" * 5_000
BEHIND = {
    "zeros": b"\0" * 5_000,
    "noise": NOISE,
    "floats": FLOATS,
    "a text": b"hello\n" * 1_000,
    "a pickle": HARMLESS,
    "a broken pickle": HARMLESS[:-1] + b"\xff" * 5_000,
    "a numpy array": NUMBERS + FLOATS,
    "a gguf": GGUF,
    "weights of whisper.cpp": b"lmgg" + GGUF,
    "a zip": zipped(("weights", FLOATS)),
    "a tar": tarred("weights", FLOATS),
    "an hdf5": b"\x89HDF\r\n\x1a\n" + FLOATS,
}


@pytest.mark.parametrize("case", BEHIND)
@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_a_pickle_behind_other_data_is_found(tmp_path: Path, case: str, protocol: int) -> None:
    blob = tmp_path / "blob"
    for body in (BEHIND[case] + EVIL[protocol], BEHIND[case] + EVIL[protocol] + b"\0" * 3_000):
        blob.write_bytes(body)
        assert may_run_code(blob, "cache.dat")
        report = look(blob, "cache.dat")
        assert (report["level"], report["found"]) == (DANGEROUS, ["posix.system"])


def test_two_arrays_in_one_file_are_both_looked_into(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(NUMBERS + FLOATS + array_of_objects(EVIL[4]))
    assert look(blob, "x.npy")["level"] == DANGEROUS


CALLS = {
    "no arguments": b"cos\nsystem\n)R.",
    "a mark": b"cos\nsystem\n(S'true'\ntR.",
    "a mark before": b"(cos\nsystem\nS'true'\no.",
    "an instance": b"(S'true'\nios\nsystem\n.",
    "an instance behind a letter": b"(U\x04trueios\nsystem\n.",
    "arguments from the memo": b"(S'true'\ntp0\n0cos\nsystem\ng0\nR.",
    "an import at the start of a line": b"abc\ncos\nsystem\n(S'true'\ntR.",
    "an import behind a letter": b"xxxcos\nsystem\n(S'true'\ntR.",
    "long arguments": b"cos\nsystem\n(S'" + b"x" * 10_000 + b"'\ntR.",
}


@pytest.mark.parametrize("case", CALLS)
def test_every_form_of_a_call_is_found(case: str) -> None:
    assert ("os", "system") in (hidden_names(io.BytesIO(b"\0" * 5_000 + CALLS[case] + b"\0" * 500)) or set())


@pytest.mark.parametrize(
    "body",
    [
        EVIL[0] + zipped(("weights", FLOATS)),
        EVIL[2] + zipped(("weights", FLOATS)),
        b"GGUF\x03\0\0\0\0" + EVIL[2],
        b"lmgg" + EVIL[2],
        tarred("cos\nsystem\n(S'true'\ntR.", FLOATS),
    ],
)
def test_a_file_of_two_types_is_looked_into_as_a_pickle_too(tmp_path: Path, body: bytes) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(body)
    assert may_run_code(blob, "weights")
    assert look(blob, "weights")["level"] == DANGEROUS


def test_of_large_weights_of_whisper_cpp_only_the_ends_are_searched(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    with open(blob, "wb") as file:
        file.write(b"lmgg")
        file.truncate(200 << 20)
        file.seek(20 << 20)
        file.write(EVIL[2])
    assert look(blob, "ggml-large.bin")["level"] == CLEAN
    with open(blob, "r+b") as file:
        file.seek(150 << 20)
        file.write(EVIL[2])
    assert look(blob, "ggml-large.bin")["level"] == DANGEROUS


@pytest.mark.parametrize(
    "body",
    [
        b"\n".join(b"cat cos cosine nt\xc3\xa9 os ios code coding csys trace types test tests".split()) + b"\n",
        b"the\n" + b"cos\ncosine\ntable\nios\nbus\nRoss\n" * 500,
        b"the\nlincos\nline\nlinen\nlinenr\nlineto\nlink_beat_force\nlink_beat_get\nlink_beat_request\nlink_create\n",
        b"the\ncnt\ncount\nboston\nprint\nfoo\nbios\nsystem\n(int\nradios\nfoo\n(see ios\nthe\nhobby\n",
        NOISE * 4,
        FLOATS * 40,
        (Path(hidden.__file__).read_bytes() + Path(io.__file__).read_bytes()) * 5,
    ],
)
def test_words_and_noise_are_no_pickle(tmp_path: Path, body: bytes) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(body)
    assert look(blob, "vocab.txt")["level"] == CLEAN


def test_an_import_between_two_steps_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden, "_STEP", 1_000)
    for offset in range(900, 1_010):
        for body in (EVIL[0], EVIL[4]):
            assert hidden_names(io.BytesIO(b"\0" * offset + body + b"\0" * 300)) == {("posix", "system")}


EXPENSIVE = {
    "marks before an instance": b"(" * 200 + b"\x80ios\na\n",
    "marks and instances": b"(" * 200 + b"ios\na\n",
    "lines of one word": b"\na.",
    "imports": b"cos\nsystem\n",
    "markers": b"\x80\x04",
}


@pytest.mark.parametrize("case", EXPENSIVE)
def test_a_file_that_is_expensive_to_search_is_left_to_the_scanner(case: str) -> None:
    body = EXPENSIVE[case] * (4_000_000 // len(EXPENSIVE[case]))
    before = time.process_time()
    assert hidden_names(io.BytesIO(body), quickly=True) is None
    assert time.process_time() - before < 20  # 1 s at most on a quiet machine; without the bound, up to 50 s


def test_marks_before_an_instance_are_looked_at_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden, "_MOST_EVENTS", 1_000)
    assert hidden_names(io.BytesIO(EXPENSIVE["marks before an instance"] * 10)) is None


def test_a_file_full_of_beginnings_is_not_called_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden, "_MOST_EVENTS", 1_000)
    blob = tmp_path / "blob"
    blob.write_bytes(b"\0" + b"\x80\x02" * 10_000)
    assert look(blob, "x.dat")["level"] == UNSCANNED


def test_all_packages_that_picklescan_calls_dangerous_are_looked_for() -> None:
    scanner = pytest.importorskip("picklescan.scanner")
    roots = {name.partition(".")[0].encode() for name in scanner._unsafe_globals}
    assert roots <= set(hidden._ROOTS.split(b"|"))
    assert all(re.fullmatch(rb"\w+", root) for root in roots)


def safetensors(extra: bytes = b"") -> bytes:
    header = b'{"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[4096],"data_offsets":[0,16384]}}'
    return struct.pack("<Q", len(header)) + header + FLOATS + extra


def test_safetensors_without_other_bytes_are_not_searched(tmp_path: Path) -> None:
    whole = safetensors()
    assert is_safetensors(io.BytesIO(whole), len(whole))
    for other in (safetensors(EVIL[2]), whole[:-1], whole.replace(b'"x"', b"'x'"), os.urandom(100), b"", TORCH):
        assert not is_safetensors(io.BytesIO(other), len(other))
    (tmp_path / "blob").write_bytes(safetensors(EVIL[2]))
    assert may_run_code(tmp_path / "blob", "model.safetensors")
    assert look(tmp_path / "blob", "model.safetensors")["level"] == DANGEROUS
