"""Optional needs: what an app can start without, so that it is no error if its files are missing."""

from types import TracebackType
from typing import Protocol, Self

from preheat.core.errors import HubError, NotPreloaded
from preheat.core.events import Event, Listener, OptionalMissing
from preheat.core.ref import Ref


class _Needed(Protocol):
    @property
    def ref(self) -> Ref: ...
    @property
    def optional(self) -> bool: ...


def _quiet(event: Event) -> None:
    """Ignore the event."""


class UnlessOptional:
    """A block that ends early, with an event, if the files of an optional need are on no hub, or not in the library.

    Errors of other needs, and all other errors, are raised: wrong bytes are always an error. `missing` is the event;
    None if the block ran to its end.
    """

    def __init__(self, need: _Needed, on_event: Listener = _quiet) -> None:
        self.missing: OptionalMissing | None = None
        self._need, self._on_event = need, on_event

    def __enter__(self) -> Self:
        """Begin the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Suppress the error if the app can start without the need."""
        if not self._need.optional or not isinstance(error, HubError | NotPreloaded):
            return False
        self.missing = OptionalMissing(str(self._need.ref), error.message)
        self._on_event(self.missing)
        return True
