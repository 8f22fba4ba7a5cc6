"""Setup: create what an app's supervision needs, supervise the app, and clean up."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Callable

from preheat.guard.model.app import PORT, App
from preheat.guard.model.life import RestartPolicy
from preheat.guard.options import GuardOptions, GuardSetup, read_address
from preheat.guard.probes.probes import port_of
from preheat.guard.process.process import Output
from preheat.guard.status.app_status import AppStatus
from preheat.guard.status.start_times import History
from preheat.guard.supervise.instances import StandbyPolicy
from preheat.guard.supervise.supervisor import AppStarted, Changed, Event, Outcome, Said, SupervisorParts, supervise
from preheat.guard.systemd_notify import notify, take_notify_socket, without_notify_socket

if TYPE_CHECKING:
    from preheat.guard.net.port_relay import Front
    from preheat.guard.warm_up import FileRange, WarmUp
    from preheat.guard.witness.connections import Witness

# How frameworks are told their port where a command line does not say; the app's own words win.
_PORT_VARIABLES = ("PORT", "GRADIO_SERVER_PORT", "STREAMLIT_SERVER_PORT", "UVICORN_PORT")


class AddressTaken(Exception):
    """An address that the guard was to hold cannot be had."""


def keep(
    settings: GuardOptions,
    on_event: Callable[[Event], None],
    *,
    output: Output = Output(),  # noqa: B008 - frozen
    witness: Witness | None = None,
) -> Outcome:
    """Supervise an app as the settings say. Raise AddressTaken, and ValueError for words that mean nothing."""
    stage = settings.stage
    app = fronted(settings.app, stage.front) if stage.front else settings.app
    if stage.standby and not stage.front:
        raise ValueError("--standby wants --front HOST:PORT: two instances cannot have one port")
    systemd = take_notify_socket()
    if app.env is not None:
        app = replace(app, env=without_notify_socket(app.env))
    with ExitStack() as closing:
        board = AppStatus(stage.name, _app_url(settings.app, stage), history=History(stage.history))
        front = _front(stage, board, closing)
        _status(stage, board, closing)
        ranges = _ranges(stage)
        board.paths = [one.path for one in ranges]
        warm: list[WarmUp] = []
        terms = StandbyPolicy(stage.standby, stage.drain_within_s)

        def tell(event: Event) -> None:
            on_event(event)
            if isinstance(event, AppStarted) and ranges and not warm:
                # After the start and not before it: what is here already shall cost the app nothing.
                warm.append(_warm_up(ranges, closing))
            if isinstance(event, Changed):
                _tell_systemd(systemd, event, settings.patience)
            if isinstance(event, Changed) and event.life == "running" and warm:
                # It has read what it wanted: what is not here by now would come for nothing.
                warm[0].close()
                read, found = warm[0].read / 1e6, warm[0].found / 1e6
                early = "" if warm[0].wait(0) else "; stopped, since the app is ready"
                if read or early:
                    on_event(Said(f"warm-up: {read:.0f} MB brought in, {found:.0f} MB were here{early}"))

        return supervise(
            app,
            settings.patience,
            tell,
            witness=witness,
            output=output,
            around=SupervisorParts(board, front, terms),
        )


def fronted(app: App, address: str) -> App:
    """Have an app listen on a port of the guard's choice, and its probes ask there."""
    port = read_address(address)[1]

    def moved(probe: str) -> str:
        # A probe that asks the public port would be answered by the guard.
        return probe.replace(f":{port}", f":{PORT}") if PORT not in probe and port_of(probe) == port else probe

    env = app.env
    if env is not None:
        env = {**dict.fromkeys(_PORT_VARIABLES, PORT), **env}
    return replace(app, env=env, ready=moved(app.ready) or f"tcp:{PORT}", alive=moved(app.alive))


def _front(stage: GuardSetup, board: AppStatus, closing: ExitStack) -> Front | None:
    if not stage.front:
        return None
    from preheat.guard.net.port_relay import Front

    host, port = read_address(stage.front)
    try:
        front = Front(host, port, board.answer_waiting)
    except OSError as error:
        raise AddressTaken(_taken(stage.front, port, error)) from error
    closing.callback(front.close)
    return front


def _status(stage: GuardSetup, board: AppStatus, closing: ExitStack) -> None:
    if stage.status:
        from preheat.guard.net.small_http import listen, serve

        host, port = read_address(stage.status)
        try:
            listener = listen(host, port)
        except OSError as error:
            raise AddressTaken(_taken(stage.status, port, error)) from error

        closing.callback(serve(listener, board.answer))


def _ranges(stage: GuardSetup) -> list[FileRange]:
    """List what to bring in, in its order."""
    if not stage.warm and not stage.weights:
        return []
    from preheat.guard.warm_up import FileRange, read_ranges

    ranges = []
    if stage.warm:
        try:
            with open(stage.warm, encoding="utf-8") as lines:
                ranges = read_ranges(lines)
        except (OSError, ValueError) as error:
            raise ValueError(f"{stage.warm}: {error}") from error
    return ranges + [FileRange(path) for path in stage.weights]


def _warm_up(ranges: list[FileRange], closing: ExitStack) -> WarmUp:
    from preheat.guard.warm_up import WarmUp

    warm = WarmUp(ranges)
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
        # Loading takes what it takes, and the guard itself gives up in time.
        notify(
            address, f"EXTEND_TIMEOUT_USEC={int((patience.ready_within_s + patience.backoff_at_most_s) * 1e6)}", status
        )
