"""Hints: the commands in hints, with the options of this command line that they need, so that they work as typed."""

import argparse
import re
import shlex
from shlex import quote

from preheat.cli.parser import VERBS, Parser, parser
from preheat.core.events import Event, Listener, Noted

# A string, not a compiled pattern: only errors have hints, and re compiles it on first use.
_COMMAND = rf"\bpreheat ({'|'.join(sorted(VERBS, key=len, reverse=True))})\b(?!-)"
# What follows a command in a sentence, or redirects its output.
_END = re.compile(r"[;,](?= )| >|\n")


def as_typed(hint: str, options: argparse.Namespace) -> str:
    """Return a hint whose commands have the library, the endpoints, the folder and the app that were typed.

    Each command gets only what its verb takes, and an app only if it names none.
    """
    given, app = _given(options), getattr(options, "app", None)
    if not given and not app:
        return hint

    def complete(found: re.Match[str]) -> str:
        verb = parser(found[1]).verbs[found[1]]
        words = [words for name, words in given if name in verb.options()]
        rest = _END.split(hint[found.end() :], maxsplit=1)[0]
        return " ".join([found[0], *words, *([quote(app)] if app and _lacks_app(verb, rest) else [])])

    # A command with a library or an endpoint of its own means that one.
    given = [one for one in given if one[0] not in hint]
    return re.sub(_COMMAND, complete, hint)


def with_typed_hints(on_event: Listener, options: argparse.Namespace) -> Listener:
    """Return a listener that completes the commands in notes."""
    if not _given(options) and not getattr(options, "app", None):
        return on_event

    def listen(event: Event) -> None:
        on_event(Noted(event.what, as_typed(event.said, options)) if isinstance(event, Noted) else event)

    return listen


def _lacks_app(verb: Parser, rest: str) -> bool:
    """Return whether a command takes an app, and has neither an app nor a command of its own in its other words."""
    try:
        words = shlex.split(rest)
    except ValueError:
        return False
    return "app" in verb.arguments() and all(word.startswith("--") and word != "--" for word in words)


def _given(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the options that other commands need too, each with its words."""
    given = vars(options)
    found = [(f"--{name}", f"--{name} {quote(given[name])}") for name in ("library", "dir") if given.get(name)]
    return found + [("--endpoint", f"--endpoint {quote(one)}") for one in given.get("endpoint", ())]
