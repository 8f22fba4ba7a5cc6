"""The `preheat completion` command."""

import argparse
from pathlib import Path

from preheat.cli.wiring import Wiring
from preheat.core.errors import UsageError

# Written when the wheel is built (hatch_build.py).
_FOLDER = Path(__file__).parents[1] / "completions"


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat completion`; return the exit status."""
    try:
        text = (_FOLDER / options.shell).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(
            "this copy of preheat has no completion files: it was installed in editable mode",
            hint="install a wheel: pip install preheat, or make wheel in the clone",
        ) from error
    wiring.console.done({"shell": options.shell, "text": text}, text.rstrip("\n"))
    return 0
