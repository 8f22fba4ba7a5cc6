"""Trace log: parse the logs of the tracer in the app's Python processes; format: guard/shim/tracer.py."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class FileAccess:
    """A path that was opened, at `at` (time.time())."""

    path: str
    at: float
    wrote: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """A response to an HTTP request of the app; `size` is its Content-Length, `location` its redirect target."""

    at: float
    method: str
    url: str
    status: int
    size: int | None
    location: str
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Aim:
    """A host that was looked up or connected to."""

    host: str
    port: int
    modules: tuple[str, ...]
    lookup: bool


@dataclass(frozen=True, slots=True)
class TraceLog:
    """The entries of all processes, ordered by time; `moved` are renames and links (source, target)."""

    processes: int
    accesses: tuple[FileAccess, ...]
    copied: tuple[tuple[str, str], ...]
    moved: tuple[tuple[str, str], ...]
    replies: tuple[Reply, ...]
    aims: tuple[Aim, ...]

    def final(self, path: str) -> str:
        """Return the path after all renames."""
        # In order of time, so that a cycle of renames ends.
        for source, target in self.moved:
            if path == source:
                path = target
        return path


def read_notes(texts: Iterable[str]) -> TraceLog:
    """Parse the logs, one text per process. Truncated lines, as after a kill, are skipped."""
    processes = 0
    lines: list[list[Any]] = []
    for text in texts:
        processes += 1
        for line in text.splitlines():
            try:
                words = json.loads(line)
                float(words[1])
            except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError):
                continue
            lines.append(words)
    lines.sort(key=lambda words: float(words[1]))
    accesses, copied, moved, replies, aims = [], [], [], [], []
    for kind, at, *rest in lines:
        match kind, rest:
            case "open", [str(path), str(how)]:
                accesses.append(FileAccess(path, float(at), how == "w"))
            case "copy", [str(source), str(target)]:
                copied.append((source, target))
            case (("rename" | "link"), [str(source), str(target)]):
                moved.append((source, target))
            case "http", [str(method), str(url), int(status), size, str(location), list(modules)]:
                known = size if isinstance(size, int) else None
                replies.append(Reply(float(at), method, url, status, known, location, _names(modules)))
            case (("lookup" | "connect"), [str(host), port, list(modules)]):
                aims.append(Aim(host, port if isinstance(port, int) else 0, _names(modules), kind == "lookup"))
    return TraceLog(processes, tuple(accesses), tuple(copied), tuple(moved), tuple(replies), tuple(aims))


def _names(modules: list[Any]) -> tuple[str, ...]:
    return tuple(str(module) for module in modules)


def file_name(url: str) -> str:
    """Return the last segment of a URL's path; empty for an invalid URL."""
    try:
        return unquote(urlsplit(url).path.rpartition("/")[2])
    except ValueError:
        return ""
