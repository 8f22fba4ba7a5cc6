"""Main: the guard as a program of its own, from a zip, for any Python from 3.8 on."""

from __future__ import annotations

import os
import sys
from typing import List, NoReturn

from preheat.guard.options import USAGE, read_address, read_settings
from preheat.guard.process.pid1 import leave_process_1
from preheat.guard.setup import AddressTaken, keep
from preheat.guard.supervise.supervisor import Changed, Event, Said

_WORDS, _APP = 2, 7  # docs/exit-codes.md


def main(words: List[str]) -> NoReturn:
    """Keep an app, and exit as it did; 7 when it could not be kept, 2 when the words cannot be meant."""
    if words[:1] in ([], ["--help"], ["-h"]):
        print(USAGE, end="")
        sys.exit(0 if words else _WORDS)
    if words[0] == "--check":
        sys.exit(_check(words[1:]))
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


def _check(words: List[str]) -> int:
    """Ask a guard's status address whether its app is ready, as a container's health check does: 0 or 1."""
    if len(words) != 1:
        _say("--check HOST:PORT")
        return _WORDS
    import socket

    try:
        host, port = read_address(words[0])
        with socket.create_connection((host, port), 5.0) as asking:
            asking.sendall(b"GET /readyz HTTP/1.1\r\nHost: guard\r\n\r\n")
            said = asking.makefile("rb").read().decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        _say(str(error))
        return 1
    # Shown by `inspect` as the health check's log.
    print(said.partition("\r\n\r\n")[2], end="")
    return 0 if " 200 " in said.partition("\r\n")[0] else 1


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
