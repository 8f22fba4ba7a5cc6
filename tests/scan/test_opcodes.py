"""The opcodes of a pickle are read as pickletools reads them, in linear time, wherever in the file the calls are."""

import contextlib
import io
import pickle
import pickletools
import random
from collections import OrderedDict
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preheat.core.scan_verdict import CLEAN, DANGEROUS
from preheat.scan import opcodes
from preheat.scan.child import look
from preheat.scan.opcodes import BrokenPickle, End, PickledName, events
from preheat.scan.pickles import is_pickle
from preheat.scan.scan_file import may_run_code
from tests.scan.test_evasions import EVIL

_ARGUMENTS = (
    b"", b"\0", b"\1\2", b"\0\0\0\0", b"\3\0\0\0abc", b"\2ab", b"\0" * 8, b"\1" + b"\0" * 7 + b"a", b"12\n", b"1.5\n",
    b"'os'\n", b"os\n", b"os\nsystem\n", b"01\n", b"12L\n",
)  # fmt: skip
_CODES = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]
_PIECES = st.tuples(st.sampled_from(_CODES), st.one_of(st.sampled_from(_ARGUMENTS), st.binary(max_size=9)))


def end_by_pickletools(body: bytes) -> int:
    """Return where the first pickle ends; -1 if pickletools cannot read it, or no loader because of its protocol."""
    file = io.BytesIO(body)
    with contextlib.suppress(Exception):
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "PROTO" and (argument or 0) > pickle.HIGHEST_PROTOCOL:
                return -1
            if opcode.name == "STOP":
                return file.tell()
    return -1


def end(body: bytes) -> int:
    with contextlib.suppress(BrokenPickle):
        return next((event.at for event in events(io.BytesIO(body)) if isinstance(event, End)), -1)
    return -1


@settings(max_examples=2_000, deadline=None)
@given(st.lists(_PIECES, max_size=12).map(lambda pieces: b"".join(code + words for code, words in pieces) + b"."))
def test_what_pickletools_reads_is_read_to_the_same_end(body: bytes) -> None:
    known = end_by_pickletools(body)
    assert known == -1 or end(body) == known


class Held:
    """A class of this module, to be named."""

    def __init__(self) -> None:
        self.path = PurePosixPath("x")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("size", [10, 100_000])
def test_all_names_of_a_pickle_are_found(protocol: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opcodes, "_STEP", 64)
    body = pickle.dumps([b"x" * size, OrderedDict(a=1), Held(), "y" * size, 2**80, 1.5, PurePosixPath("y")], protocol)
    found = {f"{event.module} {event.name}" for event in events(io.BytesIO(body * 2)) if isinstance(event, PickledName)}
    by_text = {str(argument) for opcode, argument, _ in pickletools.genops(body) if opcode.name == "GLOBAL"}
    assert by_text <= found
    assert {"collections OrderedDict", "tests.scan.test_opcodes Held", "pathlib PurePosixPath"} <= found
    assert not any(opcodes.UNKNOWN in name for name in found)


HARMLESS = {
    "numbers": b"K\1" * 5_000 + b"0" * 5_000,
    "a long string": b"S'" + b"x" * 10_000 + b"'\n0",
    "a long text": b"X\x10\x27\0\0" + b"x" * 10_000 + b"0",
    "a whole pickle": pickle.dumps(["x" * 9_000], 0),
    "numbers in lines": b"I1\n0" * 2_000,
}


@pytest.mark.parametrize("case", HARMLESS)
@pytest.mark.parametrize("protocol", [0, 1])
def test_a_call_behind_4_kib_of_harmless_opcodes_is_found(tmp_path: Path, case: str, protocol: int) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(HARMLESS[case] + EVIL[protocol])
    assert may_run_code(blob, "cache.dat")
    report = look(blob, "cache.dat")
    assert (report["level"], report["found"]) == (DANGEROUS, ["posix.system"])


def test_what_is_valid_for_long_is_left_to_the_scanner(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"N0" * 1_000_000 + EVIL[0])
    assert may_run_code(blob, "cache.dat")
    assert look(blob, "cache.dat")["level"] == DANGEROUS
    assert not is_pickle(io.BytesIO(b"N0" * 1_000_000))


def test_text_that_begins_like_a_pickle_is_none() -> None:
    for text in (b"I am\n", b"(see below)\n", b"]\n", b"0\n1\n2\n"):
        assert not is_pickle(io.BytesIO(text)), text


def test_every_opcode_is_read_once(tmp_path: Path) -> None:
    # No time is asserted: with quadratic work, these would take hours.
    blob = tmp_path / "blob"
    for body in (b"M" * 3_000_000, b"h\0" * 200_000, b"\x8c\0" * 200_000, b"C\x0b" + b"(" * 11, b"(" * 500_000):
        blob.write_bytes(body)
        assert look(blob, "x.bin")["level"] == CLEAN
    names = [f"c{random.Random(at).randbytes(3).hex()}\nx\n0".encode() for at in range(20_000)]
    blob.write_bytes(b"".join(names))
    assert look(blob, "x.pkl")["level"] != CLEAN
