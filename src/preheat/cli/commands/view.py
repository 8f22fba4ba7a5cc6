"""The `preheat view` command."""

import argparse

from preheat import api
from preheat.cli.wiring import Wiring
from preheat.core.ref import read_path


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat view`; return the exit status."""
    at = read_path(options.at)
    environ = api.view(options.kind, at, *options.refs, files=options.files, session=wiring)
    figures = {"kind": options.kind, "path": str(at), "environ": environ}
    wiring.console.done(figures, "\n".join(f"{name}={value}" for name, value in environ.items()))
    return 0
