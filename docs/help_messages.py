"""Help messages: the texts of --help for `make translations`, which Babel cannot find by a mark."""

from collections.abc import Iterator

from preheat.cli.help_texts import reword_help
from preheat.cli.parser import parser


def extract(*_: object, **__: object) -> Iterator[tuple[int, str, str, list[str]]]:
    """Yield the texts, as a method of Babel: https://babel.pocoo.org/en/latest/messages.html#writing-extraction-methods."""
    for text in texts():
        yield 1, "gettext", text, []


def texts() -> list[str]:
    """Return all texts of --help, each once."""
    found: dict[str, None] = {}

    def kept(text: str) -> str:
        found[text] = None
        return text

    reword_help(parser(), kept)
    return list(found)
