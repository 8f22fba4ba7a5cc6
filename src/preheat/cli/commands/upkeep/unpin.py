"""The `preheat unpin` command."""

import argparse

from preheat.cli.wiring import Wiring
from preheat.core.errors import Incomplete
from preheat.core.ref import Ref
from preheat.library.blobs.disk_errors import disk_trouble
from preheat.verbs.upkeep.remove import recorded


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat unpin`; return the exit status."""
    library = wiring.library
    snapshots = [recorded(Ref.parse(words), library) for words in options.refs]
    try:
        freed = [str(one.ref.at(one.commit)) for one in snapshots if library.pins.remove(one)]
    except OSError as error:
        raise disk_trouble(error, library.root) from error
    others = [str(one.ref.at(one.commit)) for one in snapshots if str(one.ref.at(one.commit)) not in freed]
    if others:
        raise Incomplete(f"{others[0]} is not pinned", hint="to list the pins: preheat ls", figures={"unpinned": freed})
    words = "\n".join(f"unpinned {ref}" for ref in freed)
    wiring.console.done({"unpinned": freed}, words if options.verbosity else "")
    return 0
