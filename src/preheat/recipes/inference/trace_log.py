"""Trace log: parse what the tracer wrote in the app's Pythons; guard/shim/tracer.py has its format."""

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
    """An answer to an HTTP request of the app's; `size` is what it said of its body, `location` where it led on."""

    at: float
    method: str
    url: str
    status: int
    size: int | None
    location: str
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Aim:
    """A host that was looked up, or connected to."""

    host: str
    port: int
    modules: tuple[str, ...]
    lookup: bool


@dataclass(frozen=True, slots=True)
class TraceLog:
    """All of it, in the order of time; `moved` are renames and links, from one path to another."""

    processes: int
    accesses: tuple[FileAccess, ...]
    copied: tuple[tuple[str, str], ...]
    moved: tuple[tuple[str, str], ...]
    replies: tuple[Reply, ...]
    aims: tuple[Aim, ...]

    def final(self, path: str) -> str:
        """Say what a path is called after all renames."""
        # Only forward in time, or a ring of renames would go on for ever.
        for source, target in self.moved:
            if path == source:
                path = target
        return path


def read_notes(texts: Iterable[str]) -> TraceLog:
    """Read the processes' files. What is cut off, as by a kill, is left out."""
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
    """Return the last part of an address's path; empty where an app has noted what is no address."""
    try:
        return unquote(urlsplit(url).path.rpartition("/")[2])
    except ValueError:
        return ""
