"""Request URL: parse the repository, revision and file from the URL of a request to a hub or mirror."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from preheat.core.errors import UsageError
from preheat.core.ref import DATASET, HUGGING_FACE, MODEL, MODELSCOPE, SPACE, Ref, hub_of_host, is_revision
from preheat.mirror.http.messages import Refused, read_target

_KINDS = {"models": MODEL, "datasets": DATASET, "spaces": SPACE}


@dataclass(frozen=True, slots=True)
class Asked:
    """A repository at a revision, and a file in it; `path` is empty for requests about the whole repository."""

    ref: Ref
    path: str = ""


def asked_by(target: str) -> Asked | None:
    """Parse the path and query of a request to a mirror; None if it is about no repository."""
    try:
        segments, query = read_target(target)
        match segments:
            case ["api", "v1", ("models" | "datasets") as kinds, owner, name, *rest]:
                revision = (query.get("Revision") or query.get("revision") or ["master"])[-1]
                path = (query.get("FilePath") or [""])[-1] if rest == ["repo"] else ""
                return _asked(MODELSCOPE, _KINDS[kinds], [owner, name], revision, path)
            case ["api", kinds, *rest] if kinds in _KINDS:
                for index, word in enumerate(rest):
                    if word in ("revision", "tree", "paths-info") and index + 1 < len(rest):
                        return _asked(HUGGING_FACE, _KINDS[kinds], rest[:index], rest[index + 1], "")
                return _asked(HUGGING_FACE, _KINDS[kinds], rest[:2], "main", "")
            case [("datasets" | "spaces") as kinds, *rest] if "resolve" in rest[1:3]:
                return _resolved(_KINDS[kinds], rest)
            case _ if "resolve" in segments[1:3]:
                return _resolved(MODEL, segments)
    except (Refused, UsageError):
        return None
    return None


def asked_at(url: str) -> Asked | None:
    """Parse a URL at a public host of a hub; None for any other URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    hub = hub_of_host(parts.hostname or "")
    if not hub:
        return None
    asked = asked_by(f"{parts.path}{'?' + parts.query if parts.query else ''}")
    if asked is None and hub == MODELSCOPE:
        # ModelScope's pages have links of the form /models/OWNER/NAME/resolve/BRANCH/PATH.
        asked = asked_by(parts.path.removeprefix("/models"))
        if asked is not None:
            ref = asked.ref
            return Asked(Ref(MODELSCOPE, ref.kind, ref.repo, ref.revision), asked.path)
    return asked if asked is not None and asked.ref.hub == hub else None


def _resolved(kind: str, segments: list[str]) -> Asked | None:
    index = segments.index("resolve")
    if len(segments) < index + 3:
        return None
    return _asked(HUGGING_FACE, kind, segments[:index], segments[index + 1], "/".join(segments[index + 2 :]))


def _asked(hub: str, kind: str, name: list[str], revision: str, path: str) -> Asked | None:
    prefix = "" if kind == MODEL else f"{kind}s/"
    if not is_revision(revision):
        return None
    return Asked(Ref.parse(f"{hub}:{prefix}{'/'.join(name)}").at(revision), path)
