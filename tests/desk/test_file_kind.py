"""What a model file is, read from its own header; hostile headers have no kind and cost little."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.desk.file_kind import FileKind, read_kind
from preheat.desk.kinds_by_keys import kind_by_keys
from tests.stories.desk import safetensors

KEYS = {
    "checkpoint": ("model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.decoder.conv_in.weight"),
    "lora": ("lora_unet_down_blocks_0_attentions_0.lora_up.weight", "lora_te_text_model.alpha"),
    "vae": ("encoder.conv_in.weight", "decoder.conv_in.weight", "quant_conv.weight"),
    "controlnet": ("controlnet_cond_embedding.conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"),
    "clip": ("text_model.encoder.layers.0.mlp.fc1.weight", "text_model.embeddings.position_ids"),
    "clip-vision": ("vision_model.embeddings.patch_embedding.weight", "visual_projection.weight"),
    "unet": ("double_blocks.0.img_attn.qkv.weight", "single_blocks.0.linear1.weight"),
    "embedding": ("emb_params",),
    "upscaler": ("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_body.weight"),
    "language-model": ("model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight", "lm_head.weight"),
    "": ("something.else.weight",),
}


@pytest.mark.parametrize("kind", KEYS)
def test_safetensors_kind_is_read_from_the_tensors_names(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "any.safetensors"
    path.write_bytes(safetensors(*KEYS[kind], metadata={"modelspec.title": "A title", "format": "pt"}))
    assert read_kind(path) == FileKind(kind, "safetensors", "", "A title")


class _Tensor:
    """What stands for a tensor in a pickle: its class is named, and nothing of it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("false",)


def _torch(keys: tuple[str, ...], *, old: bool) -> bytes:
    weights = {"state_dict": OrderedDict((key, _Tensor()) for key in keys)}
    if old:
        parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, weights, ["0", "1"])
        return b"".join(pickle.dumps(part, protocol=2) for part in parts) + bytes(100)
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(weights, protocol=2))
        archive.writestr("archive/data/0", bytes(1000))
    return body.getvalue()


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("kind", ["checkpoint", "lora", "vae", "upscaler", ""])
def test_torch_checkpoint_is_read_without_unpickling(tmp_path: Path, kind: str, old: bool) -> None:
    path = tmp_path / "any.ckpt"
    path.write_bytes(_torch(KEYS[kind], old=old))
    assert read_kind(path) == FileKind(kind, "torch")


def _gguf(*values: tuple[str, object]) -> bytes:
    def text(one: str) -> bytes:
        return struct.pack("<Q", len(one.encode())) + one.encode()

    body = b"GGUF" + struct.pack("<IQQ", 3, 0, len(values))
    for key, value in values:
        body += text(key)
        if isinstance(value, str):
            body += struct.pack("<I", 8) + text(value)
        elif isinstance(value, int):
            body += struct.pack("<IQ", 10, value)
        else:
            body += struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    return body + bytes(64)


@pytest.mark.parametrize(("architecture", "kind"), [("llama", "gguf"), ("flux", "unet"), ("t5encoder", "clip")])
def test_gguf_is_read_up_to_its_vocabulary(tmp_path: Path, architecture: str, kind: str) -> None:
    path = tmp_path / "any.gguf"
    told: tuple[tuple[str, object], ...] = (
        ("general.architecture", architecture),
        ("general.alignment", 32),
        ("general.name", "Tiny"),
        ("tokens", []),
    )
    path.write_bytes(_gguf(*told))
    assert read_kind(path) == FileKind(kind, "gguf", architecture, "Tiny")


HOSTILE = {
    "empty": b"",
    "header of 2^63 bytes": struct.pack("<Q", 1 << 63) + b"{",
    "header that is cut": struct.pack("<Q", 1000) + b'{"a":',
    "header that is no JSON": struct.pack("<Q", 4) + b"{{{{" + bytes(100),
    "deep header": struct.pack("<Q", 200_000) + b'{"a":' + b"[" * 200_000,
    "deep metadata": struct.pack("<Q", 100_030)
    + b'{"__metadata__":'
    + b"[" * 50_000
    + b"]" * 50_000
    + b"}"
    + bytes(100),
    "2^64 values": b"GGUF" + struct.pack("<IQQ", 3, 1 << 63, (1 << 64) - 1) + bytes(100),
    "text of 2^64 bytes": b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", (1 << 64) - 1),
    "no such version": b"GGUF" + struct.pack("<IQQ", 9, 1, 1),
    "cut GGUF": b"GGUF\x03",
    "ZIP without an end": b"PK\x03\x04" + bytes(1000),
    "list of 4 GB": b"PK\x03\x04"
    + bytes(100)
    + b"PK\x05\x06"
    + bytes(8)
    + struct.pack("<II", 0xFFFFFFF0, 4)
    + bytes(2),
    "broken pickle": b"\x80\x02}q\x00(X\xff\xff\xff\x7fabc",
    "pickle without end": b"\x80\x02" + b"N" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_header_has_no_kind_and_takes_little_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "any"
    path.write_bytes(HOSTILE[name])
    tracemalloc.start()
    assert read_kind(path).kind in ("", "gguf")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_bomb_is_read_in_part(tmp_path: Path, method: int) -> None:
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + bytes(200 << 20))
    tracemalloc.start()
    assert read_kind(path).kind == ""
    assert tracemalloc.get_traced_memory()[1] < 128 << 20
    tracemalloc.stop()


def test_zip_whose_end_hides_the_size_of_its_list_is_not_listed(tmp_path: Path) -> None:
    """zipfile reads as much as the record of ZIP64 says, whatever the record at the end says."""
    path = tmp_path / "any.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"lora_unet_x": 1}))
        for number in range(100):
            archive.writestr(zipfile.ZipInfo(str(number).zfill(60_000)), b"")
    body = bytearray(path.read_bytes())
    _, listed, offset, _ = struct.unpack("<HIIH", body[-12:])
    assert listed > 4 << 20
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 101, 101, listed, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(body) - 22, 1)
    path.write_bytes(body[:-22] + record + locator + body[-22:-10] + struct.pack("<IIH", 100, offset, 0))
    assert len(zipfile.ZipFile(path).namelist()) == 101
    assert read_kind(path) == FileKind()


@given(st.integers(30, 4000), st.integers(0, 255))
def test_damaged_zip_has_a_kind_or_none(tmp_path_factory: pytest.TempPathFactory, at: int, byte: int) -> None:
    path = tmp_path_factory.mktemp("any") / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({f"key.{number}": number for number in range(2000)}))
    body = bytearray(path.read_bytes())
    body[at % len(body)] = byte
    path.write_bytes(body)
    read_kind(path)


@given(
    st.binary(max_size=400),
    st.sampled_from([b"GGUF\x03\0\0\0", b"PK\x03\x04", b"\x80\x02", b"\x40\0\0\0\0\0\0\0{", b""]),
)
def test_any_bytes_are_read_without_an_error(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, start: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "model"
    path.write_bytes(start + body)
    read_kind(path)


@given(st.sets(st.text(max_size=20), max_size=20))
def test_any_keys_have_at_most_one_kind(keys: set[str]) -> None:
    assert kind_by_keys(keys) in {*KEYS, "gguf", "hypernetwork"}


def test_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read_kind(tmp_path / "pipe")


def test_files_of_these_tests_are_what_the_safetensors_package_reads() -> None:
    judge = pytest.importorskip("safetensors")
    for keys in KEYS.values():
        body = safetensors(*keys, metadata={"modelspec.title": "A title"})
        assert {name for name, _ in judge.deserialize(body)} == set(keys)
