"""Corpus: the files to pull; random bytes in files of the usual form, so that nothing can compress them."""

import json
import os
import random
from pathlib import Path

_STEP = 8 << 20
_HEADER = 128


def weights(folder: Path, size: int = 497_000_000, count: int = 4) -> Path:
    """Make a model of typical size: a few large files, a few small ones."""
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        fill(folder / f"model-{number:05}-of-{count:05}.safetensors", size)
    for number in range(1, 13):
        fill(folder / f"part_{number}.json", number * 60_000)
    return folder


def small_files(folder: Path, count: int = 3_000, total: int = 76_000_000) -> Path:
    """Make a repository of small files, in folders; a third of them tiny. The same sizes each time."""
    choose = random.Random(3)
    shares = [choose.choice((0.02, 0.7, 2.3)) * choose.uniform(0.5, 1.5) for _ in range(count)]
    for number, share in enumerate(shares):
        path = folder / f"voice_{number // 100:02}" / f"piece_{number:04}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        fill(path, max(1, int(total * share / sum(shares))))
    return folder


def fill(path: Path, size: int) -> None:
    """Write a file of random bytes; one that is called .safetensors has their header, which names one tensor."""
    with open(path, "wb") as file:
        if path.suffix == ".safetensors":
            file.write(_header(size))
        for at in range(file.tell(), size, _STEP):
            file.write(os.urandom(min(_STEP, size - at)))


def _header(size: int) -> bytes:
    """Return the header of a file of `size` bytes in the format of safetensors, padded to _HEADER bytes."""
    tensor = {"dtype": "U8", "shape": [size - _HEADER], "data_offsets": [0, size - _HEADER]}
    text = json.dumps({"weight": tensor}).encode().ljust(_HEADER - 8)
    return len(text).to_bytes(8, "little") + text
