"""Layer plan: assign entries to layers; pure. Format: docs/adr/0012."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from preheat.core.errors import SOURCE, ImageError
from preheat.core.units import say_count
from preheat.oci.layers.layer import LARGE, Layer, LayerEntry
from preheat.oci.layers.tar import BLOCK, FILE, PAGE

# The maximum of overlay filesystems, so every runtime and registry accepts this many.
MOST_LAYERS = 127
# The prefix of whiteouts: image-spec 1.1, layer.md.
WHITEOUT = ".wh."


@dataclass(frozen=True, slots=True)
class Group:
    """Entries that belong together: one need's view, or the app's own files."""

    name: str
    entries: tuple[LayerEntry, ...]


@dataclass(frozen=True, slots=True)
class LayerBudget:
    """The maximum number of layers, and the maximum size of one layer in bytes (0: no limit)."""

    layers: int = MOST_LAYERS
    layer_size: int = 0


def plan(groups: Sequence[Group], budget: LayerBudget) -> list[Layer]:
    """Return the layers for all entries: large files first, in descending size, then the groups.

    Raise ImageError if a file exceeds the maximum layer size, if more layers are needed than `budget` allows, or if a
    name would be read as a removal.
    """
    for entry in (entry for group in groups for entry in group.entries):
        _refuse_whiteout(entry)
    large = {entry.path: entry for group in groups for entry in group.entries if _stands_alone(entry)}
    ordered = sorted(large.values(), key=lambda entry: (-entry.size, entry.path.encode()))
    for entry in (entry for group in groups for entry in group.entries):
        if budget.layer_size and _length(entry) + 2 * BLOCK > budget.layer_size:
            raise ImageError(
                f"{entry.label or entry.path} has {entry.size} bytes; a layer may have at most {budget.layer_size}",
                hint="a file cannot be split: leave it out, raise --max-layer-size, or use another registry",
                end=SOURCE,
            )
    rest = [
        Layer(group.name, tuple(part))
        for group in groups
        for part in _cut([entry for entry in group.entries if not _stands_alone(entry)], budget.layer_size)
    ]
    alone = budget.layers - len(rest)
    if len(ordered) > alone:
        # The largest files keep their own layers, since uploading them again costs the most.
        keep = max(alone - max(alone // 4, 1), 0)
        together = _cut(ordered[keep:], max(budget.layer_size, 0))
        while keep and keep + len(together) > alone:
            keep -= 1
            together = _cut(ordered[keep:], budget.layer_size)
        if keep + len(together) > alone:
            raise ImageError(
                f"{say_count(len(ordered), 'large file')} and {say_count(len(rest), 'other layer')} "
                f"do not fit into {say_count(budget.layers, 'layer')}",
                hint="raise --max-layer-size, reduce --files, or use a base with fewer layers",
                end=SOURCE,
            )
        rest = [*(Layer("large files", tuple(part)) for part in together), *rest]
        ordered = ordered[:keep]
    return [*(Layer(entry.label or entry.path, (entry,)) for entry in ordered), *rest]


def _refuse_whiteout(entry: LayerEntry) -> None:
    """Raise ImageError for a name that begins with `.wh.`: unpacking a layer would remove a file instead."""
    if f"/{entry.path}".find(f"/{WHITEOUT}") >= 0:
        raise ImageError(
            f"{entry.path} cannot be in an image: in a layer, a name that begins with {WHITEOUT} removes a file",
            hint="leave it out: --files '!*.wh.*', or the same in the recipe's files",
            end=SOURCE,
        )


def _stands_alone(entry: LayerEntry) -> bool:
    return entry.kind == FILE and entry.size >= LARGE


def _cut(entries: Iterable[LayerEntry], most: int) -> list[list[LayerEntry]]:
    """Sort entries, and start a new part before `most` bytes would be exceeded (0: no limit)."""
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
    """Return the maximum length of an entry in bytes, header and padding included."""
    names = len(entry.path.encode()) + len(entry.target.encode())
    return (
        2 * PAGE + _whole(names) + _whole(entry.size)
        if entry.aligned
        else 4 * BLOCK + _whole(names) + _whole(entry.size)
    )


def _whole(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
