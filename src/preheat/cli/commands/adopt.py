"""`preheat adopt`."""

import argparse
from pathlib import Path

from preheat.cli.wiring import Wiring
from preheat.cli.words import say_size
from preheat.ref import Ref
from preheat.verbs.adopt import adopt


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Do what `preheat adopt` says."""
    ref = Ref.parse(options.ref) if options.ref else None
    done = [
        adopt(Path(folder).expanduser().absolute(), wiring.library, wiring.console, ref, copy=options.copy)
        for folder in options.folders
    ]
    figures = {
        name: sum(getattr(one, name) for one in done)
        for name in ("versions", "files", "size", "new", "copied", "left_out")
    }
    said = (
        f"{say_size(figures['size'])} in {figures['files']} files of {figures['versions']} versions are in "
        f"{wiring.library.root}; {say_size(figures['new'])} new, {say_size(figures['copied'])} of it copied"
    )
    if figures["left_out"]:
        said += f"; {figures['left_out']} left out"
    wiring.console.done(figures | {"library": str(wiring.library.root)}, said if options.loud else "")
    return 0
