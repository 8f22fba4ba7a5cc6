"""Corpus: the files to pull; random bytes, so that nothing can compress them."""

import os
import random
from pathlib import Path

_STEP = 8 << 20


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
    """Write a file of random bytes."""
    with open(path, "wb") as file:
        for at in range(0, size, _STEP):
            file.write(os.urandom(min(_STEP, size - at)))
