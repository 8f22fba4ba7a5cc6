"""Whisper caches: read the checkpoints of openai-whisper, `NAME.pt`; their sha256 are in its source code."""

from collections.abc import Iterator
from pathlib import Path

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.library.adopt.caches import CachedVersion, Candidate, InvalidEntry, resolved

# From _MODELS in whisper/__init__.py of openai-whisper 20250625: the sha256 is the last folder of the URL.
_ADDRESS = "https://openaipublic.azureedge.net/main/whisper/models/{digest}/{name}"
_SHA256 = {
    "tiny.en.pt": "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
    "tiny.pt": "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
    "base.en.pt": "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead",
    "base.pt": "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
    "small.en.pt": "f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872",
    "small.pt": "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
    "medium.en.pt": "d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f",
    "medium.pt": "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
    "large-v1.pt": "e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a",
    "large-v2.pt": "81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524",
    "large-v3.pt": "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
    "large-v3-turbo.pt": "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
}


def is_cache(folder: Path) -> bool:
    """Return whether a folder contains known checkpoints, and is named `whisper` or contains no other files."""
    names = {path.name for path in folder.glob("*") if not path.name.startswith(".")}
    return bool(names & _SHA256.keys()) and (folder.name == "whisper" or names <= _SHA256.keys())


def read_cache(folder: Path) -> Iterator[CachedVersion | InvalidEntry]:
    """Yield each checkpoint as a version of its URL, and InvalidEntry for all other files."""
    for path in sorted(folder.iterdir()):
        digest = _SHA256.get(path.name)
        if digest is None:
            yield InvalidEntry(path, "it is not an openai-whisper checkpoint")
            continue
        source = resolved(path, folder)
        if isinstance(source, InvalidEntry):
            yield source
            continue
        ref = Ref.parse(f"{_ADDRESS.format(digest=digest, name=path.name)}#sha256={digest}")
        yield CachedVersion(ref, ref.revision, (), (Candidate(path.name, source, sha256(digest)),))
