"""Main: the entry point. Imports little, to start --help about as fast as Python itself."""

import gc
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from preheat.cli.interruption import interrupt, status_of
from preheat.cli.parser import VERBS, Parser, parser
from preheat.cli.typed_words import arrange, with_command, without_pages
from preheat.core.errors import PreheatError
from preheat.guard.process.standard_streams import open_closed_streams


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit with its status (docs/exit-codes.md)."""
    open_closed_streams()
    _print_any_text()
    try:
        signal.signal(signal.SIGTERM, interrupt)
        status = _run(list(sys.argv[1:] if words is None else words))
    except KeyboardInterrupt as error:
        # Before the console existed, or while it printed the first interruption.
        status = status_of(error)
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
    try:
        words = arrange(words, VERBS)
        form = parser(words[0])
        words, command = _understand(words, form)
        if not {"-h", "--help"}.isdisjoint(words):
            _translate(form)
        options = form.read(words)
    except PreheatError as error:
        from preheat.cli.output.console import console

        out = sys.stderr if words[:1] == ["run"] else sys.stdout
        console(json="--json" in words, verbosity=1, out=out).error(error)
        return error.exit_status
    options.command = command
    # Imported here because the verbs import the HTTP client and more, which --help does not need. The garbage collector
    # is off during the import: it would find nothing, and takes a tenth of the import time.
    gc.disable()
    from preheat.cli.dispatch import command_of, dispatch

    run = command_of(options.verb)
    gc.freeze()
    gc.enable()
    return dispatch(options, run)


def _translate(form: Parser) -> None:
    """Translate the help to the user's language."""
    from preheat.config import language
    from preheat.core.translations import ENGLISH

    spoken = language()
    if spoken != ENGLISH:
        from preheat.cli.help_texts import translate_help

        translate_help(form, spoken)


def _understand(words: list[str], form: Parser) -> tuple[list[str], list[str]]:
    """Return the arguments for the parser, the verb first, and the app's own command. Raise UsageError."""
    if words[0] in ("run", "trace") and "--" not in words:
        names_app = _names_app if words[0] == "run" else lambda _word: False
        words = with_command(words, form.verbs[words[0]].options(), names_app)
    # Arguments after `--` are the app's own command, which argparse must not see.
    split = words.index("--") if "--" in words else len(words)
    return without_pages(words[:split]), words[split + 1 :]


def _names_app(word: str) -> bool:
    from preheat.recipes.builtin_recipes import is_built_in
    from preheat.recipes.recipe import names_recipe

    return is_built_in(word) or names_recipe(word)
