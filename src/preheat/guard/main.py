"""Main: the guard as a program of its own, from a zip, in any Python from 3.8 on."""

from __future__ import annotations

import os
import sys
from typing import List, NoReturn

from preheat.guard.init import leave_process_1
from preheat.guard.settings import USAGE, read_settings
from preheat.guard.stage import AddressTaken, keep
from preheat.guard.supervisor import Changed, Event, Said

_WORDS, _APP = 2, 7  # docs/exit-codes.md


def main(words: List[str]) -> NoReturn:
    """Keep an app, and exit as it did; 7 when it could not be kept, 2 when the words cannot be meant."""
    if words[:1] in ([], ["--help"], ["-h"]):
        print(USAGE, end="")
        sys.exit(0 if words else _WORDS)
    leave_process_1()
    try:
        # The app speaks into a pipe, and Python keeps words for a pipe back until it has a page of them.
        outcome = keep(read_settings(words, {"PYTHONUNBUFFERED": "1", **os.environ}), _tell)
    except ValueError as error:
        _say(str(error))
        sys.exit(_WORDS)
    except AddressTaken as error:
        _say(str(error))
        sys.exit(_APP)
    if outcome.fatal:
        # Its last words were passed on as they came: they are above.
        _say(f"given up: {outcome.reason}")
    sys.stdout.flush()
    # No thread of ours holds anything that Python would have to take down with care.
    os._exit(_APP if outcome.fatal else outcome.status)


def _tell(event: Event) -> None:
    if isinstance(event, Changed) and event.life != "fatal":
        _say(f"{event.life}{': ' if event.detail else ''}{event.detail}")
    elif isinstance(event, Said):
        _say(event.words)


def _say(words: str) -> None:
    # One write, so that no word of the app's comes between.
    try:
        os.write(2, f"guard: {words}\n".encode("utf-8", "replace"))
    except OSError:
        return
