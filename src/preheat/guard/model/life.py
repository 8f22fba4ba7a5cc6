"""Life: the state of an app and the next action, as pure functions; the time is an argument."""

from __future__ import annotations

from typing import Literal, NamedTuple

from preheat.guard.model.exit_words import describe_exit

State = Literal["stopped", "starting", "running", "idle", "backoff", "fatal"]
Action = Literal["nothing", "start", "stop", "restart"]


class RestartPolicy(NamedTuple):
    """How long to wait for an app, and how often to restart it.

    The back-off doubles from `backoff_s` to `backoff_at_most_s`, shortened by a random part of at most `jitter`, so
    apps that crashed together do not restart together. The restart count is reset once the app has been ready for
    `steady_after_s` without interruption; a negative `max_restarts` means no limit. After `same_failures` consecutive
    start-ups that failed in the same way, the guard gives up, however many restarts are left; it does so at once after
    a first start-up that no restart can change. A ready app whose probe then fails for `hang_after_s` (0: never) is
    stopped and restarted; it is probed every `ask_every_s`.
    """

    ready_within_s: float = 600.0
    stop_within_s: float = 10.0
    max_restarts: int = 3
    steady_after_s: float = 30.0
    backoff_s: float = 1.0
    backoff_at_most_s: float = 30.0
    jitter: float = 0.2
    same_failures: int = 3
    hang_after_s: float = 0.0
    ask_every_s: float = 5.0

    def used_up(self, restarts: int) -> bool:
        """Return whether the limit is reached after `restarts` restarts."""
        return 0 <= self.max_restarts <= restarts

    def backoff(self, restarts: int) -> float:
        """Return the back-off in seconds after `restarts` restarts, without jitter."""
        # Bound the exponent, because a larger power overflows a float.
        return float(min(self.backoff_s * 2.0 ** min(restarts, 64), self.backoff_at_most_s))


class LifeSigns(NamedTuple):
    """One observation of the app.

    If the app has ended, `status` is its exit status (-N for signal N), `cause` the reason if known, and `end_kind` a
    text that is equal for ends of the same kind; `lasting`: a restart would end in the same way. If no process could be
    started, `cannot_start` is the reason.
    `silent_s` is how long the app has not responded, in seconds from when a response was due. `spare`: a standby
    instance is ready. `idle`: no client uses the app, and its memory is saved. `wanted`: a client waits for an idle
    app. `chance` is a random number between 0 and 1, for the jitter.
    """

    alive: bool
    ready: bool = False
    status: int = 0
    cannot_start: str = ""
    cause: str = ""
    end_kind: str = ""
    lasting: bool = False
    silent_s: float = 0.0
    spare: bool = False
    idle: bool = False
    wanted: bool = False
    chance: float = 0.0


class Life(NamedTuple):
    """The app's state, when it was entered (for running: since when it is ready without interruption), and why.

    `restarts` counts the restarts since the app was last steady, `starts` all starts; `until` is the end of a back-off.
    The last `failures` starts failed before the app was ready, all with the same `end_kind`. `was_ready`: one of the
    starts was ready.
    """

    state: State = "stopped"
    since: float = 0.0
    detail: str = ""
    restarts: int = 0
    starts: int = 0
    until: float = 0.0
    failures: int = 0
    end_kind: str = ""
    was_ready: bool = False

    @property
    def over(self) -> bool:
        """Return whether this state is final."""
        return self.state == "fatal" or (self.state == "stopped" and self.starts > 0)


def step(life: Life, signs: LifeSigns, now: float, patience: RestartPolicy) -> tuple[Life, Action]:
    """Return the app's next state, and the action to take."""
    if life.over:
        return life, "nothing"
    if life.state == "stopped":
        return _start(life, now), "start"
    if life.state == "backoff":
        return (_start(life, now), "start") if now >= life.until else (life, "nothing")
    if life.state == "idle":
        return (_start(life, now), "start") if signs.wanted else (life, "nothing")
    if life.state == "running" and now - life.since >= patience.steady_after_s:
        life = life._replace(restarts=0)
    if not signs.alive:
        return _ended(life, signs, now, patience)
    if life.state == "running" and 0 < patience.hang_after_s <= signs.silent_s:
        ending = f"running, but not responding for {signs.silent_s:.0f} s"
        life, action = _restart(life, signs, now, patience, ending)
        return life, "restart" if action == "start" else "stop"
    if life.state == "running" and signs.ready and signs.idle:
        return life._replace(state="idle", since=now, detail="not used; the next client wakes it"), "stop"
    if life.state == "running":
        return (life if signs.ready else life._replace(since=now)), "nothing"
    if signs.ready:
        detail = f"ready after {now - life.since:.1f} s"
        return life._replace(state="running", since=now, detail=detail, was_ready=True), "nothing"
    if now - life.since >= patience.ready_within_s:
        detail = f"not ready within {patience.ready_within_s:g} s"
        return life._replace(state="fatal", since=now, detail=detail), "stop"
    return life, "nothing"


def stopped(life: Life, now: float, why: str) -> Life:
    """Return the state of an app that was stopped on request; `why` becomes its detail."""
    return life._replace(state="stopped", since=now, detail=why)


def _start(life: Life, now: float) -> Life:
    starts = life.starts + 1
    return life._replace(state="starting", since=now, starts=starts, detail="" if starts == 1 else f"start {starts}")


def _ended(life: Life, signs: LifeSigns, now: float, patience: RestartPolicy) -> tuple[Life, Action]:
    if signs.cannot_start:
        # A retry would fail in the same way.
        return life._replace(state="fatal", since=now, detail=signs.cannot_start), "nothing"
    ending = describe_exit(signs.status, signs.cause)
    if signs.status == 0 or patience.max_restarts == 0:
        # Status 0 means that the app chose to end, ready or not; with no restarts allowed, any exit is final.
        return life._replace(state="stopped", since=now, detail=ending), "nothing"
    if life.state == "starting":
        if signs.lasting and not life.was_ready:
            # An app that was ready before is complete. An upgrade may soon replace a program that is missing now.
            detail = f"{ending}; a restart would end in the same way"
            return life._replace(state="fatal", since=now, detail=detail), "nothing"
        alike = life.failures + 1 if signs.end_kind and signs.end_kind == life.end_kind else 1
        life = life._replace(failures=alike, end_kind=signs.end_kind)
        if signs.end_kind and alike >= patience.same_failures:
            detail = f"{ending}; {alike} times in a row in the same way, before the app was ready"
            return life._replace(state="fatal", since=now, detail=detail), "nothing"
    return _restart(life._replace(failures=0) if life.state == "running" else life, signs, now, patience, ending)


def _restart(life: Life, signs: LifeSigns, now: float, patience: RestartPolicy, ending: str) -> tuple[Life, Action]:
    if patience.used_up(life.restarts):
        used_up = f"{ending}; started {life.starts} times" if life.starts > 1 else ending
        return life._replace(state="fatal", since=now, detail=used_up), "nothing"
    life = life._replace(restarts=life.restarts + 1)
    if signs.spare:
        return _start(life, now)._replace(detail=f"{ending}; the standby takes over"), "start"
    wait_s = patience.backoff(life.restarts - 1) * (1 - patience.jitter * signs.chance)
    return life._replace(
        state="backoff", since=now, until=now + wait_s, detail=f"{ending}; restarts in {wait_s:.2g} s"
    ), "nothing"
