"""Errors: the exceptions of preheat, with their exit status and a hint."""

from collections.abc import Iterable, Mapping
from typing import ClassVar, Self


class PreheatError(Exception):
    """Base of all errors: `message` describes the failure, `hint` what to do about it, `exit_status` is preheat's."""

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def again(self) -> Self:
        """Return a copy without traceback and cause, to be raised again: one raised twice collects both tracebacks."""
        copy = type(self)(self.message, hint=self.hint)
        copy.__dict__.update(self.__dict__)
        return copy


class UsageError(PreheatError):
    """Invalid arguments or settings."""

    exit_status = 2


class HubError(PreheatError):
    """A hub rejected a request, or its response is invalid."""

    exit_status = 3


class NotFound(HubError):
    """The hub has no such repository, revision or file. `hidden`: the repository is missing or not visible.

    `repository`: the name that may be mistyped, if it may be the repository that is missing.
    """

    def __init__(self, message: str, *, hint: str = "", hidden: bool = False, repository: str = "") -> None:
        super().__init__(message, hint=hint)
        self.hidden = hidden
        self.repository = repository


class AccessDenied(HubError):
    """The hub requires a token, another token, or acceptance of terms. `gated`: the terms are not accepted.

    `repository`: the name that may be mistyped, if the hub may have no such repository.
    """

    def __init__(self, message: str, *, hint: str = "", gated: bool = False, repository: str = "") -> None:
        super().__init__(message, hint=hint)
        self.gated = gated
        self.repository = repository


class HubUnavailable(HubError):
    """The hub cannot be reached, or asked to retry later.

    `wait_s`: seconds until a retry, if the hub sent them. `status`: the response's status, 0 without a response.
    `silent`: the read timed out. `seen`: this process has had a response from the same host before. `answered`: a
    response came, but was cut off, invalid or too slow. `unresolved`: the host's name was not found.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        wait_s: float | None = None,
        status: int = 0,
        silent: bool = False,
        seen: bool = False,
        answered: bool = False,
        unresolved: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.wait_s = wait_s
        self.status = status
        self.silent = silent
        self.seen = seen
        self.answered = answered
        self.unresolved = unresolved


class MirrorBusy(HubUnavailable):
    """A mirror has no room for a request now; its upstreams are not to blame."""


class NoTls(HubError):
    """The server does not support TLS."""


class NoSize(HubError):
    """The server does not send the file's size, which is needed unless a lock has it."""


class NoRanges(HubError):
    """The hub does not support range requests for a file."""


class IntegrityError(PreheatError):
    """The bytes do not match the expected digest or size."""

    exit_status = 4


class LibraryError(PreheatError):
    """The library cannot be read or written, or lacks a requested model."""

    exit_status = 5


class NotPreloaded(LibraryError):
    """A model or file is missing from the library."""


class NoSpace(LibraryError):
    """The disk has too little free space."""


class Incomplete(LibraryError):
    """Only a part of the work was done. `figures`: the counts of that part."""

    def __init__(self, message: str, *, hint: str = "", figures: Mapping[str, object] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.figures = dict(figures or {})


class Occupied(LibraryError):
    """A view's paths are taken by other files that preheat did not place. `paths`: all of them."""

    def __init__(self, message: str, *, hint: str = "", paths: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.paths = paths


class Busy(LibraryError):
    """Another process holds the lock."""


SOURCE, TARGET = "source", "target"


class ImageError(PreheatError):
    """An image cannot be read or written. `end`: the end that failed, `source` or `target`, or empty."""

    exit_status = 6

    def __init__(self, message: str, *, hint: str = "", end: str = "") -> None:
        super().__init__(message, hint=hint)
        self.end = end


class AppError(PreheatError):
    """The app did not start, did not keep running, or went online. `tail`: the last lines of its output."""

    exit_status = 7

    def __init__(self, message: str, *, hint: str = "", tail: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.tail = tail


class CheckFailed(PreheatError):
    """A check found a problem."""

    exit_status = 8


class NotReplayed(CheckFailed):
    """The app did not start from its recipe and the library alone, or no replay was possible."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the beginning of a hint: the question whether the most similar of `known` was meant; empty if none is.

    A name without its owner is similar to the whole name.
    """
    import difflib  # only mistakes need it

    names = {form: name for name in known for form in (name.rpartition("/")[2], name.partition(":")[2], name)}
    found = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.65)
    return f"did you mean {names[found[0]]}? " if found else ""
