"""Ref: what a person types for a model; it may move."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import quote

from preheat.errors import UsageError

MODEL, DATASET, SPACE = "model", "dataset", "space"
HUGGING_FACE, FOLDER = "hf", "file"

# One path segment as the Hugging Face hub allows it: huggingface_hub/utils/_validators.py, validate_repo_id.
_SEGMENT = r"(?!\.)[A-Za-z0-9._-]{1,96}(?<![.-])"
_REPO = re.compile(rf"(?:{_SEGMENT}/)?{_SEGMENT}")
_KINDS = {"models": MODEL, "datasets": DATASET, "spaces": SPACE}
_COMMIT = re.compile(r"[0-9a-f]{40}")

_HINT = "a model is owner/name[@revision], hf:datasets/owner/name or file:DIR"


@dataclass(frozen=True, slots=True)
class Ref:
    """A repository on a hub and a revision of it: branch, tag or commit."""

    hub: str
    kind: str
    repo: str
    revision: str = "main"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `hf:owner/name@revision` and its kin; raise UsageError for anything else."""
        scheme, colon, rest = text.partition(":")
        if not colon:
            scheme, rest = HUGGING_FACE, text
        match scheme:
            case "hf":
                return cls._parse_hugging_face(text, rest)
            case "file":
                if not rest:
                    raise UsageError(f"{text!r} names no folder", hint="file:DIR")
                return cls(FOLDER, MODEL, str(Path(rest).expanduser().absolute()))
            case _:
                raise UsageError(f"{text!r} is not a model's name: {scheme}: is not known here", hint=_HINT)

    @classmethod
    def _parse_hugging_face(cls, text: str, rest: str) -> Self:
        name, at, revision = rest.partition("@")
        kind = MODEL
        prefix, slash, tail = name.partition("/")
        if slash and prefix in _KINDS and "/" in tail:
            kind, name = _KINDS[prefix], tail
        if not _REPO.fullmatch(name) or "--" in name or ".." in name:
            raise UsageError(f"{text!r} is not a model's name", hint=_HINT)
        if at and not is_revision(revision):
            raise UsageError(f"{revision!r} is not a revision", hint="a branch, a tag or a commit")
        return cls(HUGGING_FACE, kind, name, revision or "main")

    def __str__(self) -> str:
        if self.hub == FOLDER:
            return f"file:{self.repo}"
        prefix = "" if self.kind == MODEL else f"{self.kind}s/"
        revision = "" if self.revision == "main" else f"@{self.revision}"
        return f"{self.hub}:{prefix}{self.repo}{revision}"

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which cannot move."""
        return bool(_COMMIT.fullmatch(self.revision))

    @property
    def slug(self) -> str:
        """One path segment for the repository: `models--owner--name`, as Hugging Face caches spell it."""
        return f"{self.kind}s--" + quote(self.repo.replace("/", "--"), safe=" ")

    def at(self, revision: str) -> "Ref":
        """Name the same repository at another revision."""
        return replace(self, revision=revision)


def is_revision(text: str) -> bool:
    """Whether `text` could name a git branch, tag or commit (git-check-ref-format(1), the part that bites)."""
    return bool(re.fullmatch(r"[^\x00-\x20\x7f~^:?*\[\\@]+", text)) and not re.search(r"\.\.|//|^/|/$|\.lock$", text)
