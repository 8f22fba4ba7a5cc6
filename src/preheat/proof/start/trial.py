"""Trial: one start of an app, timed from outside."""

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.errors import AppError, UsageError
from preheat.core.values.replace import replace
from preheat.guard.kernel.ports import Holder, port_taken, ports_of
from preheat.guard.memory_snapshot.restore import Restorable
from preheat.guard.model.app import App
from preheat.guard.model.exit_words import describe_exit
from preheat.guard.probes.probes import port_of
from preheat.guard.process.own_probe import own_probe
from preheat.guard.process.process import CannotStart, Output, Process
from preheat.guard.witness.connections import Witness
from preheat.proof.conditions.page_cache_residency import cached
from preheat.proof.start.import_times import ImportLog, read_notes
from preheat.proof.start.lost_host import LostHost, lost_host
from preheat.proof.start.memory_cgroup import MemoryCgroup
from preheat.proof.start.observer import ObservedResources, Observer, ResourceUse
from preheat.proof.start.timeline import Span

_GLANCE_S = 0.02
_LISTEN_S = 0.25
_OUTPUT_TAIL = 16_384  # bytes
_LAST_LINES = 20
_QUIET = Output(stdout=None, stderr=None)


@dataclass(frozen=True, slots=True)
class Instruments:
    """The instruments of a start: a counter of network calls (witness), a folder for import logs, resources to observe.

    `tell` is called with what the start does next, after the app is ready. The witness counts for another `observe_s`
    seconds after first use, since apps often send telemetry by a timer.
    """

    witness: Witness | None = None
    notes: Path | None = None
    subject: ObservedResources = field(default_factory=ObservedResources)
    tell: Callable[[str], None] = lambda _doing: None
    observe_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TimedStart:
    """When the app was ready and had completed its first use, in seconds since it began, and the observations.

    `began` is in nanoseconds of CLOCK_MONOTONIC. `page_cache` is how many bytes of the weights were cached at the end.
    `observed_s` is how long the app was observed after first use; the observation ends early if the app exits.
    `own_ports` are the ports that the app and its children listened on at the end.
    """

    ready_s: float
    first_s: float | None
    began: int
    seen: ResourceUse | None = None
    downloading: tuple[Span, ...] = ()
    notes: tuple[ImportLog, ...] = ()
    cgroup_peak: int | None = None
    no_cgroup: str = ""
    page_cache: int = 0
    observed_s: float = 0.0
    own_ports: frozenset[int] = frozenset()


def start_once(app: App, first: str, ready_within_s: float, instruments: Instruments | None = None) -> TimedStart:
    """Start `app`, wait until it is ready, use it once with the command `first` (`exec:…`), and stop it.

    Without `instruments`, only the readiness probe is observed. Raise AppError with the app's last output if the app
    exits or is not ready in time, or if the first use fails.
    """
    with running(app, instruments.witness if instruments else None) as (process, began):
        return measured(app, first, ready_within_s, instruments, process, began)


def restart_once(app: App, first: str, ready_within_s: float, instruments: Instruments | None = None) -> TimedStart:
    """Start `app`, kill it when ready, and restart it at once. Times count from the kill."""
    with running(app, None) as (process, began):
        await_ready(app, process, began + ready_within_s)
        crashed = time.monotonic()
        process.signal(signal.SIGKILL)
        process.stop()
    with running(app, instruments.witness if instruments else None) as (process, _):
        return measured(app, first, ready_within_s, instruments, process, crashed)


@contextlib.contextmanager
def running(
    app: App, witness: Witness | None, find: Callable[[], Restorable | None] = lambda: None
) -> Iterator[tuple[Process, float]]:
    """Start the app, yield the process and its start time, and stop it at the end.

    If `find` returns a memory snapshot, the app is restored from it; the time of `find` belongs to the start. Raise
    AppError if the app cannot be started, CannotRestore if it cannot be restored.
    """
    port = port_of(app.ready)
    holder = port_taken(port) if port is not None else None
    if holder is not None:
        raise AppError(str(holder), hint="stop that process first: its responses would be mistaken for the app's")
    began = time.monotonic()
    try:
        process = Process(app, output=_QUIET, witness=witness, saved=find())
    except CannotStart as error:
        raise AppError(str(error), hint=error.hint or "check the command") from error
    try:
        yield process, began
    except BaseException:
        process.stop(0.0)  # after Ctrl-C or a failure, a graceful end is of no use
        raise
    process.stop()


def measured(
    app: App, first: str, ready_within_s: float, instruments: Instruments | None, process: Process, began: float
) -> TimedStart:
    """Measure a start that has begun, until the app has been used."""

    def go() -> tuple[float, float | None]:
        await_ready(app, process, time.monotonic() + ready_within_s)
        ready_s = time.monotonic() - began
        if not first:
            return ready_s, None
        if instruments is not None:
            instruments.tell("first use")
        use_once(read_first(first), app, ready_within_s, process)
        return ready_s, time.monotonic() - began

    if instruments is None:
        return TimedStart(*go(), round(began * 1e9))
    cgroup = MemoryCgroup()
    try:
        cgroup.take(process.pid)
        with Observer(lambda: process.main, began, instruments.subject) as gauge:
            times = go()
            seen, peak = gauge.close(), cgroup.peak
            kept = cached(instruments.subject.weights)
            started = TimedStart(*times, round(began * 1e9), seen, gauge.downloading(), (), peak, cgroup.why, kept)
        instruments.tell("observed after its use")
        observed_s = _observe(process, instruments.observe_s)
        own_ports = frozenset(ports_of(process.pids()))
        started = replace(started, observed_s=observed_s, own_ports=own_ports)
        instruments.tell("stopping")
        process.stop()
    finally:
        cgroup.close()
    # After a restart, the folder also contains the logs of the killed start.
    notes = (one for one in read_notes(instruments.notes) if one.began >= started.began) if instruments.notes else ()
    return replace(started, notes=tuple(notes))


def _observe(process: Process, seconds: float) -> float:
    """Let the app run unused for up to `seconds`. Return the actual duration in seconds."""
    began = time.monotonic()
    process.wait(seconds)
    return time.monotonic() - began


def read_first(first: str) -> list[str]:
    """Parse a first use, `exec:COMMAND`. Raise UsageError if it is invalid."""
    kind, _, words = first.partition(":")
    try:
        command = shlex.split(words) if kind == "exec" else []
    except ValueError:
        command = []
    if not command:
        raise UsageError(f"{first!r} is not a valid first use", hint='first = "exec:COMMAND"')
    return command


def await_ready(app: App, process: Process, deadline: float) -> None:
    """Wait until the app is ready. Raise AppError if it ends, or is not ready at the deadline."""
    others: list[Holder] = []
    probe = own_probe(app.ready, process, others.append)
    while not probe.ready():
        if others:
            raise AppError(str(others[0]), hint="stop that process, or choose another port for the app")
        if not process.alive():
            raise never_ready(process)
        if time.monotonic() > deadline:
            raise AppError(
                "the app was not ready in time",
                hint="allow more time: --ready-within 1h",
                tail=process.tail.lines(_LAST_LINES),
            )
        time.sleep(_GLANCE_S)


def never_ready(process: Process, lost: Callable[[Sequence[str]], LostHost | None] = lost_host) -> AppError:
    """Return the error for an app that ended before it was ready; `lost` returns the host for which it did, if any."""
    return failed(f"the app was never ready: it {describe_exit(process.status or 0)}", "", process.tail.lines(), lost)


def failed(
    reason: str, hint: str, output: Sequence[str], lost: Callable[[Sequence[str]], LostHost | None] = lost_host
) -> AppError:
    """Return the error for an app that failed; name the unreachable host, with a hint, if `lost` finds one."""
    host, tail = lost(output), tuple(output[-_LAST_LINES:])
    if host is None:
        return AppError(reason, hint=hint or "the last lines of its output are above", tail=tail)
    return AppError(f"{reason}; {host}", hint=host.hint, tail=tail)


def use_once(
    command: list[str],
    app: App,
    within_s: float,
    process: Process,
    stopped: Callable[[], bool] = lambda: False,
    lost: Callable[[Sequence[str]], LostHost | None] = lost_host,
) -> None:
    """Run a command that uses the app, with the app's environment and folder, until it ends or `stopped` returns True.

    Raise AppError if it fails or does not end in time.
    """
    by_hand = f"try it by hand: {shlex.join(command)}"
    # A file instead of a pipe: background processes of the command could keep a pipe open forever.
    with tempfile.TemporaryFile() as errors:
        try:
            using = subprocess.Popen(
                command, cwd=app.cwd, env=app.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
            )
        except OSError as error:
            raise AppError(f"the app's first use could not be tried: {error.strerror}", hint=by_hand) from error
        try:
            ended = _wait_for_end(using, time.monotonic() + within_s, stopped)
        finally:
            if using.poll() is None:
                using.kill()
                using.wait()
        if stopped():
            return
        if not ended:
            raise AppError(
                "the app's first use did not end in time", hint=by_hand, tail=process.tail.lines(_LAST_LINES)
            )
        if using.returncode != 0:
            size = errors.seek(0, os.SEEK_END)
            errors.seek(max(0, size - _OUTPUT_TAIL))
            last = errors.read().decode(errors="replace").splitlines()[-10:]
            # The app may have reported the cause, and the command only that the app failed.
            host = lost(process.tail.lines()) or lost(last)
            reason = f"the app's first use failed; {host}" if host else "the app's first use failed"
            raise AppError(reason, hint=host.hint if host else by_hand, tail=(*process.tail.lines(10), *last))


def _wait_for_end(using: "subprocess.Popen[bytes]", deadline: float, stopped: Callable[[], bool]) -> bool:
    """Wait until a command ends. Return whether it ended before the deadline and before it was stopped."""
    while time.monotonic() < deadline and not stopped():
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Short, so that signals are handled in time; an exit ends the wait at once.
            using.wait(min(_LISTEN_S, max(0.0, deadline - time.monotonic())))
            return True
    return using.poll() is not None
