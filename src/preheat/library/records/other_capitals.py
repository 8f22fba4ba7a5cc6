"""Other capitals: a recorded model whose name differs from the one asked for only in capital letters."""

from pathlib import Path
from urllib.parse import unquote

from preheat.core.ref import Ref


def other_capitals(records: Path, ref: Ref) -> str:
    """Return the name of such a model; empty if there is none. Costs a listing of the folder of the hub's records."""
    try:
        names = sorted(path.name for path in (records / ref.hub).iterdir())
    except OSError:
        return ""
    for name in names:
        if name != ref.slug and name.casefold() == ref.slug.casefold():
            return f"{ref.hub}:{unquote(name.partition('--')[2]).replace('--', '/', 1)}"
    return ""
