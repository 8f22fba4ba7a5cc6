"""The `preheat rm` command."""

import argparse

from preheat.cli.commands.upkeep.prune import removed, sweep_of
from preheat.cli.wiring import Wiring
from preheat.core.ref import Ref
from preheat.verbs.upkeep.remove import plan_removal, recorded, versions_of


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat rm`; return the exit status."""
    library, sweep = wiring.library, sweep_of(options, wiring)
    refs = [Ref.parse(words) for words in options.refs]
    versions = {
        snapshot.ref.at(snapshot.commit): snapshot
        for ref in refs
        for snapshot in (versions_of(ref, library) if options.all else [recorded(ref, library)])
    }
    return removed(lambda: plan_removal(list(versions.values()), library, sweep), sweep, options, wiring)
