"""The `preheat rm` command."""

import argparse

from preheat.cli.commands.upkeep.prune import sweep_of
from preheat.cli.wiring import Wiring
from preheat.core.ref import Ref
from preheat.core.units import say_size
from preheat.library.blobs.partial import disk_trouble
from preheat.verbs.upkeep.remove import recorded, remove, versions_of


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat rm`; return the exit status."""
    library = wiring.library
    refs = [Ref.parse(words) for words in options.refs]
    versions = {
        snapshot.ref.at(snapshot.commit): snapshot
        for ref in refs
        for snapshot in (versions_of(ref, library) if options.all else [recorded(ref, library)])
    }
    try:
        removal = remove(
            list(versions.values()), library, sweep_of(options, wiring), wiring.console, really=options.yes
        )
    except OSError as error:
        raise disk_trouble(error, library.root) from error
    names = [str(ref) for ref in removal.versions]
    lines = [f"{name} {'removed' if options.yes else 'would be removed'}" for name in names]
    lines.append(
        f"{say_size(removal.size)} freed"
        if options.yes
        else f"{say_size(removal.size)} would be freed; --yes removes them"
    )
    figures = {"versions": names, "size": removal.size, "done": options.yes}
    wiring.console.done(figures, "\n".join(lines) if options.loud else "")
    return 0
