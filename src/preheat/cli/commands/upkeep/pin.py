"""The `preheat pin` command."""

import argparse

from preheat import api
from preheat.cli.wiring import Wiring


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat pin`; return the exit status."""
    refs = [str(ref) for ref in api.pin(*options.refs, session=wiring)]
    wiring.console.done({"pinned": refs}, "\n".join(f"pinned {ref}" for ref in refs) if options.verbosity else "")
    return 0
