"""Main: the entry point. It imports little, so that --help starts about as fast as Python itself."""

import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from preheat.cli.parser import parser
from preheat.core.errors import PreheatError

_INTERRUPTED = 130


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit with its status (docs/exit-codes.md)."""
    try:
        status = _run(list(sys.argv[1:] if words is None else words))
    except KeyboardInterrupt:
        # Before there was anybody to say it, or again while it was being said.
        status = _INTERRUPTED
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _run(words: list[str]) -> int:
    # Everything behind a bare `--` is the app's own command, and none of our business.
    split = words.index("--") if "--" in words else len(words)
    try:
        options = parser().parse_args(words[:split])
    except PreheatError as error:
        from preheat.cli.output.console import console

        out = sys.stderr if words[:1] == ["run"] else sys.stdout
        console(json="--json" in words[:split], loud=1, out=out).error(error)
        return error.exit_status
    options.command = words[split + 1 :]
    # Here and not at the top: the verbs load the HTTP client and more, which --help has no use for. None of what they
    # define is ever garbage, and looking for some among it would take as long as a tenth of them.
    gc.disable()
    from preheat.cli.dispatch import dispatch

    gc.freeze()
    gc.enable()
    return dispatch(options)
