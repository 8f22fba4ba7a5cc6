"""The `preheat unpin` command."""

import argparse

from preheat import api
from preheat.cli.wiring import Wiring
from preheat.core.errors import Incomplete
from preheat.verbs.upkeep.remove import recorded, typed_model


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat unpin`; return the exit status."""
    snapshots = [recorded(typed_model(words, wiring.library), wiring.library) for words in options.refs]
    freed = [str(ref) for ref in api.unpin(*options.refs, session=wiring)]
    others = [str(one.ref.at(one.commit)) for one in snapshots if str(one.ref.at(one.commit)) not in freed]
    if others:
        raise Incomplete(f"{others[0]} is not pinned", hint="to list the pins: preheat ls", figures={"unpinned": freed})
    words = "\n".join(f"unpinned {ref}" for ref in freed)
    wiring.console.done({"unpinned": freed}, words if options.verbosity else "")
    return 0
