"""Text parts: the parts of a file that can contain text; the tensors of the usual weight formats are left out.

The format is detected from the content: safetensors (https://github.com/huggingface/safetensors#format), GGUF, and
zips as torch.save writes them, whose tensors are members `…/data/NUMBER`. All bytes of other files can be text.
"""

import io
import os
import re
import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from preheat.oci.secrets.secret_search import ByteSource

_LARGEST_HEADER = 100 << 20  # the limit of safetensors
_SMALL = 1 << 20
_TENSOR = re.compile(r"(?:^|/)data/\d+$")
_GGUF, _GGUF_METADATA = b"GGUF", 64 << 20  # the metadata comes first, with the vocabulary


def text_parts(file: BinaryIO) -> Iterator[ByteSource]:
    """Yield the parts of an open file that can contain text, in order; read each before the next."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(16) if size > _SMALL else b""
    file.seek(0)
    if start[:4] == _GGUF:
        yield io.BytesIO(file.read(_GGUF_METADATA))
    elif header := _safetensors_header(start, size):
        yield io.BytesIO(file.read(8 + header))
    elif start[:4] == b"PK\x03\x04" and (tensors := _tensors(file)):
        yield from _between(file, tensors, size)
    else:
        yield file


def _safetensors_header(start: bytes, size: int) -> int:
    """Return the length of a safetensors header in bytes; 0 if the file has none."""
    length = int.from_bytes(start[:8], "little")
    return length if start[8:9] == b"{" and length <= min(_LARGEST_HEADER, size - 8) else 0


def _tensors(file: BinaryIO) -> list[tuple[int, int]]:
    """Return where the uncompressed tensors of a zip start and stop, in order.

    Each range starts at the member's header and has the size of the tensor. So it includes the header, and the last
    bytes of the tensor are outside: finding the exact start would need one more read per tensor.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        return []
    stored = [one for one in listed if one.compress_type == zipfile.ZIP_STORED and _TENSOR.search(one.filename)]
    return sorted((one.header_offset, one.header_offset + one.file_size) for one in stored)


def _between(file: BinaryIO, left_out: list[tuple[int, int]], size: int) -> Iterator[ByteSource]:
    at = 0
    for start, stop in [*left_out, (size, size)]:
        if at < start:
            file.seek(at)
            yield _Part(file, start - at)
        at = max(at, stop)


class _Part:
    """The next `size` bytes of an open file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int, /) -> bytes:
        """See ByteSource."""
        body = self._file.read(min(size, self._left))
        self._left -= len(body)
        return body
