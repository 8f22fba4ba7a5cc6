"""Traced start: run an app under every observer until it is ready and has been used once, and return their logs."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preheat import guard
from preheat.core.errors import AppError, UsageError
from preheat.core.events import Answered, Event, Listener, Noted, Serving
from preheat.guard.kernel.ports import ports_of
from preheat.guard.model.app import App
from preheat.guard.model.exit_words import describe_exit
from preheat.guard.process.process import CannotStart, Output, Process
from preheat.guard.warm_up.mapped_pages import mapped_pages
from preheat.guard.witness.connections import Attempt, Witness
from preheat.guard.witness.file_opens import FANOTIFY, PROC, Open, Opens
from preheat.guard.witness.strace import STRACE, Strace
from preheat.library.small_files import read_small
from preheat.proof.start.import_times import read_notes as read_imports
from preheat.proof.start.import_times import sum_up
from preheat.proof.start.lost_host import LostHost
from preheat.proof.start.timeline import Imports
from preheat.recipes.app_python import AppPython
from preheat.recipes.inference.trace_log import TraceLog, read_notes
from preheat.recipes.offline_env import direct, online
from preheat.recipes.places import start_places
from preheat.verbs.local_hub import Lead
from preheat.verbs.tracing.lost_hub import HubFailures
from preheat.verbs.tracing.readiness import TraceWatch, Wanted, await_ready, settle, use_app
from preheat.verbs.tracing.traced_caches import TracedCaches

_MOST_NOTED = 256 << 20  # bytes of one process's log
# stdout is reserved for the result of the trace.
TO_STDERR = Output(2, 2)


@dataclass(frozen=True, slots=True)
class ObservedStart:
    """Logs of a start: `ready` is the probe that passed, `ready_s` the seconds until then, None if the program exited.

    `how` names the method that detected opens by native code: fanotify, strace or proc. `lost` is set if some of them
    were missed. `attempts` is None if network calls cannot be counted. `caches` are the folders of the app's caches by
    their variables, `new_caches` those that were empty before. The first use began at `used_at` (time.time());
    `own_ports` are those on which the app listened. `mapped` are the parts of files of its own environment that the
    app had mapped and used when it was ready.
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
    new_caches: Mapping[str, str] = field(default_factory=dict)
    used_at: float | None = None
    own_ports: frozenset[int] = frozenset()
    mapped: Mapping[str, Sequence[tuple[int, int]]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether the opens by native code were observed completely."""
        return self.how in (FANOTIFY, STRACE) and not self.lost


@dataclass(slots=True)
class Recorder:
    """Collects the mirror's responses, and forwards all other events. `failures`: of the hubs behind the mirror."""

    on_event: Listener
    failures: HubFailures = field(default_factory=HubFailures)
    answered: list[Answered] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """See Listener."""
        if isinstance(event, Answered):
            self.answered.append(event)
        elif not isinstance(event, Serving):  # the mirror's address is of no use to the user: only the app uses it
            self.on_event(event)


def traced_start(
    app: App, workplace: Path, lead: Lead, watch: TraceWatch, recorder: Recorder, wanted: Wanted, caches: TracedCaches
) -> ObservedStart:
    """Start `app` with the hubs from `lead`, and with logs below `workplace`; stop it after its first use.

    `wanted` reports whether the user wants to end earlier. Raise AppError if the app fails or is not ready in time.
    """
    stopped = wanted.stopped

    def lost(tail: Sequence[str]) -> LostHost | None:
        return recorder.failures.lost(tail, recorder.answered, noted(workplace))

    notes = workplace / "notes"
    notes.mkdir(parents=True, exist_ok=True)
    used_at, own_ports = None, frozenset[int]()
    mapped: Mapping[str, Sequence[tuple[int, int]]] = {}
    environ = environment(app.env or {}, caches, notes, lead)
    witness = Witness() if Witness.available() else None
    held: list[Process] = []
    opens = _eyes(watch.opens, workplace, lambda: held[0].warden if held else 0)
    command = opens.around(app.command) if isinstance(opens, Strace) else app.command
    began, clock = time.time(), time.monotonic()
    try:
        process = Process(App(command, environ, app.cwd), output=TO_STDERR, witness=witness)
    except CannotStart as error:
        opens.close(wanted.hurried)
        raise AppError(str(error), hint=error.hint or "is the command right?") from error
    held.append(process)
    try:
        ready, ready_s = await_ready(process, watch, clock, recorder, stopped, lost)
        own_ports = _ports(process)
        if ready_s is not None:
            mapped = mapped_pages(process.pids(), _folders(app))
        if ready_s is not None and not stopped():
            if watch.first:
                used_at = time.time()
                use_app(watch, App(app.command, _untraced(environ), app.cwd, ready), process, stopped, lost)
            settle(process, watch.settle_s, stopped)
            own_ports |= _ports(process)
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
        caches.folders,
        noted(workplace),
        tuple(seen),
        opens.how,
        opens.lost,
        None if witness is None else witness.attempts,
        tuple(recorder.answered),
        sum_up(read_imports(notes), round(clock * 1e9), ready_s or time.monotonic() - clock),
        caches.new,
        used_at,
        own_ports,
        mapped,
    )


def _folders(app: App) -> tuple[str, ...]:
    """Return the folders of the app's own environment."""
    folder = Path(app.cwd or ".").absolute()
    return tuple(start_places(folder, AppPython.of(app.env or {}, folder, app.command)).values())


def _ports(process: Process) -> frozenset[int]:
    return frozenset(ports_of(process.pids()))


def _untraced(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the first-use command, whose files and requests are not the app's."""
    return {name: value for name, value in environ.items() if name not in ("PREHEAT_TRACE", "PREHEAT_STOPWATCH")}


def noted(workplace: Path) -> TraceLog:
    """Read the logs that the app's Python processes have written so far."""
    return read_notes(_texts((workplace / "notes").glob("*.trace")))


def _texts(files: Iterable[Path]) -> Iterator[str]:
    """Read the log files, but only regular files up to 256 MiB: the app can write anything to this folder."""
    for path in files:
        with contextlib.suppress(OSError):
            yield read_small(path, _MOST_NOTED).decode("utf-8", "replace")


def environment(environ: Mapping[str, str], caches: TracedCaches, notes: Path, lead: Lead) -> dict[str, str]:
    """Return an environment with its caches, the mirror as hub, and logging in the app's Python processes."""
    return {
        **direct(online(environ, without=caches.removed)),
        **caches.new,
        **lead.environ,
        "PYTHONUNBUFFERED": "1",
        **logged(environ, notes),
        "PREHEAT_TRACE_HUBS": f"{lead.plain}/ {lead.secure}/" if lead.secure else f"{lead.plain}/",
        "PREHEAT_STOPWATCH": str(notes),
    }


def logged(environ: Mapping[str, str], notes: Path) -> dict[str, str]:
    """Return the variables that make the app's Python processes log to the folder `notes`."""
    shim = str(Path(guard.__file__).parent / "shim")
    paths = [shim, *([environ["PYTHONPATH"]] if environ.get("PYTHONPATH") else [])]
    return {"PYTHONPATH": os.pathsep.join(paths), "PREHEAT_TRACE": str(notes)}


def _eyes(how: str, workplace: Path, root: Callable[[], int]) -> Opens | Strace:
    """Observe files opened by native code, with the most complete method. Raise UsageError if `how` is unavailable."""
    if how != STRACE:
        # Observe all of /, because an app can keep its files anywhere.
        # In the library, the scan of downloads opens them too.
        opens = Opens(["/"], root, kernel=how != PROC, others=[str(workplace.parent / "blobs")], beneath=True)
        if opens.how == (how or FANOTIFY):
            return opens
        opens.close()
    if how in ("", STRACE) and Strace.available():
        folder = workplace / "calls"
        folder.mkdir()
        return Strace(str(folder), amounts=how == STRACE)
    if how:
        hint = "run it as root" if how == FANOTIFY else "is strace installed, and is ptrace permitted?"
        raise UsageError(f"file opens cannot be observed with {how} on this machine", hint=hint)
    return Opens(["/"], root, kernel=False, beneath=True)
