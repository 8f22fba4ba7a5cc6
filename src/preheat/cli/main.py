"""Main: the entry point. Imports little, to start --help about as fast as Python itself."""

import gc
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from preheat.cli.parser import VERBS, parser
from preheat.core.errors import PreheatError
from preheat.guard.process.standard_streams import open_closed_streams

_INTERRUPTED = 130


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit with its status (docs/exit-codes.md)."""
    open_closed_streams()
    _print_any_text()
    try:
        status = _run(list(sys.argv[1:] if words is None else words))
    except KeyboardInterrupt:
        # Ctrl-C before the console existed, or while it printed the first interruption.
        status = _INTERRUPTED
    try:
        sys.stdout.flush()
    except OSError as error:
        # The reader is gone, or the disk is full: Python would try again at exit, and print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = status if isinstance(error, BrokenPipeError) else status or 1
    sys.exit(status)


def _print_any_text() -> None:
    """Print characters that the locale's encoding lacks as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(words: list[str]) -> int:
    # Arguments after `--` are the app's own command, which argparse must not see.
    split = words.index("--") if "--" in words else len(words)
    try:
        options = parser(words[0] if words else "").parse_args(words[:split])
    except PreheatError as error:
        if error.hint == "preheat --help" and not VERBS.isdisjoint(words[:1]):
            error.hint = f"preheat {words[0]} --help"  # argparse reports unknown options as the whole command's error
        from preheat.cli.output.console import console

        out = sys.stderr if words[:1] == ["run"] else sys.stdout
        console(json="--json" in words[:split], verbosity=1, out=out).error(error)
        return error.exit_status
    options.command = words[split + 1 :]
    # Imported here because the verbs import the HTTP client and more, which --help does not need. The garbage collector
    # is off during the import: it would find nothing, and takes a tenth of the import time.
    gc.disable()
    from preheat.cli.dispatch import command_of, dispatch

    command = command_of(options.verb)
    gc.freeze()
    gc.enable()
    return dispatch(options, command)
