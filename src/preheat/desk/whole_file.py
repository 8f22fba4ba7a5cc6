"""Whole file: how many bytes a model file lacks, by its own header, such as one whose download was interrupted.

Formats: safetensors (the tensors' offsets), GGUF (docs/gguf.md of ggml: offsets and types of the tensors) and torch
checkpoints, whose ZIP ends with a list of its members. Other formats do not contain their size.
"""

import math
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

import msgspec

from preheat.desk.model_headers import GGUF_ARRAY, GGUF_SIZES, GGUF_STRING, GGUF_VERSIONS, GgufCursor, read_safetensors
from preheat.disk.regular_file import open_regular

_MOST_GGUF = 32 << 20  # bytes of a header; vocabularies of 250,000 words have 10 MB
_MOST_ITEMS = 4_000_000
_MOST_DIMENSIONS = 8
_ALIGNMENT = 32  # of tensors in GGUF, unless general.alignment is another one
# Types of tensors in GGUF, by number: elements and bytes of a block (ggml.c). Others count as empty.
_BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    30: (1, 2),
}


class _TensorPlace(msgspec.Struct):
    data_offsets: tuple[int, int]


def missing_bytes(path: Path) -> int:
    """Return how many bytes the file lacks at least; 0 if it is whole, or nobody can know. Raise OSError."""
    with open_regular(path) as file:
        start = file.read(16)
        size = file.seek(0, 2)
        file.seek(0)
        try:
            if start[:4] == b"GGUF":
                return max(_gguf_size(file.read(_MOST_GGUF), size) - size, 0)
            if start[:4] == b"PK\x03\x04":
                return 0 if zipfile.is_zipfile(file) else 1
            if len(start) > 8 and start[8:9] == b"{":
                return max(_safetensors_size(file) - size, 0)
        except (ValueError, struct.error, msgspec.DecodeError, RecursionError):
            return 0  # not the format that it seemed to be
    return 0


def _safetensors_size(file: BinaryIO) -> int:
    header, body = read_safetensors(file)
    if len(body) < header:
        return 8 + header
    found = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    ends = [
        msgspec.json.decode(raw, type=_TensorPlace).data_offsets[1] for name, raw in found.items() if name[:2] != "__"
    ]
    return 8 + header + max(ends, default=0)


def _gguf_size(body: bytes, size: int) -> int:
    """Return the least size of a GGUF file of `size` bytes that begins with `body`; 0 if that is not known."""
    cursor = GgufCursor(body)
    try:
        return _gguf_end(cursor)
    except struct.error:
        return size + 1 if size == len(body) else 0  # the file ends in its header


def _gguf_end(cursor: GgufCursor) -> int:
    if cursor.number("I") not in GGUF_VERSIONS:
        return 0
    tensors, values = cursor.number("Q"), cursor.number("Q")
    if tensors + values > _MOST_ITEMS:
        return 0
    alignment = _ALIGNMENT
    for _ in range(values):
        key, form = cursor.text(), cursor.number("I")
        if key == b"general.alignment" and form == 4:
            alignment = cursor.number("I") or _ALIGNMENT
        else:
            _skip_value(cursor, form)
    most = 0
    for _ in range(tensors):
        cursor.text()
        if (dimensions := cursor.number("I")) > _MOST_DIMENSIONS:
            raise ValueError("too many dimensions")
        elements = math.prod(cursor.number("Q") for _ in range(dimensions))
        block, size = _BLOCKS.get(cursor.number("I"), (1, 0))
        most = max(most, cursor.number("Q") + elements // block * size)
    return -(-cursor.at // alignment) * alignment + most


def _skip_value(cursor: GgufCursor, form: int) -> None:
    if form == GGUF_STRING:
        cursor.text()
    elif form == GGUF_ARRAY:
        each, count = cursor.number("I"), cursor.number("Q")
        if each in GGUF_SIZES:
            cursor.skip(GGUF_SIZES[each] * count)
            return
        if each != GGUF_STRING or count > _MOST_ITEMS:
            raise ValueError("an unknown type of array")
        for _ in range(count):
            cursor.text()
    elif form in GGUF_SIZES:
        cursor.skip(GGUF_SIZES[form])
    else:
        raise ValueError("an unknown type of value")
