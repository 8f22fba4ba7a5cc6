"""Page: a how-to page, as the files that it shows and the commands that its reader types, in their order."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ENGLISH, CHINESE = ROOT / "docs/how-to", ROOT / "docs/zh-CN/how-to"
# The headings of the list at the end of a page: `COMMAND`: reason.
_UNRUN = ("## Commands that CI does not run", "## CI 不运行的命令")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$|^(#+ [^\n]+)$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, and the heading above it."""

    text: str
    heading: str


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A file that the reader writes: a block after a line that ends with its name and a colon."""

    name: str
    text: str


def steps(text: str) -> Iterator[Command | ShownFile]:
    """Yield the files and commands of a page."""
    heading = ""
    for match in _FENCE.finditer(text):
        kind, body, title = match.groups()
        if title:
            heading = title.lstrip("# ")
            continue
        above = text[: match.start()].rstrip().splitlines()[-1]
        named = re.fullmatch(r"`([^`]+)`[:：]", above)
        if named:
            yield ShownFile(named[1], body)
        elif kind == "console":
            yield from (Command(one, heading) for one in typed(body))
        elif kind == "yaml":
            yield from (Command(one, heading) for one in re.findall(r"^ *- run: (.+)$", body, re.MULTILINE))


def typed(console: str) -> list[str]:
    """Return the commands of a `console` block, without their comments."""
    lines = console.replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ").partition("  #")[0].strip() for line in lines if line.startswith("$ ")]


def unrun(text: str) -> dict[str, str]:
    """Return the commands that the page lists as not run, with the reasons. An entry also means its longer forms."""
    [listed] = [text.partition(f"{title}\n")[2] for title in _UNRUN if title in text] or [""]
    return dict(re.findall(r"^- `([^`]+)`[:：] *(.+)$", listed, re.MULTILINE))
