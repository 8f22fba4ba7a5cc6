"""Main: run the guard as a standalone program from a zip, on any Python 3.8 or later."""

from __future__ import annotations

import os
import sys
from typing import List, NoReturn

from preheat.guard.options import USAGE, read_address, read_settings
from preheat.guard.process.pid1 import leave_process_1
from preheat.guard.process.standard_streams import open_closed_streams
from preheat.guard.setup import AddressTaken, keep
from preheat.guard.supervise.supervisor import Changed, Event, Notice

_WORDS, _APP = 2, 7  # docs/exit-codes.md


def main(words: List[str]) -> NoReturn:
    """Supervise an app and exit with its status: 7 if supervision gave up, 2 if the command line is invalid."""
    open_closed_streams()
    if words[:1] in ([], ["--help"], ["-h"]):
        print(USAGE, end="")
        sys.exit(0 if words else _WORDS)
    if words[0] == "--check":
        sys.exit(_check(words[1:]))
    leave_process_1()
    try:
        # The app's output goes to a pipe, and Python block-buffers output to a pipe by default.
        outcome = keep(read_settings(words, {"PYTHONUNBUFFERED": "1", **os.environ}), _tell)
    except ValueError as error:
        _say(str(error))
        sys.exit(_WORDS)
    except AddressTaken as error:
        _say(str(error))
        sys.exit(_APP)
    if outcome.fatal:
        # The app's last output needs no repeating: it was already passed through.
        _say(f"gave up: {outcome.reason}")
    sys.stdout.flush()
    # Skip interpreter shutdown: no guard thread holds anything that needs cleanup.
    os._exit(_APP if outcome.fatal else outcome.status)


def _check(words: List[str]) -> int:
    """Run a container health check: request /readyz from a guard's status address; return 0 if ready, else 1."""
    if len(words) != 1:
        _say("usage: --check HOST:PORT")
        return _WORDS
    import socket

    try:
        host, port = read_address(words[0])
        with socket.create_connection((host, port), 5.0) as asking:
            asking.sendall(b"GET /readyz HTTP/1.1\r\nHost: guard\r\n\r\n")
            response = asking.makefile("rb").read().decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        _say(str(error))
        return 1
    # `docker inspect` shows this as the health check's log.
    print(response.partition("\r\n\r\n")[2], end="")
    return 0 if " 200 " in response.partition("\r\n")[0] else 1


def _tell(event: Event) -> None:
    if isinstance(event, Changed) and event.life != "fatal":
        _say(f"{event.life}{': ' if event.detail else ''}{event.detail}")
    elif isinstance(event, Notice):
        _say(event.words)


def _say(words: str) -> None:
    # A single write, so that the app's output cannot interleave.
    try:
        os.write(2, f"guard: {words}\n".encode("utf-8", "replace"))
    except OSError:
        return
