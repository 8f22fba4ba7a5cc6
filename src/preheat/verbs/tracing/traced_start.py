"""Traced start: run an app under every observer until it is ready and has been used once, and return their logs."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from preheat import guard
from preheat.core.cache_variables import CACHE_VARIABLES, new_caches
from preheat.core.errors import AppError, UsageError
from preheat.core.events import Answered, AppChanged, Event, Listener, Noted, Serving
from preheat.guard.kernel.ports import ports_of
from preheat.guard.kernel.process_tree import family
from preheat.guard.model.app import App
from preheat.guard.model.exit_words import describe_exit
from preheat.guard.probes.probes import Probe, parse_probe
from preheat.guard.process.process import CannotStart, Output, Process
from preheat.guard.witness.connections import Attempt, Witness
from preheat.guard.witness.file_opens import FANOTIFY, PROC, Open, Opens
from preheat.guard.witness.strace import STRACE, Strace
from preheat.library.small_files import read_small
from preheat.proof.start.import_times import read_notes as read_imports
from preheat.proof.start.import_times import sum_up
from preheat.proof.start.timeline import Imports
from preheat.proof.start.trial import read_first, use_once
from preheat.recipes.inference.trace_log import TraceLog, read_notes
from preheat.recipes.offline_env import direct, online

_GLANCE_S = 0.1
_MOST_NOTED = 256 << 20  # bytes of one process's log
# stdout is reserved for the result of the trace.
_TO_STDERR = Output(2, 2)
_NO_PAGE_S, _SILENT_S = 3.0, 60.0


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
    """Requests by the user during a trace: stop the app (`stopped`), and end all other work early (`hurried`)."""

    stopped: Callable[[], bool] = lambda: False
    hurried: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Lead:
    """URLs of the mirror that replaces the app's hubs: `plain`, and `secure` for clients that require TLS.

    `secure` may be empty. `trusted` is a CA file that includes the certificate of `secure`.
    """

    plain: str
    secure: str = ""
    trusted: str = ""


@dataclass(frozen=True, slots=True)
class ObservedStart:
    """Logs of a start: `ready` is the probe that passed, `ready_s` the seconds until then, None if the program exited.

    `how` names the method that detected opens by native code: fanotify, strace or proc. `lost` is set if some of them
    were missed. `attempts` is None if network calls cannot be counted.
    """

    began: float
    lead: Lead
    ready: str
    ready_s: float | None
    caches: Mapping[str, str]
    notes: TraceLog
    opens: tuple[Open, ...]
    how: str
    lost: bool
    attempts: tuple[Attempt, ...] | None
    answered: tuple[Answered, ...]
    imports: Imports | None


@dataclass(slots=True)
class Recorder:
    """Collects the mirror's responses, and forwards all other events."""

    on_event: Listener
    answered: list[Answered] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """See Listener."""
        if isinstance(event, Answered):
            self.answered.append(event)
        elif not isinstance(event, Serving):  # the mirror's address is of no use to the user: only the app uses it
            self.on_event(event)


def traced_start(
    app: App, workplace: Path, lead: Lead, watch: TraceWatch, recorder: Recorder, wanted: Wanted
) -> ObservedStart:
    """Start `app` with the hubs from `lead` and with caches and logs below `workplace`; stop it after its first use.

    `wanted` reports whether the user wants to end earlier. Raise AppError if the app fails or is not ready in time.
    """
    stopped = wanted.stopped
    notes = workplace / "notes"
    notes.mkdir(parents=True)
    # The user's caches would hide downloads.
    caches = new_caches(workplace)
    environ = environment(app.env or {}, caches, notes, lead)
    witness = Witness() if Witness.available() else None
    held: list[Process] = []
    opens = _eyes(watch.opens, workplace / "calls", lambda: held[0].pid if held else 0)
    command = opens.around(app.command) if isinstance(opens, Strace) else app.command
    began, clock = time.time(), time.monotonic()
    try:
        process = Process(App(command, environ, app.cwd), output=_TO_STDERR, witness=witness)
    except CannotStart as error:
        opens.close(wanted.hurried)
        raise AppError(str(error), hint="is the command right?") from error
    held.append(process)
    try:
        ready, ready_s = _await(process, app, watch, clock, recorder, stopped)
        if ready_s is not None and not stopped():
            if watch.first:
                _use(watch, App(app.command, environ, app.cwd, ready), process, stopped)
            _settle(process, watch.settle_s, stopped)
            if not process.alive() and process.status and not stopped():
                said = f"{describe_exit(process.status)} after it was ready: files that it needs later are not included"
                recorder(Noted("the app", said))
        process.signal(signal.SIGTERM)
    finally:
        process.stop(10.0, wanted.hurried)
        seen = opens.close(wanted.hurried)
        if witness is not None:
            witness.close()
    return ObservedStart(
        began,
        lead,
        ready,
        ready_s,
        caches,
        noted(workplace),
        tuple(seen),
        opens.how,
        opens.lost,
        None if witness is None else witness.attempts,
        tuple(recorder.answered),
        sum_up(read_imports(notes), round(clock * 1e9), ready_s or time.monotonic() - clock),
    )


def noted(workplace: Path) -> TraceLog:
    """Read the logs that the app's Python processes have written so far."""
    return read_notes(_texts((workplace / "notes").glob("*.trace")))


def _texts(files: Iterable[Path]) -> Iterator[str]:
    """Read the log files, but only regular files up to 256 MiB: the app can write anything to this folder."""
    for path in files:
        with contextlib.suppress(OSError):
            yield read_small(path, _MOST_NOTED).decode("utf-8", "replace")


def environment(environ: Mapping[str, str], caches: Mapping[str, str], notes: Path, lead: Lead) -> dict[str, str]:
    """Return an environment with new caches, the mirror as hub, and logging in the app's Python processes."""
    shim = str(Path(guard.__file__).parent / "shim")
    paths = [shim, *([environ["PYTHONPATH"]] if environ.get("PYTHONPATH") else [])]
    return {
        **direct(online(environ, without=CACHE_VARIABLES)),
        **caches,
        "HF_ENDPOINT": lead.plain,
        "MODELSCOPE_ENDPOINT": lead.plain,
        **(_insistent(lead) if lead.secure else {}),
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(paths),
        "PREHEAT_TRACE": str(notes),
        "PREHEAT_STOPWATCH": str(notes),
    }


def _insistent(lead: Lead) -> dict[str, str]:
    """Return variables for modelscope up to 1.37, which always uses https (modelscope/hub/utils/utils.py)."""
    return {"MODELSCOPE_DOMAIN": lead.secure.partition("://")[2], "REQUESTS_CA_BUNDLE": lead.trusted}


def _eyes(how: str, folder: Path, root: Callable[[], int]) -> Opens | Strace:
    """Observe files opened by native code, with the most complete method. Raise UsageError if `how` is unavailable."""
    if how != STRACE:
        # Observe all of /, because an app can keep its files anywhere.
        opens = Opens(["/"], root, kernel=how != PROC)
        if opens.how == (how or FANOTIFY):
            return opens
        opens.close()
    if how in ("", STRACE) and Strace.available():
        folder.mkdir()
        return Strace(str(folder))
    if how:
        hint = "run it as root" if how == FANOTIFY else "is strace installed, and is ptrace permitted?"
        raise UsageError(f"file opens cannot be observed with {how} on this machine", hint=hint)
    return Opens(["/"], root, kernel=False)


def _await(
    process: Process, app: App, watch: TraceWatch, began: float, on_event: Listener, stopped: Callable[[], bool]
) -> tuple[str, float | None]:
    """Wait until the app is ready or exits with status 0; return the probe and the seconds, None if it exited."""
    known = _probe(watch.ready, process, app) if watch.ready else None
    listening: dict[int, float] = {}
    while not stopped():
        now = time.monotonic()
        if not process.alive():
            if process.status:
                raise AppError(
                    f"the app was never ready: it {describe_exit(process.status)}",
                    hint="the last lines of its output are above",
                    tail=process.tail.lines(20),
                )
            return watch.ready, None
        ready = watch.ready if known is not None and known.ready() else ""
        ready = ready or ("" if known is not None else _found_ready(process, app, listening, now))
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


def _found_ready(process: Process, app: App, listening: dict[int, float], now: float) -> str:
    """Return a probe for a port that the app listens on: an http URL if it serves a page, else `tcp:PORT`."""
    for port in sorted(ports_of({member.pid for member in family(process.pid)})):
        since = listening.setdefault(port, now)
        page = f"http://127.0.0.1:{port}/"
        if _probe(page, process, app).ready():
            return page
        # A process that listens but does not respond is still loading, like gunicorn before its workers start.
        if now - since > _SILENT_S or (now - since > _NO_PAGE_S and _answers(port)):
            return f"tcp:{port}"
    return ""


def _answers(port: int) -> bool:
    """Return whether the server on this port responds to a request or closes the connection."""
    try:
        with socket.create_connection(("127.0.0.1", port), _GLANCE_S * 10) as line:
            line.sendall(b"GET / HTTP/1.0\r\n\r\n")
            line.recv(1)
    except ConnectionResetError:
        return True
    except OSError:
        return False
    return True


def _use(watch: TraceWatch, app: App, process: Process, stopped: Callable[[], bool]) -> None:
    """Use the app once. Ignore failures after the user has stopped it."""
    try:
        use_once(read_first(watch.first), app, watch.within_s, process, stopped)
    except AppError:
        if not stopped():
            raise


def _probe(text: str, process: Process, app: App) -> Probe:
    try:
        return parse_probe(text, process.tail, env=app.env, cwd=app.cwd)
    except ValueError as error:
        raise UsageError(str(error), hint="--ready http://127.0.0.1:7860/, tcp:7860, line:REGEX or exec:CMD") from error


def _settle(process: Process, seconds: float, stopped: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.alive() and not stopped():
        time.sleep(_GLANCE_S)
