"""Kinds: detect a file's type from its bytes, never from its name; pure."""

import bz2
import lzma
import re
import zlib
from collections.abc import Callable
from typing import IO

import msgspec

# These many bytes of a file's start and end suffice for all types; a zip's directory may be before a 64 KiB comment.
_LONGEST_HEADER = 100_000_000  # safetensors/src/tensor.rs, MAX_HEADER_SIZE
HEAD, TAIL = 4096, 22 + (1 << 16)

ZIP, TAR, NUMPY, HDF5, GGUF, GGML = "zip", "tar", "numpy", "hdf5", "gguf", "ggml"
PROGRAM, SCRIPT = "a program or a compiled library", "a script"
CODE = frozenset((PROGRAM, SCRIPT))
ZIP_END = b"PK\x05\x06"  # the record at the end of a zip
# Files that torch.load, pickle.load and joblib.load open as pickles, whatever their first bytes are.
PICKLE_SUFFIXES = frozenset((".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib", ".th", ".dill"))
# The first bytes of each format, from its specification.
_MAGIC = {
    b"\x93NUMPY": NUMPY,
    b"\x89HDF\r\n\x1a\n": HDF5,
    b"GGUF": GGUF,
    # The formats before it, which whisper.cpp's `ggml-*.bin` have: "ggml", "ggmf", "ggjt" and "ggla" as numbers.
    b"lmgg": GGML,
    b"fmgg": GGML,
    b"tjgg": GGML,
    b"algg": GGML,
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x7fELF": PROGRAM,
    b"\xfe\xed\xfa\xce": PROGRAM,
    b"\xfe\xed\xfa\xcf": PROGRAM,
    b"\xce\xfa\xed\xfe": PROGRAM,
    b"\xcf\xfa\xed\xfe": PROGRAM,
    b"\xca\xfe\xba\xbe": PROGRAM,
    b"#!/": SCRIPT,
}
UNREADABLE = frozenset(("zstd", "lz4", "7z"))
_UNPACKERS: dict[str, Callable[[], "zlib._Decompress | bz2.BZ2Decompressor | lzma.LZMADecompressor"]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "zlib": lambda: zlib.decompressobj(),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 28),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=1 << 28),
}
_SEVERAL_STREAMS = frozenset(("gzip", "bzip2", "xz"))
_BROKEN = (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError)
_OCTAL = re.compile(rb"[0-7 ]{5,11}[0-7][ \0]{1,2}|[0-7]{7,11}\0?")


class _Tensor(msgspec.Struct):
    data_offsets: tuple[int, int]


def kind_of(head: bytes, tail: bytes = b"") -> str:
    """Return the type of a file from its first and last bytes; "" for types that no loader unpacks.

    Pickles are not told here, since they have no magic bytes: preheat.scan.pickles.is_pickle.
    """
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[:2] == b"MZ" and head[(at := int.from_bytes(head[60:64], "little")) : at + 4] == b"PE\0\0":
        return PROGRAM
    # A zip is read from its end, so it may start with any bytes.
    if head.startswith(b"PK\x03\x04") or ZIP_END in tail or ZIP_END in head:
        return ZIP
    if is_tar_header(head[:512]):
        return TAR
    return next((kind for kind in ("zlib", "lzma") if _looks_packed(kind, head) and unpacked_start(kind, head)), "")


def is_tar_header(block: bytes) -> bool:
    """Return whether 512 bytes have the fields of any tar header: mode, size and checksum in octal digits.

    The checksum is not compared: the archive's reader rejects a wrong one.
    """
    fields = (block[100:108], block[124:136], block[148:156])
    return len(block) == 512 and block[0] != 0 and all(_OCTAL.fullmatch(field) for field in fields)


def is_safetensors(file: IO[bytes], size: int) -> bool:
    """Return whether a file has the form of safetensors: no byte of it is outside the header and the tensors.

    See safetensors/src/tensor.rs, SafeTensors::read_metadata.
    """
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(_LONGEST_HEADER, size - 8):
        return False
    try:
        tensors = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
        tensors.pop("__metadata__", None)
        ends = [msgspec.json.decode(one, type=_Tensor).data_offsets[1] for one in tensors.values()]
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return 8 + length + max(ends, default=0) == size


def unpacked_start(kind: str, head: bytes) -> bytes:
    """Decompress `head` and return up to `HEAD` bytes; b"" if `head` cannot be decompressed."""
    try:
        return _UNPACKERS[kind]().decompress(head, HEAD)
    except _BROKEN:
        return b""


def unpack(kind: str, packed: bytes, most: int) -> bytes | None:
    """Decompress all streams of `packed`, as Python's own readers do, and join them.

    Return None if the first stream is broken, if any stream is cut short, or if the result is longer than `most` bytes.
    Like Python's readers of gzip, bzip2 and xz, continue with the next stream, and ignore trailing bytes that are no
    stream.
    """
    bodies: list[bytes] = []
    while packed:
        unpacker = _UNPACKERS[kind]()
        try:
            body = unpacker.decompress(packed, most + 1)
        except (*_BROKEN, MemoryError):
            return b"".join(bodies) if bodies else None
        most -= len(body)
        if most < 0 or not unpacker.eof:
            return None
        bodies.append(body)
        packed = unpacker.unused_data.lstrip(b"\0") if kind in _SEVERAL_STREAMS else b""
    return b"".join(bodies)


def _looks_packed(kind: str, head: bytes) -> bool:
    """Return whether zlib's two header bytes (RFC 1950), or the properties of an .lzma file, are valid."""
    if kind == "zlib":
        return len(head) > 2 and head[0] & 15 == 8 and head[0] >> 4 < 8 and not (head[0] << 8 | head[1]) % 31
    return len(head) > 13 and head[0] < 225 and head[1:3] == b"\0\0" and any(head[3:5])
