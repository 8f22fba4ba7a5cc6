"""Dispatch: import the module of a verb, run it, and convert its errors to exit statuses."""

import argparse
import contextlib
import importlib
import io
import keyword
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from preheat.cli.interruption import ends_next_time, status_of, words_of
from preheat.cli.output.console import JsonLines, TwoConsoles, console
from preheat.cli.wiring import Wiring
from preheat.core.errors import PreheatError, UsageError
from preheat.disk.regular_file import open_to_write, why
from preheat.library.blobs.disk_errors import disk_trouble

_UPKEEP = frozenset(
    ("adopt", "export", "fold", "import", "ls", "pin", "prune", "push", "rm", "show", "status", "unpin", "verify")
)


Command = Callable[[argparse.Namespace, Wiring], int]


def dispatch(options: argparse.Namespace, command: Command) -> int:
    """Run the command, print its result or error, and return the exit status (docs/exit-codes.md)."""
    with contextlib.ExitStack() as closing:
        # `run` leaves stdout to the app.
        speaking = console(
            json=options.json, verbosity=options.verbosity, out=sys.stderr if options.verb == "run" else sys.stdout
        )
        try:
            if options.events:
                speaking = TwoConsoles(speaking, JsonLines(closing.enter_context(_open_events(options.events))))
            closing.callback(speaking.close)
            _check_folder()
            return command(options, Wiring(options, speaking))
        except PreheatError as error:
            from preheat.cli.hints import as_typed  # imported here: only errors have hints

            error.hint = as_typed(error.hint, options)
            speaking.error(error)
            return error.exit_status
        except BrokenPipeError:
            return 1
        except OSError as error:
            trouble = _with_path(error, options)
            speaking.error(trouble)
            return trouble.exit_status
        except UnicodeEncodeError as error:
            unnamed = _unencodable_name(error)
            speaking.error(unnamed)
            return unnamed.exit_status
        except KeyboardInterrupt as error:
            message, hint = words_of(error, options.verb)
            from preheat.cli.hints import as_typed

            speaking.error(PreheatError(message, hint=as_typed(hint, options)))
            ends_next_time()
            return status_of(error)


def command_of(verb: str) -> Command:
    """Import only the module of this verb, and return its command."""
    room = "preheat.cli.commands.upkeep" if verb in _UPKEEP else "preheat.cli.commands"
    name = f"{verb}_" if keyword.iskeyword(verb) else verb.replace("-", "_")
    module = importlib.import_module(f"{room}.{name}")
    command: Command = module.command
    return command


def _with_path(error: OSError, options: argparse.Namespace) -> PreheatError:
    """Convert an unexpected OSError to an error with its path."""
    named = error.filename2 or error.filename
    if not isinstance(named, str | bytes):
        why = (error.strerror or str(error)).lower()
        return PreheatError(f"{options.verb} failed: {why}", hint="run preheat doctor, then try again")
    return disk_trouble(error, Path(os.fsdecode(named)))


def _unencodable_name(error: UnicodeEncodeError) -> PreheatError:
    """Convert the error about a file name that the locale cannot encode, or that contains half of a surrogate pair."""
    return UsageError(
        f"{error.object!a} cannot be the name of a file: it is not {error.encoding}",
        hint="set PYTHONUTF8=1" if error.encoding != "utf-8" else "rename it",
    )


def _check_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UsageError("the current folder was removed", hint="cd to an existing folder") from error


def _open_events(path: str) -> IO[str]:
    try:
        file = open_to_write(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {why(error)}", hint="--events FILE") from error
    os.set_blocking(file.fileno(), True)  # no event may be lost
    return io.TextIOWrapper(file, encoding="utf-8", write_through=True)
