"""Upkeep lines: the sentence for each event of library maintenance."""

from preheat.core.events import Adopted, Evicted, LeftOut, Mended, Rotten, Unneeded
from preheat.core.units import say_count, say_size

_WAYS = {"reflink": "shared by reflink", "hardlink": "linked", "copy": "copied", "here": "cached already"}


def say_upkeep(event: Adopted | Evicted | LeftOut | Mended | Rotten | Unneeded) -> str:
    """Return one sentence for the event."""
    match event:
        case Adopted():
            ways = ", ".join(f"{count} {_WAYS[way]}" for way, count in sorted(event.links.items()))
            size = f"{say_size(event.size)} in {say_count(event.files, 'file')}"
            partial = f"; partial: {say_count(event.missing, 'file')} missing" if event.missing else ""
            return f"{event.ref} at {event.commit[:12]}: {size}, {ways}{partial}"
        case Evicted():
            return f"evicted: {event.ref} at {event.commit[:12]}: {say_size(event.size)} freed"
        case LeftOut():
            return f"left out: {event.path}: {event.reason}"
        case Mended():
            return f"repaired: {event.digest}" if not event.error else f"not repaired: {event.digest}: {event.error}"
        case Rotten():
            used = f"; needed as {', '.join(event.paths)}" if event.paths else ""
            moved = f"; moved to {event.moved_to}" if event.moved_to else "; left in place, as the library is read-only"
            return f"corrupt: {event.digest}: {event.reason}{used}{moved}"
        case _:
            held = f": kept, {event.held}" if event.held else ""
            return f"  {event.what} {say_size(event.size)}{held}"
