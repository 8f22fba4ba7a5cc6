"""App status: the app's current state, and the responses to status requests."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Sequence

from preheat.guard.kernel import process_tree
from preheat.guard.model.life import Life
from preheat.guard.status.start_progress import Progress, Step, progress, reached, steps
from preheat.guard.status.start_times import History

if TYPE_CHECKING:
    from preheat.guard.net.small_http import HttpReply

_RETRY_AFTER_S = 2


class AppStatus:
    """The status of the serving instance. Only the supervisor's loop writes it; other threads may read single fields.

    `ready` is the current result of its readiness probe; `start_began` and `ready_at` are from time.monotonic().
    `paths` are the files that the app reads during its start, in order; `app_url` is the app's address for users.
    """

    def __init__(self, name: str, app_url: str = "", paths: Sequence[str] = (), history: History | None = None) -> None:
        self.name = name
        self.app_url = app_url
        self.paths = paths
        self.history = history if history is not None else History()
        self.life = Life()
        self.ready = False
        self.pid = 0
        self.start_began = time.monotonic()
        self.ready_at: float | None = None
        self.spare = False
        self.renewals = 0
        self.last_start_s: float | None = None
        self._reached = (0, 0)
        self._order: Sequence[Step] | None = None

    def began(self, pid: int, began: float) -> None:
        """Record the start of an instance; `began` is from time.monotonic()."""
        self.pid, self.start_began, self.ready_at, self._reached = pid, began, None, (pid, 0)

    def follow(self, pid: int) -> None:
        """Report about the process `pid` from now on, which has taken over from the one that was started."""
        self.pid, self._reached = pid, (pid, self._reached[1])

    def became_ready(self, ready_at: float) -> None:
        """Record when the instance first became ready; later calls in the same start do nothing."""
        if self.ready_at is None:
            self.ready_at = ready_at
            self.last_start_s = ready_at - self.start_began
            self.history.add(self.last_start_s)

    def progress(self) -> Progress:
        """Return the progress of the start, which never decreases within a start."""
        if self.life.state in ("fatal", "stopped"):
            return Progress(self.life.state)
        if self.life.state == "backoff":
            return Progress("waiting before the next start")
        if self.ready:
            return Progress("ready", 100, 0.0)
        if self.ready_at is not None:
            return Progress("was ready, not responding now")
        if self._order is None:
            # Compute the steps on first use: a stat of a thousand paths takes longer than the guard's start.
            self._order = steps(self.paths)
        pid, before = self._reached
        come_to = max(before, reached(self._order, pid)) if pid == self.pid and pid else 0
        self._reached = (pid, come_to)
        return progress(self._order, come_to, time.monotonic() - self.start_began, self.history.earlier_s)

    def answer(self, method: str, path: str) -> HttpReply:
        """Return the response to a request to the status address."""
        from preheat.guard.net.small_http import HttpReply
        from preheat.guard.status import start_page

        if method not in ("GET", "HEAD"):
            return HttpReply(405, "text/plain", b"GET\n", (("Allow", "GET, HEAD"),))
        if path == "/livez":
            # Report alive while loading: a liveness probe must not kill a slow start; the guard itself does restarts.
            fine = self.life.state != "fatal"
            return HttpReply(200 if fine else 503, "text/plain", b"alive\n" if fine else b"fatal\n")
        if path == "/readyz":
            return self._yes_or_no(self.ready)
        if path == "/startupz":
            return self._yes_or_no(self.ready_at is not None)
        if path == "/metrics":
            return HttpReply(200, "text/plain; version=0.0.4", start_page.metrics(self._facts()).encode())
        if path == "/":
            page = start_page.page(self.name, self.progress(), self.life.detail, self.app_url, fronted=False)
            return HttpReply(200, "text/html", page.encode())
        return HttpReply(404, "text/plain", b"/livez /readyz /startupz /metrics /\n")

    def answer_waiting(self, method: str, path: str) -> HttpReply:  # noqa: ARG002 - the same for all requests
        """Return the response on the app's public port while no instance is ready."""
        from preheat.guard.net.small_http import HttpReply
        from preheat.guard.status import start_page

        page = start_page.page(self.name, self.progress(), self.life.detail, "", fronted=True)
        headers = (("Retry-After", str(_RETRY_AFTER_S)), ("X-Preheat", "waiting"))
        return HttpReply(503, "text/html", page.encode(), headers)

    def _yes_or_no(self, yes: bool) -> HttpReply:
        import json

        from preheat.guard.net.small_http import HttpReply

        now = self.progress()
        facts = {
            "state": self.life.state,
            "phase": now.phase,
            "percent": now.percent,
            "eta_s": now.eta_s,
        }
        facts["detail"] = self.life.detail
        headers = () if yes else (("Retry-After", str(_RETRY_AFTER_S)),)
        return HttpReply(200 if yes else 503, "application/json", json.dumps(facts).encode() + b"\n", headers)

    def _facts(self) -> Sequence[tuple[str, str, str, float]]:
        """Return the name, type, help text and value of each metric."""
        now = self.progress()
        family = process_tree.family(self.pid) if self.pid else []
        resident = sum(member.resident for member in family if not member.dead)
        times = os.times()
        facts = [
            ("preheat_app_up", "gauge", "Whether the app runs", float(self.life.state in ("starting", "running"))),
            ("preheat_app_ready", "gauge", "Whether the app is ready", float(self.ready)),
            ("preheat_app_starts_total", "counter", "Starts so far", float(self.life.starts)),
            (
                "preheat_app_restarts_spent",
                "gauge",
                "Restarts since the app was last steady",
                float(self.life.restarts),
            ),
            ("preheat_app_planned_restarts_total", "counter", "Planned restarts so far", float(self.renewals)),
            ("preheat_app_standby", "gauge", "Whether a standby instance is ready", float(self.spare)),
            ("preheat_app_resident_bytes", "gauge", "Resident bytes of the app's processes", float(resident)),
            ("preheat_app_uptime_seconds", "gauge", "Time since this start", time.monotonic() - self.start_began),
            ("preheat_guard_cpu_seconds_total", "counter", "The guard's own CPU time", times.user + times.system),
        ]
        if now.percent is not None:
            facts.append(("preheat_app_loaded_ratio", "gauge", "Fraction of the known bytes loaded", now.percent / 100))
        if self.last_start_s is not None:
            facts.append(("preheat_app_start_seconds", "gauge", "Time from the last start to ready", self.last_start_s))
        return facts
