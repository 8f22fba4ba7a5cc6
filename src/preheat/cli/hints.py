"""Hints: the commands in hints, with the options of this command line that they need, so that they work as typed."""

import argparse
import re
from shlex import quote

from preheat.cli.parser import VERBS, parser
from preheat.core.events import Event, Listener, Noted

_COMMAND = re.compile(rf"\bpreheat ({'|'.join(sorted(VERBS, key=len, reverse=True))})\b(?!-)")


def as_typed(hint: str, options: argparse.Namespace) -> str:
    """Return a hint whose commands have the library and the endpoints that were typed, if their verbs take them."""
    given = _given(options)
    if not given:
        return hint

    def complete(found: re.Match[str]) -> str:
        words = [words for name, words in given if name in parser(found[1]).verbs[found[1]].options()]
        return " ".join([found[0], *words])

    # A command with a library or an endpoint of its own means that one.
    given = [one for one in given if one[0] not in hint]
    return _COMMAND.sub(complete, hint)


def with_typed_hints(on_event: Listener, options: argparse.Namespace) -> Listener:
    """Return a listener that completes the commands in notes."""
    if not _given(options):
        return on_event

    def listen(event: Event) -> None:
        on_event(Noted(event.what, as_typed(event.said, options)) if isinstance(event, Noted) else event)

    return listen


def _given(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the options that other commands need too, each with its words."""
    given = vars(options)
    found = [("--library", f"--library {quote(given['library'])}")] if given.get("library") else []
    return found + [("--endpoint", f"--endpoint {quote(one)}") for one in given.get("endpoint", ())]
