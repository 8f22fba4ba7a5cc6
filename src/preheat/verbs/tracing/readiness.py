"""Readiness: wait until an app is ready, also without a probe, and use it once."""

import re
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from preheat.core.errors import AppError, UsageError
from preheat.core.events import AppChanged, Listener, Noted
from preheat.guard.kernel.ports import AppPorts, Holder
from preheat.guard.model.app import App
from preheat.guard.probes.probes import Probe
from preheat.guard.process.own_probe import own_probe
from preheat.guard.process.process import Process
from preheat.proof.start.lost_host import LostHost, lost_host
from preheat.proof.start.trial import never_ready, read_first, use_once

_GLANCE_S = 0.1
_NO_PAGE_S, _SILENT_S = 3.0, 60.0
_STATUS_LINE = len(b"HTTP/1.1 404")
_STATUS = re.compile(rb"HTTP/[0-9.]+ ([0-9]{3})")


@dataclass(frozen=True, slots=True)
class TraceWatch:
    """How long to observe an app: until the probe `ready` passes, the request `first` is done, plus `settle_s` seconds.

    `ready`: empty to detect readiness from listening ports. `within_s`: time limit until ready. `opens`: how to detect
    files opened by native code: fanotify, strace or proc; empty for the first of them that is permitted.
    """

    ready: str = ""
    first: str = ""
    settle_s: float = 5.0
    within_s: float = 1800.0
    opens: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Requests by the user during a trace: stop the app (`stopped`), and end all other work early (`hurried`).

    `forget` is called before the replay: a request to stop the traced app is none to stop the replay.
    """

    stopped: Callable[[], bool] = lambda: False
    hurried: Callable[[], bool] = lambda: False
    forget: Callable[[], None] = lambda: None


Losing = Callable[[Sequence[str]], LostHost | None]


def await_ready(
    process: Process,
    watch: TraceWatch,
    began: float,
    on_event: Listener,
    stopped: Callable[[], bool],
    lost: Losing = lost_host,
) -> tuple[str, float | None]:
    """Wait until the app is ready or exits with status 0; return the probe and the seconds, None if it exited.

    `began` is in seconds of time.monotonic. Raise AppError if the app fails or is not ready in time; `lost` returns the
    host for which it failed, from its output.
    """
    known = _probe(watch.ready, process) if watch.ready else None
    ports, listening = AppPorts(process.pids), dict[int, float]()
    launched = False
    while not stopped():
        now = time.monotonic()
        if process.left and not launched:
            launched = True
            on_event(Noted("the command", "ended with status 0; the processes that it left running are observed"))
        if not process.alive():
            if process.status:
                raise never_ready(process, lost)
            return watch.ready, None
        ready = watch.ready if known is not None and known.ready() else ""
        if known is None:
            ready, why = _found_ready(process, ports.now(), listening, now)
            if why:
                on_event(Noted(ready, f"taken for the ready probe, as {why}; --ready names a better one"))
        if ready:
            on_event(AppChanged("running", f"ready: {ready}", now - began))
            return ready, now - began
        if now - began > watch.within_s:
            raise AppError(
                f"the app was not ready within {watch.within_s:.0f} s",
                hint="set its ready probe: --ready http://127.0.0.1:7860/",
                tail=process.tail.lines(20),
            )
        time.sleep(_GLANCE_S)
    return watch.ready, None


def _found_ready(process: Process, ports: Iterable[int], listening: dict[int, float], now: float) -> tuple[str, str]:
    """Return a probe of one of the app's ports: an http URL if it serves a page, else `tcp:PORT` and the reason.

    Both are empty while no port is ready.
    """
    for port in sorted(ports):
        since = listening.setdefault(port, now)
        page = f"http://127.0.0.1:{port}/"
        if _probe(page, process).ready():
            return page, ""
        if now - since <= _NO_PAGE_S:
            continue
        answer = _answer(port)
        if answer:
            return f"tcp:{port}", f"{page} {answer}"
        # A process that listens but does not respond is still loading, like gunicorn before its workers start.
        if now - since > _SILENT_S:
            return f"tcp:{port}", f"{page} does not respond"
    return "", ""


def _answer(port: int) -> str:
    """Return in words how the server on this port responds to a request for its page; empty if it does not yet."""
    head = b""
    try:
        with socket.create_connection(("127.0.0.1", port), _GLANCE_S * 10) as line:
            line.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while len(head) < _STATUS_LINE and (some := line.recv(_STATUS_LINE - len(head))):
                head += some
    except ConnectionResetError:
        pass
    except OSError:
        return ""
    found = _STATUS.match(head)
    return f"responds with {found[1].decode()}" if found else "is no page"


def use_app(
    watch: TraceWatch, app: App, process: Process, stopped: Callable[[], bool], lost: Losing = lost_host
) -> None:
    """Use the app once. Ignore failures after the user has stopped it."""
    try:
        use_once(read_first(watch.first), app, watch.within_s, process, stopped, lost)
    except AppError:
        if not stopped():
            raise


def _refuse(other: Holder) -> None:
    raise AppError(str(other), hint="stop that process, or choose another port for the app")


def _probe(text: str, process: Process) -> Probe:
    try:
        return own_probe(text, process, _refuse)
    except ValueError as error:
        raise UsageError(str(error), hint="--ready http://127.0.0.1:7860/, tcp:7860, line:REGEX or exec:CMD") from error


def settle(process: Process, seconds: float, stopped: Callable[[], bool]) -> None:
    """Wait for some seconds, or until the app ends or the user has stopped it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.alive() and not stopped():
        time.sleep(_GLANCE_S)
