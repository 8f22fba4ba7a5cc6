"""What is dressed up as harmless is looked into by its bytes; nothing that runs code is called clean."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from preheat.core.scan_verdict import CLEAN, DANGEROUS, SUSPICIOUS, UNSCANNED, ScanVerdict
from preheat.scan import archives
from preheat.scan.child import look
from preheat.scan.scan_file import look_at_text, may_run_code


class Call:
    """An object that calls os.system when it is unpickled; nothing here ever unpickles it."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("true",)


EVIL = {protocol: pickle.dumps(Call(), protocol) for protocol in range(6)}


def zipped(*members: tuple[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", how) as archive:
        for name, body in members:
            archive.writestr(name, body)
    return whole.getvalue()


def tarred(name: str, body: bytes) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(body)
        archive.addfile(entry, io.BytesIO(body))
    return whole.getvalue()


def linked(name: str, target: str) -> bytes:
    """Return a tar with a symlink."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        archive.addfile(entry)
    return whole.getvalue()


def array_of_objects(body: bytes) -> bytes:
    """Wrap a pickle as numpy.save(allow_pickle=True) does."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def changed(body: bytes, signature: bytes, offset: int, new: bytes) -> bytes:
    """Overwrite bytes of a zip at `offset` behind a signature."""
    at = body.index(signature) + offset
    return body[:at] + new + body[at + len(new) :]


TORCH = zipped(("archive/data.pkl", EVIL[2]), ("archive/version", b"3\n"), ("archive/data/0", b"\0" * 64))
DIRECTORY = b"PK\x01\x02"

FOUND = {
    "by no name": ("weights", EVIL[2]),
    "protocol 0 as a text": ("vocab.txt", EVIL[0]),
    "protocol 1 as data": ("cache.dat", EVIL[1]),
    "behind harmless opcodes": ("x.dat", b"N0" + EVIL[4]),
    "behind a mark": ("x.index", b"(" + EVIL[0]),
    "second of two": ("x.pkl", pickle.dumps({"a": 1}, 2) + EVIL[2]),
    "torch's zip by any name": ("x.safetensors", TORCH),
    "torch's zip as .mar": ("x.mar", TORCH),
    "torch's zip behind junk": ("x.pt", b"JUNK" * 10 + TORCH),
    "zip behind the magic bytes of GGUF": ("x.gguf", b"GGUF\x03\0\0\0" + TORCH),
    "zip behind the magic bytes of HDF5": ("x.keras", b"\x89HDF\r\n\x1a\n" + b"\0" * 100 + TORCH),
    "zip behind a numpy array": ("x.npy", array_of_objects(b"").replace(b"'|O'", b"'<f4") + TORCH),
    "zip in a zip": ("x.zip", zipped(("inner.bin", TORCH))),
    "deflated": ("x.pt", zipped(("archive/data.pkl", EVIL[2]), how=zipfile.ZIP_DEFLATED)),
    "member by another name": ("x.pt", zipped(("archive/notes.txt", EVIL[2]))),
    "numpy array of objects": ("x.npy", array_of_objects(EVIL[4])),
    "the same in .npz": ("x.npz", zipped(("a.npy", array_of_objects(EVIL[4])))),
    "tar": ("x.nemo", tarred("model_weights.ckpt", EVIL[2])),
    "tar that is packed": ("x.nemo", gzip.compress(tarred("model_weights.ckpt", TORCH))),
    "gzip": ("x.gz", gzip.compress(EVIL[4])),
    "bzip2": ("x.joblib", bz2.compress(EVIL[4])),
    "xz": ("x.joblib", lzma.compress(EVIL[4])),
    "lzma": ("x.joblib", lzma.compress(EVIL[4], lzma.FORMAT_ALONE)),
    "zlib": ("x.joblib", zlib.compress(EVIL[4], 1)),
    "second stream of gzip": ("x.gz", gzip.compress(pickle.dumps(1)) + gzip.compress(EVIL[4])),
    "second stream of xz": ("x.joblib", lzma.compress(pickle.dumps(1)) + lzma.compress(EVIL[4])),
    "second stream of bzip2": ("x.joblib", bz2.compress(pickle.dumps(1)) + bz2.compress(EVIL[4])),
    "three layers of gzip": ("x.gz", gzip.compress(gzip.compress(gzip.compress(EVIL[4])))),
    "cut off behind the call": ("x.pkl", EVIL[4][:-1]),
    "an unknown opcode behind the call": ("x.pkl", EVIL[2][:-1] + b"\xff."),
    "protocol 0 behind protocol 4": ("x.pkl", pickle.dumps(1, 4) + EVIL[0]),
    "names from the memo": ("x.pkl", b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x9400h\x00h\x01\x93(S'true'\ntR."),
    "names as byte strings": ("x.pkl", b"\x80\x04U\x05posixU\x06system\x93(S'true'\ntR."),
    "an escaped name": ("x.pkl", b"\x80\x04Vposix\nV\\u0073ystem\n\x93(S'true'\ntR."),
    "a class made by INST": ("x.pkl", b"(S'true'\niposix\nsystem\n."),
    "torch's rebuild with another function": (
        "x.pt",
        zipped(("a/data.pkl", b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cposix\nsystem\nU\x04true\x85}tR.")),
    ),
}
NOT_READ = {
    "wrong checksum": changed(TORCH, DIRECTORY, 16, b"\0\0\0\0"),
    "encrypted by the directory": changed(TORCH, DIRECTORY, 8, b"\1"),
    "unknown method": changed(TORCH, DIRECTORY, 10, struct.pack("<H", 99)),
    "two names for one member": TORCH.replace(b"archive/data.pkl", b"archive/data.txt", 1),
    "two directories": TORCH + b"PK\x05\x06" + b"\0" * 18,
    "no directory": TORCH[: TORCH.index(DIRECTORY)],
    "old tar with a wrong checksum": tarred("x", EVIL[2]).replace(b"ustar", b"\0\0\0\0\0"),
    "zstd": b"\x28\xb5\x2f\xfd" + b"\0" * 20,
}
HOLDS = {
    "keras": ("x.keras", zipped(("config.json", b'{"layers": [{"class_name": "Lambda"}]}'))),
    "hdf5": ("x.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 100 + b'"__lambda__"'),
    "graph": ("saved_model.pb", b"\x08\x01\x12\x06PyFunc"),
    "onnx": ("x.onnx", b"\x0a\x08location\x12\x10../../etc/passwd"),
    "gguf": ("x.gguf", b"GGUF\x03\0\0\0" + b"{{ ''.__class__.__mro__ }}"),
    "wheel": ("x.whl", zipped(("package/__init__.py", b"import os"))),
    "extension registry": ("x.pkl", b"\x80\x02\x82\x01."),
    "pickle in a string": ("x.pkl", pickle.dumps({"w": EVIL[4]}, 4)),
    "pickle in strings in strings": ("x.pkl", pickle.dumps(pickle.dumps(pickle.dumps(EVIL[4], 4), 4), 4)),
    "pickle in a text": ("x.pkl", pickle.dumps({"w": EVIL[2].decode("latin1")}, 2)),
    "torch's loader of a string": ("x.pkl", b"\x80\x04ctorch.storage\n_load_from_bytes\nC\x01x\x85R."),
    "a dotted name": ("x.pkl", b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93(S'true'\ntR."),
    "another rebuild of torch": ("x.pt", zipped(("a/data.pkl", b"\x80\x02ctorch._utils\n_rebuild_x\n(tR."))),
    "keras, escaped": ("x.keras", zipped(("config.json", b'{"class_name": "\\u004cambda"}'))),
    "keras, another module": ("x.keras", zipped(("config.json", b'{"module": "os", "class_name": "function"}'))),
    "archive for torchserve": ("x.mar", zipped(("handler.py", b"import os"))),
    "program": ("weights", b"\x7fELF\x02\x01\x01" + b"\0" * 100),
    "Windows program": ("x.dat", b"MZ" + b"\0" * 58 + b"\x40\0\0\0PE\0\0" + b"\0" * 50),
    "script": ("start", b"#!/usr/bin/env python3\nimport os\n"),
    "member outside": ("x.zip", zipped(("../../.bashrc", b"id"))),
    "link outside": ("x.nemo", linked("weights", "../../../etc/passwd")),
    "unknown name": ("x.pkl", b"cidlelib.run\nManageSocket\n(tR."),
}


def _looked_into(tmp_path: Path, name: str, body: bytes) -> ScanVerdict:
    blob = tmp_path / "blob"
    blob.write_bytes(body)
    assert may_run_code(blob, name)
    return _verdict(blob, name)


def _verdict(blob: Path, name: str) -> ScanVerdict:
    """Scan in this process: that another one gives the same verdicts is tested in test_scan_file.py."""
    report = look(blob, name)
    return ScanVerdict(report["level"], found=tuple(report.get("found", ())), why=report.get("why", ""))


@pytest.mark.parametrize("case", FOUND)
def test_a_dressed_up_pickle_is_dangerous(tmp_path: Path, case: str) -> None:
    verdict = _looked_into(tmp_path, *FOUND[case])
    assert (verdict.level, verdict.found) == (DANGEROUS, ("posix.system",))


@pytest.mark.parametrize("case", NOT_READ)
def test_what_readers_could_read_differently_is_not_called_clean(tmp_path: Path, case: str) -> None:
    assert _looked_into(tmp_path, "x.pt", NOT_READ[case]).level in (UNSCANNED, DANGEROUS)


@pytest.mark.parametrize("case", HOLDS)
def test_code_in_other_formats_is_named(tmp_path: Path, case: str) -> None:
    verdict = _looked_into(tmp_path, *HOLDS[case])
    assert verdict.level == SUSPICIOUS
    assert verdict.unsafe
    assert "it contains" in str(verdict) or "it calls" in str(verdict)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("modeling_x.py", b"import os"),
        ("lib/kernel.so", b"\x7fELF"),
        ("config.json", json.dumps({"auto_map": {"AutoModel": "modeling_x.X"}}).encode()),
        ("configuration.json", b'{"plugins": ["x"]}'),
        ("tokenizer_config.json", b'{"chat_template": "{{ cycler.__init__.__globals__ }}"}'),
        ("chat_template.jinja", b"{{ ().__class__ }}"),
        ("hparams.yaml", b"!!python/object/apply:os.system ['true']"),
        ("hparams.yaml", b"%TAG ! tag:yaml.org,2002:python/\n---\na: !object/apply:os.system ['true']"),
        ("config.yaml", b"model:\n  _target_: os.system\n  command: true"),
        ("config.json", b'{"\\u0061uto_map": {"AutoModel": "x.X"}}'),
        ("config.json", '{"auto_map": {"AutoModel": "x.X"}}'.encode("utf-16")),
        ("config.json", '{"auto_map": {"AutoModel": "x.X"}}'.encode("utf-32-be")),
        ("config.json", b'{"custom_pipelines": {"x": {"impl": "code.X"}}}'),
        ("model_index.json", b'{"_class_name": ["pipeline", "Mine"]}'),
        ("modules.json", b'[{"idx": 0, "type": "custom_st.Transformer"}]'),
    ],
)
def test_code_and_configuration_that_loads_code_is_named(tmp_path: Path, name: str, body: bytes) -> None:
    (tmp_path / "blob").write_bytes(body)
    verdict = look_at_text(tmp_path / "blob", name, len(body))
    assert verdict is not None
    assert verdict.level == SUSPICIOUS


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("vocab.txt", b"cat\nfoo\nbar\n"),
        ("merges.txt", b"#version: 0.2\nc a\n"),
        ("README.md", b"Rome wasn't built in a day.\n"),
        ("model.safetensors", struct.pack("<Q", 2) + b"{}" + b"\0" * 4096),
        ("tokenizer.model", b"\x0a\x0e\x0a\x05<unk>" * 50),
        ("modules.json", b'[{"idx": 0, "type": "sentence_transformers.models.Transformer"}]'),
        ("model_index.json", b'{"_class_name": "FluxPipeline", "unet": ["diffusers", "UNet"]}'),
        ("config.yaml", b"model:\n  _target_: nemo.collections.tts.models.FastPitch"),
        ("sbom.json", b'{"name": "__init__", "bases": "__bases__"}'),
        ("audio.wav", b"RIFF\x24\x08\0\0WAVEfmt "),
        ("x.npy", array_of_objects(b"").replace(b"'|O'", b"'<f4")),
    ],
)
def test_ordinary_files_are_clean(tmp_path: Path, name: str, body: bytes) -> None:
    (tmp_path / "blob").write_bytes(body)
    assert look_at_text(tmp_path / "blob", name, len(body)) is None
    assert not may_run_code(tmp_path / "blob", name) or _verdict(tmp_path / "blob", name).level == CLEAN


# ---- bounds


def test_archives_are_bounded_in_size_number_and_nesting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_LONGEST_MEMBER", 1 << 20)
    monkeypatch.setattr(archives, "_MOST_MEMBERS", 3)
    zeros = bytes(2 << 20)
    nested = EVIL[4]
    for _ in range(6):
        nested = zipped(("x", nested), how=zipfile.ZIP_DEFLATED)
    bombs = {
        "gzip": gzip.compress(zeros),
        "several streams": gzip.compress(bytes(700_000)) * 2,
        "deflated member": zipped(("x.pkl", zeros), how=zipfile.ZIP_DEFLATED),
        "members of a zip": zipped(*((f"{number}", b"") for number in range(4))),
        "members of a tar": tarred("x", b"")[:512] * 4 + bytes(1024),
        "nested": nested,
    }
    for case, body in bombs.items():
        assert _looked_into(tmp_path, "x.bin", body).level == UNSCANNED, case


def test_a_zip_with_too_many_members_is_not_read(tmp_path: Path) -> None:
    one = zipped(("x", b""))
    entry = one[one.index(DIRECTORY) : one.index(b"PK\x05\x06")]
    count = 100_001
    start = one.index(DIRECTORY)
    zip64 = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(entry) * count, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, start + len(entry) * count, 1)
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    verdict = _looked_into(tmp_path, "x.pt", one[:start] + entry * count + zip64 + locator + end)
    assert verdict.level == UNSCANNED
    assert "more than 100000 members" in verdict.why
