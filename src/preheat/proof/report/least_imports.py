"""Least imports: the shortest time that an app's imports took, measured alone or in a start."""

from collections.abc import Iterable, Sequence

from preheat.proof.start.timeline import COLD, PRELOADED, Imports, Timeline

EVICTED = (COLD, PRELOADED)


def least_imports_s(measured: Sequence[float], timelines: Iterable[Timeline], condition: str) -> float | None:
    """Return the least time to start Python and import the app's modules; None if it was not `measured` alone.

    Imports that were measured alone can take longer than those of a start, as any measurement varies. What a start
    reached counts too, if its files came from the same place: from disk, or from the page cache.
    """
    if not measured:
        return None
    reached = [one.interpreter_s + one.seconds for one in imports_like(timelines, condition)]
    return min((*measured, *reached))


def imports_like(timelines: Iterable[Timeline], condition: str) -> list[Imports]:
    """Return the imports of all starts whose files came from the same place as under this condition."""
    evicted = condition in EVICTED
    return [
        one.imports
        for one in timelines
        if one.imports is not None and one.imports.spans and (one.condition in EVICTED) == evicted
    ]
