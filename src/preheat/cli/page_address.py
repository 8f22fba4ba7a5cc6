"""Page addresses: the address of a hub's web page, pasted from a browser, as a model's name and a path in it."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from preheat.core.ref import hub_of_host

# First path segments of huggingface.co that are no user and no organization.
_NO_OWNERS = frozenset(
    ("api", "blog", "chat", "collections", "docs", "join", "learn", "login", "models", "organizations", "papers",
     "posts", "pricing", "search", "settings", "tasks")
)  # fmt: skip
_FILES = frozenset(("blob", "resolve", "raw", "blame"))
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class PageAddress:
    """What a page shows: `model` is its name, as in `hf:owner/name@revision`; `files` a pattern for the files shown.

    `files` is empty if the page shows the whole model.
    """

    model: str
    files: str = ""


def read_page(text: str) -> PageAddress | None:
    """Parse the address of a model's, dataset's or space's page, of one of its folders or of one of its files.

    Return None for any other text, also for an address with `#sha256=`, which is a model's name of its own. The hosts
    are those of `hub_of_host`; queries and other fragments are ignored.
    """
    if not text.startswith(("https://", "http://")) or "#sha256=" in text:
        return None
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    names = [unquote(name) for name in parts.path.split("/") if name]
    match hub_of_host(host):
        case "hf":
            return _hugging_face(names)
        case "ms":
            return _modelscope(_downloaded(names, parts.query))
        case _:
            return None


def _hugging_face(names: list[str]) -> PageAddress | None:
    kind = ""
    if names[:1] in (["datasets"], ["spaces"], ["models"]) and len(names) > 2:
        kind, names = "" if names[0] == "models" else f"{names[0]}/", names[1:]
    if not names or names[0] in _NO_OWNERS or names == ["datasets"] or names == ["spaces"]:
        return None
    # The oldest models have no owner: huggingface.co/gpt2/tree/main.
    own = 1 if len(names) == 1 or (names[1] in {*_FILES, "tree", "commit", "commits"} and not kind) else 2
    model, rest = "/".join(names[:own]), names[own:]
    return _page(f"hf:{kind}{model}", rest) if all(map(_NAME.fullmatch, names[:own])) else None


def _downloaded(names: list[str], query: str) -> list[str]:
    """Return the path of the page whose download is api/v1/models/OWNER/NAME/repo?Revision=…&FilePath=…."""
    if names[:2] != ["api", "v1"] or names[5:] != ["repo"]:
        return names
    asked = parse_qs(query)
    revision, path = asked.get("Revision", ["master"])[0], asked.get("FilePath", [""])[0]
    return [*names[2:5], "resolve", revision, *filter(None, path.split("/"))]


def _modelscope(names: list[str]) -> PageAddress | None:
    if len(names) < 3 or names[0] not in ("models", "datasets") or not all(map(_NAME.fullmatch, names[1:3])):
        return None
    kind, rest = "" if names[0] == "models" else "datasets/", names[3:]
    # A file's page is file/view/REVISION/PATH, or files?…; resolve/REVISION/PATH is its download.
    rest = ["blob", *rest[2:]] if rest[:2] == ["file", "view"] else rest
    return _page(f"ms:{kind}{names[1]}/{names[2]}", rest)


def _page(model: str, rest: list[str]) -> PageAddress:
    """Return the page for the rest of its path: `tree/REVISION/FOLDER`, `blob/REVISION/FILE` or others' words."""
    if len(rest) < 2 or rest[0] not in {*_FILES, "tree", "commit", "commits"}:
        return PageAddress(model)
    # A pull request's page is tree/refs%2Fpr%2F7; people also type its slashes.
    words = 4 if rest[1] == "refs" and rest[2:3] in (["pr"], ["convert"]) and len(rest) > 3 else 2
    named, path = f"{model}@{'/'.join(rest[1:words])}", "/".join(rest[words:])
    if rest[0] in ("commit", "commits") or not path:
        return PageAddress(named)
    # In a pattern, [[] is a bracket: file names may contain brackets.
    path = re.sub(r"([*?[])", r"[\1]", path)
    return PageAddress(named, path if rest[0] in _FILES else f"{path}/*")
