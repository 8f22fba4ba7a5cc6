"""Errors: what failed, with which thing, and what to type next."""

from collections.abc import Mapping
from typing import ClassVar, Self


class PreheatError(Exception):
    """Say what happened (`message`) and what to do about it (`hint`); `exit_status` is the command's."""

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def again(self) -> Self:
        """Return one that says the same, without its history: what is raised more than once collects them all."""
        copy = type(self)(self.message, hint=self.hint)
        copy.__dict__.update(self.__dict__)
        return copy


class UsageError(PreheatError):
    """The words cannot be meant."""

    exit_status = 2


class HubError(PreheatError):
    """A hub said no."""

    exit_status = 3


class NotFound(HubError):
    """The hub has no such repository, revision or file. `hidden`: no repository, or one that it does not show."""

    def __init__(self, message: str, *, hint: str = "", hidden: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.hidden = hidden


class AccessDenied(HubError):
    """The hub wants a token, another token, or terms accepted: then it is `gated`."""

    def __init__(self, message: str, *, hint: str = "", gated: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.gated = gated


class HubUnavailable(HubError):
    """The hub did not answer, or asked to come again later. `wait_s` is how much later, when it said.

    `status` is that of its answer, 0 if there was none. `silent`: it was waited for until the read timeout. `seen`: the
    same host has answered this process before.
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
    ) -> None:
        super().__init__(message, hint=hint)
        self.wait_s = wait_s
        self.status = status
        self.silent = silent
        self.seen = seen


class NoRanges(HubError):
    """The hub sends files whole or not at all."""


class IntegrityError(PreheatError):
    """The bytes are not the bytes asked for."""

    exit_status = 4


class LibraryError(PreheatError):
    """The library cannot give or take what was asked."""

    exit_status = 5


class NotPreloaded(LibraryError):
    """It is not in the library."""


class NoSpace(LibraryError):
    """The disk is full, or would be."""


class Incomplete(LibraryError):
    """Some of what was asked was done, and some was not. `figures` are those of what was done."""

    def __init__(self, message: str, *, hint: str = "", figures: Mapping[str, object] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.figures = dict(figures or {})


class Occupied(LibraryError):
    """Files that preheat did not place, with other bytes, lie where a view's are to be. `paths` are all of them."""

    def __init__(self, message: str, *, hint: str = "", paths: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.paths = paths


class Busy(LibraryError):
    """Another process holds it."""


SOURCE, TARGET = "source", "target"


class ImageError(PreheatError):
    """An image cannot be read or written. `end` says which end failed: source or target; empty for neither."""

    exit_status = 6

    def __init__(self, message: str, *, hint: str = "", end: str = "") -> None:
        super().__init__(message, hint=hint)
        self.end = end


class AppError(PreheatError):
    """The app did not start, would not stay, or went online. `tail` is the last it said."""

    exit_status = 7

    def __init__(self, message: str, *, hint: str = "", tail: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.tail = tail


class CheckFailed(PreheatError):
    """Looked at, and found wanting."""

    exit_status = 8
