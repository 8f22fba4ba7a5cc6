"""The `preheat view` command."""

import argparse

from preheat.cli.wiring import Wiring
from preheat.core.ref import Ref, read_path
from preheat.verbs.locked_needs import look_over
from preheat.verbs.placing.place import place_sites
from preheat.verbs.view import site_at


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat view`; return the exit status."""
    view = wiring.view(options.kind)
    at = read_path(options.at)
    # Find all models before placing any. Place pinned ones first, so that a branch's files take precedence.
    snapshots = [wiring.library.require(Ref.parse(words), options.files) for words in options.refs]
    look_over(wiring.library, snapshots, wiring.console)
    snapshots.sort(key=lambda one: not one.ref.pinned)
    sites = [site_at(snapshot, wiring.library, view, at, wiring.permissions) for snapshot in snapshots]
    environ = place_sites(sites, wiring.library, wiring.console, wiring.permissions)
    figures = {"kind": view.kind, "path": str(at), "environ": environ}
    wiring.console.done(figures, "\n".join(f"{name}={value}" for name, value in environ.items()))
    return 0
