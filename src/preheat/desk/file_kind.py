"""File kind: what a model file is (checkpoint, LoRA, VAE, …), read from the file's own header.

Formats: safetensors (8 bytes of header size, JSON: its README), GGUF (docs/gguf.md of ggml), torch checkpoints (a ZIP
with `data.pkl`, or pickles one after another: torch/serialization.py). Nothing is unpickled: the strings in a pickle
are listed. Files may be hostile: of each, a bounded part is read, and what does not fit the format has no kind.
"""

import io
import json
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from preheat.desk.kinds_by_keys import kind_by_keys
from preheat.desk.model_apps import CLIP, GGUF, LORA, UNET
from preheat.desk.model_headers import GGUF_SIZES, GGUF_STRING, GGUF_VERSIONS, GgufCursor, read_safetensors
from preheat.disk.regular_file import open_regular
from preheat.disk.zip_directory import directory_size

SAFETENSORS, TORCH = "safetensors", "torch"
_MOST_GGUF = 1 << 20  # bytes of a GGUF file; the values that matter come first, before the vocabulary
_MOST_PICKLE = 16 << 20
_MOST_DIRECTORY = 4 << 20  # bytes of a ZIP's list of members
_MOST_STRINGS = 200_000
_MOST_PICKLES = 6  # in an old torch file: magic number, protocol, system, and then the object
_LONGEST = 200  # characters of a name
# What the readers of these formats raise for files that are damaged or hostile.
_MALFORMED = (
    ValueError,
    EOFError,
    NotImplementedError,
    RecursionError,
    msgspec.DecodeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
# torch stores; a reader of ZIPs unpacks the other methods without a bound.
_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_IMAGE_MODELS = frozenset(
    ("flux", "sd1", "sdxl", "sd3", "aura", "hidream", "cosmos", "ltxv", "hyvid", "wan", "lumina2", "qwen_image")
)
_TEXT_ENCODERS = frozenset(("t5", "t5encoder", "clip"))


@dataclass(frozen=True, slots=True)
class FileKind:
    """The kind of a file, one of those in `model_apps` or empty; its `format`; and the names in its own header.

    `architecture` is GGUF's `general.architecture` or the modelspec's; `title` the model's name, and `size_label`
    GGUF's word for the number of its parameters, such as 7B.
    """

    kind: str = ""
    format: str = ""
    architecture: str = ""
    title: str = ""
    size_label: str = ""


@dataclass(slots=True)
class _Header:
    keys: set[str] = field(default_factory=set)
    metadata: dict[str, str] = field(default_factory=dict)


def read_kind(path: Path) -> FileKind:
    """Return the kind of a file; an empty FileKind if it is unknown. Reads at most 32 MiB. Raise OSError."""
    with open_regular(path) as file:
        start = file.read(16)
        file.seek(0)
        try:
            if start[:4] == b"GGUF":
                return _of_gguf(_gguf_values(file.read(_MOST_GGUF)))
            if start[:4] == b"PK\x03\x04":
                return _of_keys(TORCH, _Header(_zip_strings(file)))
            if start[:1] == b"\x80":
                return _of_keys(TORCH, _Header(set(_pickle_strings(file.read(_MOST_PICKLE)))))
            if len(start) > 8 and start[8:9] == b"{":
                return _of_keys(SAFETENSORS, _safetensors_header(file))
        except _MALFORMED:
            return FileKind()
    return FileKind()


def _safetensors_header(file: BinaryIO) -> _Header:
    size, body = read_safetensors(file)
    if len(body) < size:
        raise ValueError("the file ends in its header")
    found = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    raw = found.pop("__metadata__", None)
    metadata = json.loads(bytes(raw)) if raw is not None else {}
    known = metadata.items() if isinstance(metadata, dict) else ()
    return _Header(set(found), {name: value for name, value in known if isinstance(value, str)})


def _of_keys(form: str, header: _Header) -> FileKind:
    told = header.metadata
    architecture = told.get("modelspec.architecture", "")
    kind = kind_by_keys(header.keys)
    if not kind and (architecture.endswith("/lora") or "ss_network_module" in told):
        kind = LORA
    return FileKind(kind, form, _short(architecture), _short(told.get("modelspec.title", "")))


def _of_gguf(values: dict[str, str]) -> FileKind:
    architecture = values.get("general.architecture", "")
    kind = UNET if architecture in _IMAGE_MODELS else CLIP if architecture in _TEXT_ENCODERS else GGUF
    title, size = values.get("general.name", ""), values.get("general.size_label", "")
    return FileKind(kind, GGUF, _short(architecture), _short(title), _short(size))


def _gguf_values(body: bytes) -> dict[str, str]:
    """Return the text values at the beginning of a GGUF file, up to the first that does not fit into `body`."""
    cursor = GgufCursor(body)
    version, _, count = cursor.number("I"), cursor.number("Q"), cursor.number("Q")
    if version not in GGUF_VERSIONS:
        return {}
    found: dict[str, str] = {}
    with suppress(struct.error):
        for _ in range(count):
            key, form = cursor.text(), cursor.number("I")
            if form == GGUF_STRING:
                found[_decoded(key)] = _decoded(cursor.text())
            elif form in GGUF_SIZES:
                cursor.skip(GGUF_SIZES[form])
            else:
                # An array is the vocabulary, after all that is looked for; anything else is no GGUF.
                break
    return found


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _zip_strings(file: BinaryIO) -> set[str]:
    """Return the strings of the pickle in a torch checkpoint."""
    if directory_size(file) > _MOST_DIRECTORY:
        raise ValueError("the list of members is too large")
    with zipfile.ZipFile(file) as archive:
        member = next((one for one in archive.infolist() if one.filename.endswith("/data.pkl")), None)
        if member is None or member.flag_bits & 1 or member.compress_type not in _BOUNDED:
            return set()
        with archive.open(member) as pickle:
            return set(_pickle_strings(pickle.read(_MOST_PICKLE)))


def _pickle_strings(body: bytes) -> Iterator[str]:
    """Yield the strings in pickles, one after another; up to the first that is broken."""
    stream = io.BytesIO(body)
    left = _MOST_STRINGS
    for _ in range(_MOST_PICKLES):
        try:
            for code, value, _ in pickletools.genops(stream):
                if isinstance(value, str) and "UNICODE" in code.name:
                    yield value
                    left -= 1
                    if not left:
                        return
        except Exception:  # noqa: BLE001 - of a broken pickle, pickletools raises many kinds
            return


def _short(text: str) -> str:
    return text[:_LONGEST]
