"""Layer plan: which entries go into which layer; pure. Format: docs/adr/0012."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from preheat.core.errors import SOURCE, ImageError
from preheat.oci.layers.layer import LARGE, Layer, LayerEntry
from preheat.oci.layers.tar import BLOCK, FILE, PAGE

# What overlay filesystems stack, and so what every runtime and registry takes.
MOST_LAYERS = 127


@dataclass(frozen=True, slots=True)
class Group:
    """Entries that belong together: a need's view, or what is the app's own."""

    name: str
    entries: tuple[LayerEntry, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """How many layers there may be, and how long in bytes one may be; 0 for as long as it likes."""

    layers: int = MOST_LAYERS
    layer_size: int = 0


def plan(groups: Sequence[Group], room: Room) -> list[Layer]:
    """Make layers of all entries: large files first, the largest of them before others; then the groups.

    Raise ImageError when a file is longer than a layer may be, or there is room for too few layers.
    """
    large = {entry.path: entry for group in groups for entry in group.entries if _stands_alone(entry)}
    ordered = sorted(large.values(), key=lambda entry: (-entry.size, entry.path.encode()))
    for entry in (entry for group in groups for entry in group.entries):
        if room.layer_size and _length(entry) + 2 * BLOCK > room.layer_size:
            raise ImageError(
                f"{entry.label or entry.path} has {entry.size} bytes, and a layer may have {room.layer_size} in all",
                hint="a file cannot be cut; leave it out, or choose a registry or --max-layer-size that takes it",
                end=SOURCE,
            )
    rest = [
        Layer(group.name, tuple(part))
        for group in groups
        for part in _cut([entry for entry in group.entries if not _stands_alone(entry)], room.layer_size)
    ]
    alone = room.layers - len(rest)
    if len(ordered) > alone:
        # The largest keep layers of their own: they are the ones worth not sending again.
        keep = max(alone - max(alone // 4, 1), 0)
        together = _cut(ordered[keep:], max(room.layer_size, 0))
        while keep and keep + len(together) > alone:
            keep -= 1
            together = _cut(ordered[keep:], room.layer_size)
        if keep + len(together) > alone:
            raise ImageError(
                f"{len(ordered)} large files and {len(rest)} layers beside them do not fit into {room.layers} layers",
                hint="a larger --max-layer-size, fewer --files, or a base with fewer layers",
                end=SOURCE,
            )
        rest = [*(Layer("large files", tuple(part)) for part in together), *rest]
        ordered = ordered[:keep]
    return [*(Layer(entry.label or entry.path, (entry,)) for entry in ordered), *rest]


def _stands_alone(entry: LayerEntry) -> bool:
    return entry.kind == FILE and entry.size >= LARGE


def _cut(entries: Iterable[LayerEntry], most: int) -> list[list[LayerEntry]]:
    """Sort entries, and cut them where the next one would make a layer too long."""
    parts: list[list[LayerEntry]] = []
    length = 0
    for entry in sorted(entries, key=lambda entry: entry.path.encode()):
        if not parts or (most and length + _length(entry) + 2 * BLOCK > most):
            parts.append([])
            length = 0
        parts[-1].append(entry)
        length += _length(entry)
    return parts


def _length(entry: LayerEntry) -> int:
    """Say how long an entry is at most, header and padding included."""
    names = len(entry.path.encode()) + len(entry.target.encode())
    return (
        2 * PAGE + _whole(names) + _whole(entry.size)
        if entry.aligned
        else 4 * BLOCK + _whole(names) + _whole(entry.size)
    )


def _whole(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
