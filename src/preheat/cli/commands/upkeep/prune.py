"""The `preheat prune` command."""

import argparse

from preheat.cli.typed_units import read_seconds
from preheat.cli.wiring import Wiring
from preheat.core.units import say_size
from preheat.library.blobs.partial import disk_trouble
from preheat.library.upkeep.sweep import Sweep
from preheat.verbs.upkeep.prune import Shears, prune


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat prune`; return the exit status."""
    library = wiring.library
    shears = Shears(options.old, read_seconds(options.younger), options.forget)
    try:
        pruned = prune(library, sweep_of(options, wiring), shears, wiring.console, really=options.yes)
    except OSError as error:
        raise disk_trouble(error, library.root) from error
    versions = [str(ref) for ref in pruned.versions]
    lines = [f"{name} {'removed' if options.yes else 'would be removed'}" for name in versions]
    size = say_size(pruned.size)
    lines.append(
        f"{size} freed"
        if options.yes
        else f"{size} would be freed: {pruned.blobs} blobs and {pruned.leftovers} leftover files that nothing needs; "
        "--yes removes them"
    )
    figures = {
        "versions": versions,
        "blobs": pruned.blobs,
        "leftovers": pruned.leftovers,
        "size": pruned.size,
        "done": options.yes,
    }
    wiring.console.done(figures, "\n".join(lines) if options.loud else "")
    return 0


def sweep_of(options: argparse.Namespace, wiring: Wiring) -> Sweep:
    """Return the sweep for these options; on a share it waits until other machines see the changes."""
    root = wiring.library.root
    return Sweep(root, read_seconds(options.settle) if options.settle else None)
