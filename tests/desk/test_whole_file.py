"""Whether a model file is whole, by its own header; what does not fit its format is nobody's download."""

import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.desk.whole_file import missing_bytes
from tests.stories.desk import safetensors

_STRING, _ARRAY, _UINT32, _FLOAT32 = 8, 9, 4, 6


def text(words: str) -> bytes:
    return struct.pack("<Q", len(words)) + words.encode()


def gguf(*, alignment: int = 32, words: int = 100) -> bytes:
    """Return a GGUF file with values of each shape, an F32 and a Q4_K tensor."""
    values = [
        text("general.architecture") + struct.pack("<I", _STRING) + text("llama"),
        text("general.alignment") + struct.pack("<II", _UINT32, alignment),
        text("tokenizer.ggml.tokens")
        + struct.pack("<IIQ", _ARRAY, _STRING, words)
        + b"".join(text(f"word {n}") for n in range(words)),
        text("tokenizer.ggml.scores") + struct.pack("<IIQ", _ARRAY, _FLOAT32, words) + bytes(4 * words),
    ]
    first, second = 300 * 4, 4096 // 256 * 144
    aligned = -(-first // alignment) * alignment
    tensors = [
        text("norm.weight") + struct.pack("<IQIQ", 1, 300, 0, 0),
        text("blk.0.weight") + struct.pack("<IQQIQ", 2, 256, 16, 12, aligned),
    ]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values)) + b"".join(values) + b"".join(tensors)
    return head.ljust(-(-len(head) // alignment) * alignment, b"\0") + bytes(aligned + second)


def torch() -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
        archive.writestr("archive/data/0", bytes(100_000))
    return body.getvalue()


FORMATS = {
    "safetensors": safetensors("a", "b", size=4000),
    "gguf": gguf(),
    "gguf of another alignment": gguf(alignment=256),
    "torch": torch(),
}


@pytest.mark.parametrize("form", FORMATS)
def test_only_a_whole_file_lacks_nothing(tmp_path: Path, form: str) -> None:
    body = FORMATS[form]
    path = tmp_path / "model"
    path.write_bytes(body)
    assert missing_bytes(path) == 0
    path.write_bytes(body + bytes(10))
    assert missing_bytes(path) == 0
    for size in (len(body) - 1, len(body) // 2, 200):
        path.write_bytes(body[:size])
        assert missing_bytes(path) > 0, size
        if form != "torch" and size > len(body) // 2:
            assert missing_bytes(path) == len(body) - size


def test_other_files_are_not_judged(tmp_path: Path) -> None:
    for body in (b"", b"GGUF" + bytes(100), b"\x80\x02}q\x00.", b"\xff" * 8 + b"{", b"PK\x05\x06", b"{}" * 50):
        path = tmp_path / "model"
        path.write_bytes(body)
        assert missing_bytes(path) == 0, body


@given(st.binary(max_size=400), st.sampled_from([b"GGUF\3\0\0\0", b"PK\3\4", b"\x20\0\0\0\0\0\0\0{", b""]))
def test_hostile_headers_raise_nothing(tmp_path_factory: pytest.TempPathFactory, body: bytes, start: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile"
    path.write_bytes(start + body)
    assert missing_bytes(path) >= 0
