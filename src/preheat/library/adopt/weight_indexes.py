"""Weight indexes: the files that a model's own indexes name, and that a cache lacks.

`NAME.safetensors.index.json` and `NAME.bin.index.json` have in `weight_map` the shard of each tensor, a file beside the
index. `model_index.json` of diffusers has for each component's folder the library and class, or two nulls.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from preheat.library.adopt.caches import Candidate, InvalidEntry, why_invalid
from preheat.library.small_files import read_small

_SHARDED = (".safetensors.index.json", ".bin.index.json")
_COMPONENTS = "model_index.json"


class _ShardIndex(msgspec.Struct, frozen=True):
    weight_map: dict[str, str] = {}


def missing_parts(folder: Path, candidates: Sequence[Candidate]) -> Iterator[tuple[str, InvalidEntry]]:
    """Yield the path of each file or folder (with `/` at its end) that an index names, and that is missing.

    `folder` is the version's folder, for the message. Indexes that cannot be read name nothing. Costs one read of each
    index.
    """
    paths = {candidate.path for candidate in candidates}
    seen: set[str] = set()
    for candidate in candidates:
        under, _, name = candidate.path.rpartition("/")
        if name.endswith(_SHARDED):
            named = _shards(candidate.source)
        elif name == _COMPONENTS:
            named = _components(candidate.source)
        else:
            continue
        for one in sorted(named):
            path = f"{under}/{one}" if under else one
            is_here = any(other.startswith(path) for other in paths) if path.endswith("/") else path in paths
            if is_here or path in seen or why_invalid(path.rstrip("/")):
                continue
            seen.add(path)
            yield path, InvalidEntry(folder / path, f"it is missing, although {candidate.path} names it")


def _shards(source: Path) -> set[str]:
    try:
        return set(msgspec.json.decode(read_small(source), type=_ShardIndex).weight_map.values())
    except (OSError, msgspec.DecodeError, ValueError, RecursionError):
        return set()


def _components(source: Path) -> set[str]:
    try:
        entries = msgspec.json.decode(read_small(source), type=dict[str, object])
    except (OSError, msgspec.DecodeError, ValueError, RecursionError):
        return set()
    return {
        f"{name}/"
        for name, value in entries.items()
        if isinstance(value, list) and len(value) == 2 and all(isinstance(one, str) for one in value)
    }
