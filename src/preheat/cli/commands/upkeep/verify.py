"""The `preheat verify` command."""

import argparse
import time

from preheat import api
from preheat.cli.typed_units import read_seconds
from preheat.cli.wiring import Wiring
from preheat.core.errors import CheckFailed, NotPreloaded
from preheat.core.units import say_count, say_seconds, say_size, say_some
from preheat.verbs.upkeep.remove import recorded, typed_model

_FEW = 3  # blobs to name


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat verify`; return the exit status."""
    library = wiring.library
    only = [recorded(typed_model(words, library), library) for words in options.refs] or None
    began = time.monotonic()
    verdict = api.verify(*options.refs, since_s=read_seconds(options.since), mend=options.mend, session=wiring)
    seconds = time.monotonic() - began
    figures = {
        "blobs": verdict.blobs,
        "size": verdict.size,
        "skipped": verdict.skipped,
        "rotten": verdict.rotten,
        "mended": verdict.mended,
        "seconds": round(seconds, 3),
    }
    if verdict.left:
        blobs = say_count(verdict.blobs, "blob")
        raise CheckFailed(
            f"corrupt or unreadable: {len(verdict.left)} of {blobs}: {say_some(verdict.left, _FEW)}",
            hint="preheat verify --mend, or pull again"
            if library.writable
            else "run verify as a user who can write to the library",
        )
    if only and not verdict.blobs and not verdict.skipped and any(one.files for one in only):
        raise NotPreloaded(f"no file of {only[0].ref} is in {library.root}", hint=f"preheat pull {only[0].ref}")
    rate = say_size(verdict.size / seconds) if seconds else "0 B"
    sentence = (
        f"{say_count(verdict.blobs, 'blob')}, {say_size(verdict.size)}, verified ({say_seconds(seconds)}, {rate}/s)"
    )
    if verdict.mended:
        sentence += f"; {len(verdict.mended)} repaired"
    if verdict.skipped:
        sentence += f"; {say_count(verdict.skipped, 'blob')} skipped, as verified before"
    wiring.console.done(figures, sentence if options.verbosity else "")
    return 0
