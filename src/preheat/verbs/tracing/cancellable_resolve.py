"""Cancellable resolve: resolve a ref for as long as the result is still wanted."""

import threading
import time
from collections.abc import Callable

from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.verbs.tracing.traced_start import Wanted

_GLANCE_S = 0.05
_MORE_S = 10.0


class Asking:
    """Ask hubs by `resolve`, which may take minutes, and give up on them when the answer is no longer wanted.

    That is at once when all is hurried, and some seconds after the app was stopped. `cut_short` says whether a hub was
    given up on.
    """

    def __init__(self, resolve: Callable[[Ref], Snapshot | None], wanted: Wanted) -> None:
        self._resolve, self._wanted = resolve, wanted
        self._until: float | None = None
        self.cut_short = False

    def __call__(self, ref: Ref) -> Snapshot | None:
        """Return what a ref means, None when nobody knows. Raise what `resolve` raises."""
        answers: list[Snapshot | None] = []
        errors: list[BaseException] = []

        def ask() -> None:
            try:
                answers.append(self._resolve(ref))
            except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
                errors.append(error)

        # What hangs on a hub that says nothing hangs in a thread of its own, which ends with the process.
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
