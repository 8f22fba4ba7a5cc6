"""Start reads: list what a start read of the app's folder and environment, for `run` to read ahead."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from preheat.guard.warm_up.start_list import list_text
from preheat.recipes.inference.bookkeeping import is_secret
from preheat.verbs.tracing.traced_start import ObservedStart

_COMPILED = re.compile(r"(.*)/__pycache__/([^/]+)\.[a-z]+-?[0-9]+(?:\.opt-[0-9])?\.pyc")
# A file of which more than this was used is read as a whole.
_MOSTLY = 0.8


def start_list(
    seen: ObservedStart, places: Mapping[str, str], written: Collection[str], needed: Collection[str]
) -> str:
    """Return the list of files that were read until the app was ready, in the order of their opens.

    What the start wrote is left out, except bytecode, which the next start reads; so are the `needed` files, which are
    in the library. Of mapped files, only those parts are listed that the app used.
    """
    until = seen.began + seen.ready_s if seen.ready_s is not None else float("inf")
    compiled = {f"{match[1]}/{match[2]}.py": path for path in written if (match := _COMPILED.fullmatch(path))}
    other = {os.path.realpath(path) for path in needed} | {path for path in written if not path.endswith(".pyc")}
    files: dict[str, Sequence[tuple[int, int]]] = {}
    for one in seen.opens:
        if one.wrote or one.at > until or one.path in other or is_secret(one.path):
            continue
        files.setdefault(one.path, _used(one.path, seen.mapped.get(one.path, ())))
        if one.path in compiled:
            files.setdefault(compiled[one.path], ())
    return list_text(files, places)


def _used(path: str, ranges: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """Return the ranges of a file that were used; none if that is nearly all of it."""
    try:
        size = Path(path).stat().st_size
    except OSError:
        return ()
    return ranges if sum(stop - start for start, stop in ranges) < _MOSTLY * size else ()
