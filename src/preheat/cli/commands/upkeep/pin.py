"""The `preheat pin` command."""

import argparse

from preheat.cli.wiring import Wiring
from preheat.core.ref import Ref
from preheat.library.blobs.disk_errors import disk_trouble
from preheat.verbs.upkeep.remove import recorded


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat pin`; return the exit status."""
    library = wiring.library
    snapshots = [recorded(Ref.parse(words), library) for words in options.refs]
    try:
        for snapshot in snapshots:
            library.pins.add(snapshot)
    except OSError as error:
        raise disk_trouble(error, library.root) from error
    refs = [str(snapshot.ref.at(snapshot.commit)) for snapshot in snapshots]
    wiring.console.done({"pinned": refs}, "\n".join(f"pinned {ref}" for ref in refs) if options.verbosity else "")
    return 0
