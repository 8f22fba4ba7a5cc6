"""Trace log: parse the logs of the tracer in the app's Python processes; format: guard/shim/tracer.py."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

# The first line of the log of an intercepting proxy, which is no process of the app.
BY_PROXY = "proxy"

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileAccess:
    """A path that was opened, at `at` (time.time()); `modules` only for a path that was written."""

    path: str
    at: float
    wrote: bool
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """A response to an HTTP request of the app; `size` is its Content-Length, `location` its redirect target.

    `key` and `leads_to` are hashes of the whole URL and of the target, which are logged without signatures.
    """

    at: float
    method: str
    url: str
    status: int
    size: int | None
    location: str
    modules: tuple[str, ...]
    key: str = ""
    leads_to: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """A part of a response's body: `read` bytes from `start` of the `total`, which may be unknown, with their sha256.

    `saved` is the name of a copy of the body, if it began like an archive; else empty.
    """

    at: float
    url: str
    status: int
    start: int
    read: int
    total: int | None
    sha256: str
    saved: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Aim:
    """A host that was looked up or connected to."""

    host: str
    port: int
    modules: tuple[str, ...]
    lookup: bool


@dataclass(frozen=True, slots=True)
class TraceLog:
    """The entries of all processes, ordered by time; `moved` are renames and links, also of folders."""

    processes: int
    accesses: tuple[FileAccess, ...]
    copied: tuple[tuple[str, str], ...]
    moved: tuple[tuple[str, str], ...]
    replies: tuple[Reply, ...]
    aims: tuple[Aim, ...]
    bodies: tuple[Body, ...] = ()

    def mover(self) -> "Mover":
        """Return a function that returns a path after all renames."""
        return Mover(self.moved)

    def final(self, path: str) -> str:
        """Return the path after all renames; for many paths, use `mover`."""
        return Mover(self.moved)(path)


class Mover:
    """Finds where a path is after all renames of it and of the folders that it is in, in order of time."""

    def __init__(self, moved: Iterable[tuple[str, str]]) -> None:
        self._by_source: dict[str, list[tuple[int, str]]] = {}
        for index, (source, target) in enumerate(moved):
            self._by_source.setdefault(source, []).append((index, target))

    def __call__(self, path: str) -> str:
        """Return the path after all renames."""
        # The index only grows, so that a cycle of renames ends.
        after = -1
        while self._by_source:
            steps = [
                (index, source, target)
                for source in (path, *_folders_of(path))
                for index, target in self._by_source.get(source, ())
                if index > after
            ]
            if not steps:
                break
            after, source, target = min(steps)
            path = target + path[len(source) :]
        return path


def _folders_of(path: str) -> Iterator[str]:
    while (path := path.rpartition("/")[0]) != "":
        yield path


def read_notes(texts: Iterable[str]) -> TraceLog:
    """Parse the logs, one text per process. Truncated lines, as after a kill, are skipped."""
    processes = 0
    lines: list[list[Any]] = []
    for text in texts:
        processes += not text.startswith(f'["{BY_PROXY}"')
        for line in text.splitlines():
            try:
                words = json.loads(line)
                float(words[1])
            except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError):
                continue
            lines.append(words)
    lines.sort(key=lambda words: float(words[1]))
    accesses, copied, moved, replies, aims, bodies = [], [], [], [], [], []
    for kind, at, *rest in lines:
        match kind, rest:
            case "open", [str(path), str(how), *more]:
                by = _names(more[0]) if more and isinstance(more[0], list) else ()
                accesses.append(FileAccess(path, float(at), how == "w", by))
            case "copy", [str(source), str(target)]:
                copied.append((source, target))
            case (("rename" | "link"), [str(source), str(target)]):
                moved.append((source, target))
            case "http", [str(method), str(url), int(status), size, str(location), list(modules), *keys]:
                known = size if isinstance(size, int) else None
                replies.append(
                    Reply(float(at), method, url, status, known, location, _names(modules), *_names(keys[:2]))
                )
            case "body", [str(url), int(status), int(start), int(read), total, str(sha), str(saved), *keys] if (
                start >= 0 < read and _SHA256.fullmatch(sha) and "/" not in saved
            ):
                whole = total if isinstance(total, int) else None
                bodies.append(Body(float(at), url, status, start, read, whole, sha, saved, *_names(keys[:1])))
            case (("lookup" | "connect"), [str(host), port, list(modules)]):
                aims.append(Aim(host, port if isinstance(port, int) else 0, _names(modules), kind == "lookup"))
    return TraceLog(processes, tuple(accesses), tuple(copied), tuple(moved), tuple(replies), tuple(aims), tuple(bodies))


def _names(modules: list[Any]) -> tuple[str, ...]:
    return tuple(str(module) for module in modules)


def file_name(url: str) -> str:
    """Return the last segment of a URL's path; empty for an invalid URL."""
    try:
        return unquote(urlsplit(url).path.rpartition("/")[2])
    except ValueError:
        return ""
