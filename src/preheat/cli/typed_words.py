"""Typed words: turn what people type, and what other tools taught them, into the arguments that the parser expects."""

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from preheat.core.errors import UsageError, did_you_mean

# Options of every verb; the value says whether another word belongs to it.
_EVERYWHERE = {
    "--library": True,
    "--events": True,
    "--json": False,
    "-q": False,
    "--quiet": False,
    "-v": False,
    "--verbose": False,
}
# Verbs of hf, modelscope, ollama, git-lfs, pip, docker and apt, with ours.
_VERBS_OF_OTHERS = {
    "list": "ls",
    "cache": "ls",
    "scan-cache": "ls",
    "ps": "ls",
    "models": "ls",
    "download": "pull",
    "get": "pull",
    "fetch": "pull",
    "install": "pull",
    "clone": "pull",
    "sync": "pull",
    "remove": "rm",
    "delete": "rm",
    "delete-cache": "rm",
    "uninstall": "rm",
    "clean": "prune",
    "gc": "prune",
    "inspect": "show",
    "info": "show",
    "serve": "mirror",
    "server": "mirror",
    "proxy": "mirror",
    "start": "run",
    "exec": "run",
    "freeze": "lock",
    "check": "verify",
    "bench": "prove",
    "benchmark": "prove",
    "link": "view",
    "package": "build",
    "systemd": "serve-config systemd",
    "compose": "serve-config compose",
    "k8s": "serve-config k8s",
    "kubernetes": "serve-config k8s",
    "kserve": "serve-config kserve",
}
_LOGINS = frozenset(("auth", "login", "logout", "whoami"))
# The verbs that can select single files of a model.
_FILES = frozenset(("pull", "view"))


def arrange(words: Sequence[str], verbs: Collection[str]) -> list[str]:
    """Return the arguments with the verb first, and `help` as `--help`.

    Raise UsageError, which names the right verb if it is known, for a verb that is not one of `verbs`.
    """
    verb, rest = _verb_first(words)
    if verb is None:
        return list(words) or ["--help"]
    if verb == "help":
        if rest and not rest[0].startswith("-") and rest[0] not in verbs:
            raise _no_verb(rest[0], verbs)
        return [rest[0], "--help"] if rest and rest[0] in verbs else ["--help"]
    if verb not in verbs:
        raise _no_verb(verb, verbs)
    return [verb, *rest]


def _verb_first(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the verb, None if there is none, and all other words; options before the verb are moved after it."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        name, equals, _ = words[at].partition("=")
        if name not in _EVERYWHERE or (name == words[at] and equals):
            return None, list(words)
        at += 2 if _EVERYWHERE[name] and not equals else 1
    if at >= len(words):
        return None, list(words)
    # Directly behind the verb: `run` may be followed by a command.
    return words[at], [*words[:at], *words[at + 1 :]]


def _no_verb(word: str, verbs: Collection[str]) -> UsageError:
    """Return the error for an unknown verb."""
    if word.lower() in _LOGINS:
        return UsageError(f"there is no verb {word!r}", hint="hf auth login; preheat sends hf's token to its hub")
    ours = _VERBS_OF_OTHERS.get(word.lower())
    hint = f"did you mean {ours}? " if ours else did_you_mean(word, verbs)
    return UsageError(f"there is no verb {word!r}", hint=f"{hint}preheat --help lists all verbs")


def with_command(words: Sequence[str], options: Mapping[str, bool], names_app: Callable[[str], bool]) -> list[str]:
    """Return the arguments of `run` or `trace` with the `--` that was omitted before the command.

    `words` begin with the verb. `options` maps the verb's options to whether they take a value; `names_app` is asked
    about the first word that is no option. Nothing changes if the words have a `--`, or no command.
    """
    first = None if "--" in words else _first_positional(words, options)
    if first is None:
        return list(words)
    second = _first_positional(words, options, first + 1)
    if names_app(words[first]) or (second is not None and _is_model(words[first])):
        # `run APP python webui.py`: the command begins at the second word that is no option. A model is no app, which
        # is said then.
        return list(words) if second is None else [*words[:second], "--", *words[second:]]
    if second is None and not _is_command(words[first]):
        return list(words)
    return [*words[:first], "--", *words[first:]]


def _first_positional(words: Sequence[str], options: Mapping[str, bool], start: int = 1) -> int | None:
    """Return the index of the first word from `start` on that is neither an option nor an option's value, if any."""
    at = start
    while at < len(words):
        if not words[at].startswith("-") or words[at] == "-":
            return at
        if words[at] == "--":
            return None
        # An option may be abbreviated, as argparse permits.
        name = words[at].partition("=")[0]
        takes = [value for option, value in options.items() if option == name] or [
            value for option, value in options.items() if name.startswith("--") and option.startswith(name)
        ]
        at += 2 if any(takes) and "=" not in words[at] else 1
    return None


def _is_model(word: str) -> bool:
    """Return whether `word` can be a model's name only: `owner/name`, and no path."""
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*(?:@[^@\s]+)?", word)) and not Path(word).parent.is_dir()


def _is_command(word: str) -> bool:
    """Return whether `word` can be started: a program on PATH, or an executable file."""
    import shutil  # only a command without `--` needs it

    return shutil.which(word) is not None or (os.sep in word and os.access(word, os.X_OK) and not Path(word).is_dir())


def without_pages(words: Sequence[str]) -> list[str]:
    """Return the arguments with the addresses of hubs' pages as models' names, and the files that they show.

    `words` begin with the verb. Raise UsageError if a page shows single files and the verb cannot select files, or if
    other models are named besides.
    """
    if not any(word.startswith(("https://", "http://")) for word in words):
        return list(words)
    from preheat.cli.page_address import read_page  # few command lines have an address

    pages = {at: page for at, word in enumerate(words) if (page := read_page(word)) is not None and at}
    partial = [page for page in pages.values() if page.files]
    if partial and words[0] not in _FILES:
        raise UsageError(f"{partial[0].files} is only a part of {partial[0].model}", hint=_alone(partial[0].model))
    if len(partial) > 1 or (partial and len(pages) > 1):
        raise UsageError("each page with single files needs a command of its own", hint=_alone(pages[min(pages)].model))
    named = [pages[at].model if at in pages else word for at, word in enumerate(words)]
    return [*named, *(word for page in partial for word in ("--files", page.files))]


def _alone(model: str) -> str:
    return f"name the model alone: {model}"
