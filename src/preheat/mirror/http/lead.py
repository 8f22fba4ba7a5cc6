"""Lead: one thread waits for requests and serves them itself; before it waits for anything else, another takes over.

Python runs one thread at a time. With a thread for each client, short requests spend most of their time waiting for
other threads. With one leading thread, they are served one after the other, as fast as for a single client.
"""

import threading
import time
from collections.abc import Callable

# A request that takes longer than this, such as one that reads a slow disk, loses the lead.
_PATIENCE_S = 0.005
_QUIET_LOOKS = 20  # without a request, before the monitor sleeps
_PARKED_S = 10.0
_MOST_PARKED = 8

_here = threading.local()


class _Turn:
    """A thread that has, or had, the lead; its fields are guarded by the lock of its Leadership."""

    def __init__(self, lead: "Leadership") -> None:
        self.lead = lead
        self.leads = True
        self.number = 0  # counts the connections that it served
        self.busy = False
        self.release: Callable[[], None] | None = None
        self.parked = threading.Lock()
        self.parked.acquire()


def about_to_wait() -> None:
    """Let another thread take the lead, if this one has it: call this before waiting for a client, upstream or disk."""
    turn: _Turn | None = getattr(_here, "turn", None)
    if turn is not None and turn.leads:
        turn.lead.pass_on(turn)


class Leadership:
    """Call `step` in a loop, by one thread at a time, until `over` returns True; then call `end`.

    `step` waits for events and serves them with `serve`. It must return as soon as `serve` returns False.
    """

    def __init__(self, step: Callable[[], None], over: Callable[[], bool], end: Callable[[], None]) -> None:
        self._step = step
        self._over = over
        self._end = end
        self._lock = threading.Lock()  # guards the turns and `_parked`
        self._leader: _Turn | None = None  # set by the thread that takes or passes on the lead
        self._parked: list[_Turn] = []
        self._awake = threading.Event()
        self._ended = False

    def start(self) -> None:
        """Start, in threads; raise RuntimeError if the system cannot start them."""
        threading.Thread(target=self._monitor, daemon=True).start()
        threading.Thread(target=self._work, daemon=True).start()

    def stop(self) -> None:
        """End the parked threads; to be called when `over` returns True."""
        with self._lock:
            while self._parked:
                self._parked.pop().parked.release()

    def serve(self, act: Callable[[], None], release: Callable[[], None]) -> bool:
        """Call `act` in the leading thread; return whether this thread still leads.

        `release` is called once, when the lead passes on before `act` has returned, or by `release`.
        """
        turn: _Turn = _here.turn
        turn.release = release
        turn.number += 1
        turn.busy = True
        if not self._awake.is_set():
            self._awake.set()
        act()
        return turn.leads

    def release(self) -> None:
        """Call the `release` of the current `serve`, unless it has been called."""
        with self._lock:
            _let_go(_here.turn)

    def finish(self) -> bool:
        """End the current `serve`: the lead no longer passes on. Return whether its `release` was not called."""
        turn: _Turn = _here.turn
        with self._lock:
            turn.busy = False
            kept, turn.release = turn.release is not None, None
            return kept

    def pass_on(self, turn: _Turn, number: int | None = None) -> None:
        """Make another thread lead; with `number`, only if `turn` still serves that connection."""
        with self._lock:
            if not turn.leads or not turn.busy or number not in (None, turn.number):
                return
            _let_go(turn)
            if self._parked:
                self._hand_to(self._parked.pop())
            elif not self._begin_thread():
                return  # it goes on as the leader; its connection is served outside the selector
            turn.leads = False

    def _begin_thread(self) -> bool:
        try:
            threading.Thread(target=self._work, daemon=True).start()
        except RuntimeError:
            return False  # the system cannot start another thread for now
        return True

    def _hand_to(self, turn: _Turn) -> None:
        self._leader = turn
        turn.leads = True
        turn.parked.release()

    def _work(self) -> None:
        turn = self._leader = _here.turn = _Turn(self)
        while True:
            try:
                while turn.leads and not self._over():
                    self._step()
            finally:
                if turn.leads:
                    self._ended = True
                    self._awake.set()
                    self._end()
            if turn.leads or not self._park(turn):
                return

    def _park(self, turn: _Turn) -> bool:
        """Wait for the lead; return whether it came."""
        with self._lock:
            if self._over() or len(self._parked) >= _MOST_PARKED:
                return False
            self._parked.append(turn)
        if not turn.parked.acquire(timeout=_PARKED_S):
            with self._lock:
                if turn in self._parked:
                    self._parked.remove(turn)
                else:
                    turn.parked.acquire()  # the lead has just come
        return turn.leads

    def _monitor(self) -> None:
        """Let another thread lead when a request takes long; sleep while there is none."""
        quiet = 0
        while not self._ended:
            turn = self._leader
            number = turn.number if turn is not None else 0
            quiet = 0 if turn is not None and turn.busy else quiet + 1
            if quiet > _QUIET_LOOKS:
                self._awake.clear()
                turn = self._leader
                if not (turn is not None and turn.busy) and not self._ended:
                    self._awake.wait()
                quiet = 0
                continue
            time.sleep(_PATIENCE_S)
            if turn is not None and turn.busy and turn.leads:
                self.pass_on(turn, number)


def _let_go(turn: _Turn) -> None:
    release, turn.release = turn.release, None
    if release is not None:
        release()
