"""The `preheat rm` command."""

import argparse

from preheat import api
from preheat.cli.commands.upkeep.prune import removed
from preheat.cli.wiring import Wiring


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat rm`; return the exit status."""
    return removed(api.plan_remove(*options.refs, all_versions=options.all, session=wiring), options, wiring)
