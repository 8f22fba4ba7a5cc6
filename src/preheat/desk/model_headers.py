"""Model headers: the parts of a model file's own header that its kind and its size are read from.

Formats: safetensors (8 bytes of header size, JSON: its README), GGUF (docs/gguf.md of ggml). Files may be hostile: what
does not fit the format raises ValueError or struct.error, and a bounded part is read.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

MOST_HEADER = 32 << 20  # bytes of a safetensors header; those of the largest models have a few MB
GGUF_VERSIONS = (2, 3)
GGUF_STRING, GGUF_ARRAY = 8, 9
# Types of values in GGUF, by number, with their sizes in bytes: uint8 … bool, and from 10 on uint64, int64, float64.
GGUF_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def read_safetensors(file: BinaryIO) -> tuple[int, bytes]:
    """Return the size of a safetensors header, and its JSON: fewer bytes if the file ends in it. Raise ValueError."""
    size = int.from_bytes(file.read(8), "little")
    if size > MOST_HEADER:
        raise ValueError("the header is too large")
    return size, file.read(size)


@dataclass(slots=True)
class GgufCursor:
    """A place in the header of a GGUF file, at first after its magic. Reading beyond the end raises struct.error."""

    body: bytes
    at: int = 4

    def number(self, form: str) -> int:
        """Read a number of a type of the struct module."""
        (value,) = struct.unpack_from(f"<{form}", self.body, self.at)
        self.at += struct.calcsize(f"<{form}")
        return int(value)

    def skip(self, size: int) -> bytes:
        """Read bytes."""
        start = self.at
        self.at += size
        if self.at > len(self.body):
            raise struct.error("the header ends")
        return self.body[start : self.at]

    def text(self) -> bytes:
        """Read a string."""
        return self.skip(self.number("Q"))
