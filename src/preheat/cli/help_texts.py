"""Help texts: the texts of --help, and --help in the user's language."""

import argparse
import re
import unicodedata
from collections.abc import Callable, Iterable

from preheat.cli.parser import Parser
from preheat.core.translations import catalogue

_EXAMPLE = re.compile(r"(?m)^(  \S.*? {3,})(\S.*)$")


def translate_help(whole: Parser, language: str) -> None:
    """Replace the texts of a parser and its verbs by those of a language; the names of verbs and options stay."""
    reword_help(whole, catalogue(language).gettext)
    for one in (whole, *whole.verbs.values()):
        one.layout = WideHelp


def reword_help(whole: Parser, change: Callable[[str], str]) -> None:
    """Replace each text of --help by `change` of it, the same text in two places twice."""
    forms = (whole, *whole.verbs.values())
    groups = {id(group): group for form in forms for group in form._action_groups}
    for group in groups.values():
        group.title = change(group.title) if group.title else group.title
    whole.description = change(whole.description or "")
    examples, _, last = (whole.epilog or "").rpartition("\n\n")
    whole.epilog = f"{_reworded_examples(examples, change)}\n\n{change(last)}"
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action._choices_actions:
                verb.help = change(verb.help or "")
                described = whole.verbs[verb.dest]
                described.description = _sentence(verb.help)
                described.epilog = _reworded_examples(described.epilog or "", change)
    # Verbs share the actions of their parents.
    actions = {id(action): action for form in forms for action in form._actions}
    for action in actions.values():
        action.help = change(action.help) if action.help else action.help


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}{'.' if text.isascii() else '。'}"


def _reworded_examples(text: str, change: Callable[[str], str]) -> str:
    title, _, lines = text.partition("\n")
    return f"{change(title)}\n" + _EXAMPLE.sub(lambda found: found[1] + change(found[2]), lines)


class WideHelp(argparse.RawDescriptionHelpFormatter):
    """Help with characters that take two columns each; a line may be broken between any two of them."""

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        """Begin the usage with its Chinese name."""
        super().add_usage(usage, actions, groups, "用法：" if prefix is None else prefix)

    def _split_lines(self, text: str, width: int) -> list[str]:
        lines, line, used = [], "", 0
        for part in re.findall(r"[\u2e80-\uffef]|[^\s\u2e80-\uffef]+|\s+", " ".join(text.split())):
            size = sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in part)
            # A line does not begin with a mark that ends something: the last 4 columns are for two of them.
            if used + size > width - 4 and line and part not in "，。；：、）":
                lines.append(line.rstrip())
                line, used = "", 0
                part = part.lstrip()
                size = size if part else 0
            line, used = line + part, used + size
        return [*lines, line.rstrip()] if line.strip() else lines
