"""Cancellable resolve: resolve a ref, and give up when the user ends the trace."""

import threading
import time
from collections.abc import Callable

from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.verbs.tracing.readiness import Wanted

_GLANCE_S = 0.05
_MORE_S = 10.0


class Asking:
    """Calls `resolve`, which may take minutes, and abandons the call when the user ends the trace.

    It gives up immediately when `wanted` is hurried, and 10 s after the app was stopped. `cut_short` is set if a call
    was abandoned.
    """

    def __init__(self, resolve: Callable[[Ref], Snapshot | None], wanted: Wanted) -> None:
        self._resolve, self._wanted = resolve, wanted
        self._until: float | None = None
        self.cut_short = False

    def __call__(self, ref: Ref) -> Snapshot | None:
        """Return the snapshot of a ref, None if it is unknown or the call was abandoned. Raise like `resolve`."""
        answers: list[Snapshot | None] = []
        errors: list[BaseException] = []

        def ask() -> None:
            try:
                answers.append(self._resolve(ref))
            except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
                errors.append(error)

        # Run in a daemon thread, so that a hub that does not respond cannot block the exit.
        thread = threading.Thread(target=ask, name="asking", daemon=True)
        if not self._over():
            thread.start()
            while thread.is_alive() and not self._over():
                thread.join(_GLANCE_S)
        if errors:
            raise errors[0]
        if not answers:
            self.cut_short = True
        return answers[0] if answers else None

    def _over(self) -> bool:
        if self._wanted.stopped() and self._until is None:
            self._until = time.monotonic() + _MORE_S
        return self._wanted.hurried() or (self._until is not None and time.monotonic() > self._until)
