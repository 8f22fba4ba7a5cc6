"""The `preheat adopt` command."""

import argparse

from preheat.cli.wiring import Wiring
from preheat.core.errors import Incomplete
from preheat.core.events import Event, LeftOut
from preheat.core.ref import Ref, read_path
from preheat.core.units import say_size
from preheat.verbs.upkeep.adopt import adopt

_FEW = 3  # skipped files named in the last message


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat adopt`; return the exit status."""
    left_out: list[LeftOut] = []

    def told(event: Event) -> None:
        if isinstance(event, LeftOut):
            left_out.append(event)
        wiring.console(event)

    ref = Ref.parse(options.ref) if options.ref else None
    folders = [read_path(folder) for folder in options.folders]
    unsafe = wiring.settings.unsafe_files
    done = [adopt(folder, wiring.library, told, ref, copy=options.copy, unsafe=unsafe) for folder in folders]
    figures = {
        name: sum(getattr(one, name) for one in done)
        for name in ("versions", "files", "size", "new", "copied", "left_out")
    }
    said = (
        f"{say_size(figures['size'])} in {figures['files']} files of {figures['versions']} versions are in "
        f"{wiring.library.root}; {say_size(figures['new'])} new, {say_size(figures['copied'])} of it copied"
    )
    if figures["left_out"]:
        # Each file has been reported by an event; fail too, for scripts that check only the exit status.
        reasons = "; ".join(f"{one.path}: {one.reason}" for one in left_out[:_FEW])
        more = f"; and {len(left_out) - _FEW} more" if len(left_out) > _FEW else ""
        raise Incomplete(
            f"{figures['left_out']} left out: {reasons}{more} ({said})",
            hint="repair or remove these files, then run adopt again; adopted files are kept",
            figures=figures,
        )
    wiring.console.done(figures | {"library": str(wiring.library.root)}, said if options.loud else "")
    return 0
