"""Setup: create what an app's supervision needs, supervise the app, and clean up."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Callable

from preheat.guard.kernel.descriptors import open_text
from preheat.guard.model.app import PORT, PORT_VARIABLES, App
from preheat.guard.model.life import RestartPolicy
from preheat.guard.options import GuardOptions, GuardSetup, read_address
from preheat.guard.probes.probes import port_of
from preheat.guard.process.enclosure import weakness
from preheat.guard.process.process import Output
from preheat.guard.status.app_status import AppStatus
from preheat.guard.status.start_times import History
from preheat.guard.supervise.instances import StandbyPolicy
from preheat.guard.supervise.supervisor import AppStarted, Changed, Event, Notice, Outcome, SupervisorParts, supervise
from preheat.guard.systemd_notify import notify, take_systemd, without_systemd

if TYPE_CHECKING:
    from preheat.guard.memory_snapshot.memory_snapshots import MemorySnapshots
    from preheat.guard.net.port_relay import Front
    from preheat.guard.net.published_port import PublishedPort
    from preheat.guard.warm_up.warm_up import WarmUp
    from preheat.guard.warm_up.warmed_file import FileRange
    from preheat.guard.witness.connections import Witness


class AddressTaken(Exception):
    """An address that the guard must listen on is not available."""


def keep(
    settings: GuardOptions,
    on_event: Callable[[Event], None],
    *,
    output: Output = Output(),  # noqa: B008 - frozen
    witness: Witness | None = None,
    stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Supervise an app until it ends or `stop` returns True. Raise AddressTaken; ValueError for invalid settings."""
    stage = settings.stage
    app = (fronted(settings.app, stage.front) if stage.front else settings.app)._replace(contained=True)
    if stage.standby and not stage.front:
        raise ValueError("--standby requires --front HOST:PORT: two instances cannot share one port")
    if stage.publish and stage.front:
        raise ValueError("--publish and --front exclude each other: the front listens where it is told to")
    _require_apart(app, stage)
    systemd = take_systemd()
    if app.env is not None:
        app = app._replace(env=without_systemd(app.env))
    memory = _memory(app, stage, witness, on_event)
    app = app._replace(freezable=memory is not None)
    with ExitStack() as closing:
        app = _with_hub(app, stage.hub, closing, on_event) if stage.hub else app
        app_status = AppStatus(stage.name, _app_url(settings.app, stage), history=History(stage.history))
        front = _front(stage, app_status, closing)
        _status(stage, app_status, closing)
        published = _published(app, stage.port, app_status, closing) if stage.publish else None
        ranges = _ranges(stage)
        app_status.paths = [one.path for one in ranges]
        warm: list[WarmUp] = []
        escapes: list[str] = []
        terms = StandbyPolicy(stage.standby, stage.drain_within_s)

        def tell(event: Event) -> None:
            on_event(event)
            if isinstance(event, AppStarted) and (ranges or stage.start_list) and not warm:
                # Start warming only after the app: if everything is cached already, the app must not wait for it.
                warm.append(_warm_up(stage, ranges, closing))
            if published is not None and isinstance(event, Changed) and event.life == "running":
                published.open()
            if isinstance(event, Changed):
                _tell_systemd(systemd.socket, event, settings.patience)
            if isinstance(event, Changed) and event.life == "running" and not escapes:
                # Not before the app is started, which would wait for it.
                escapes.append(weakness(app))
                if escapes[0]:
                    on_event(Notice(escapes[0]))
            if isinstance(event, Changed) and event.life == "running" and warm:
                # A ready app has read its files: warming the rest would be useless.
                warm[0].close()
                read, found = warm[0].read / 1e6, warm[0].found / 1e6
                early = "" if warm[0].wait(0) else "; stopped early: the app is ready"
                if read or early:
                    on_event(Notice(f"warm-up: {read:.0f} MB read from disk, {found:.0f} MB already cached{early}"))

        return supervise(
            app,
            settings.patience,
            tell,
            witness=witness,
            output=output,
            stop=stop,
            parts=SupervisorParts(app_status, front, terms, systemd, memory),
        )


def fronted(app: App, address: str) -> App:
    """Return the app with its port replaced by `{port}`, in its environment and its probes.

    `address` is the public address, which the guard listens on instead.
    """
    port = read_address(address)[1]

    def moved(probe: str) -> str:
        # The guard itself would answer a probe of the public port.
        return probe.replace(f":{port}", f":{PORT}") if PORT not in probe and port_of(probe) == port else probe

    env = app.env
    if env is not None:
        env = {**dict.fromkeys(PORT_VARIABLES, PORT), **env}
    return app._replace(env=env, ready=moved(app.ready) or f"tcp:{PORT}", alive=moved(app.alive))


def _require_apart(app: App, stage: GuardSetup) -> None:
    """Raise ValueError if the status page would use the port of the app or of its front."""
    used = read_address(stage.status)[1] if stage.status else 0
    if used and used in (read_address(stage.front)[1] if stage.front else _probed_port(app), stage.port):
        raise ValueError(f"the app and the guard's status page would both use port {used}")


def _probed_port(app: App) -> int | None:
    return port_of(app.ready) if app.ready and PORT not in app.ready else None


def _front(stage: GuardSetup, app_status: AppStatus, closing: ExitStack) -> Front | None:
    if not stage.front:
        return None
    from preheat.guard.net.port_relay import Front

    host, port = read_address(stage.front)
    try:
        front = Front(host, port, app_status.answer_waiting)
    except OSError as error:
        raise AddressTaken(_taken(stage.front, port, error)) from error
    closing.callback(front.close)
    return front


def _with_hub(app: App, answers: str, closing: ExitStack, on_event: Callable[[Event], None]) -> App:
    """Serve the prepared answers, and return the app with the variables that lead its clients to them."""
    from preheat.guard.net.answer_server import answer_hub
    from preheat.guard.net.prepared_answers import read_answers

    environ = app.env or {}
    try:
        hub = answer_hub(read_answers(answers), environ, closing)
    except OSError as error:
        raise AddressTaken(f"no hub on loopback: {error}") from error
    if hub.unencrypted:
        on_event(Notice(f"no hub over TLS, which modelscope up to 1.37 requires: {hub.unencrypted}"))
    return app._replace(env={**environ, **hub.environ})


def _published(app: App, chosen: int, app_status: AppStatus, closing: ExitStack) -> PublishedPort:
    from preheat.guard.net.published_port import PublishedPort

    port = chosen or _probed_port(app)
    if not port:
        raise ValueError("--publish requires --port N, or a --ready probe with a port: http://127.0.0.1:7860/")
    published = PublishedPort(port, app_status.answer_waiting)
    closing.callback(published.close)
    return published


def _memory(
    app: App, stage: GuardSetup, witness: Witness | None, on_event: Callable[[Event], None]
) -> MemorySnapshots | None:
    """Return the app's memory snapshots, if there is a policy; None, with a notice, if none can be made here."""
    if stage.memory is None:
        return None
    from preheat.guard.memory_snapshot.criu import CannotFreeze
    from preheat.guard.memory_snapshot.memory_snapshots import MemorySnapshots

    try:
        if app.isolated or witness is not None:
            raise CannotFreeze("an app whose network calls are counted or prevented cannot be restored")
        return MemorySnapshots(stage.memory, app.env or {})
    except CannotFreeze as error:
        on_event(Notice(f"no memory snapshots: {error}"))
        return None


def _status(stage: GuardSetup, app_status: AppStatus, closing: ExitStack) -> None:
    if stage.status:
        from preheat.guard.net.small_http import listen, serve

        host, port = read_address(stage.status)
        try:
            listener = listen(host, port)
        except OSError as error:
            raise AddressTaken(_taken(stage.status, port, error)) from error

        closing.callback(serve(listener, app_status.answer))


def _ranges(stage: GuardSetup) -> list[FileRange]:
    """List the file ranges to warm, in order."""
    if not stage.warm and not stage.weights:
        return []
    from preheat.guard.warm_up.warmed_file import FileRange, read_ranges

    ranges = []
    if stage.warm:
        try:
            with open_text(stage.warm) as lines:
                ranges = read_ranges(lines)
        except (OSError, ValueError) as error:
            raise ValueError(f"{stage.warm}: {error}") from error
    return ranges + [FileRange(path) for path in stage.weights]


def _warm_up(stage: GuardSetup, ranges: list[FileRange], closing: ExitStack) -> WarmUp:
    from itertools import chain

    from preheat.guard.warm_up.warm_up import WarmUp

    # An app imports first, and loads its weights then.
    environment = stage.start_list() if stage.start_list is not None else ()
    warm = WarmUp(chain(environment, ranges))
    closing.callback(warm.close)
    return warm


def _taken(address: str, port: int, error: OSError) -> str:
    from preheat.guard.kernel.ports import port_taken

    holder = port_taken(port) if port else None
    return str(holder) if holder is not None else f"{address}: {error.strerror}"


def _app_url(app: App, stage: GuardSetup) -> str:
    if stage.front:
        host, port = read_address(stage.front)
        return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}/"  # noqa: S104 - compared with
    return app.ready if app.ready.startswith(("http://", "https://")) else ""


def _tell_systemd(address: str, event: Changed, patience: RestartPolicy) -> None:
    status = f"STATUS={event.life}{': ' if event.detail else ''}{event.detail}"
    if event.life == "running":
        notify(address, "READY=1", status)
    elif event.life in ("stopped", "fatal"):
        notify(address, "STOPPING=1", status)
    else:
        # Loading can take long; the guard itself enforces the limit, not systemd.
        notify(
            address, f"EXTEND_TIMEOUT_USEC={int((patience.ready_within_s + patience.backoff_at_most_s) * 1e6)}", status
        )
