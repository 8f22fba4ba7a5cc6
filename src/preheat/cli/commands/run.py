"""The `preheat run` command."""

import argparse

from preheat.api.running import Guarding, app_to_run, run_app
from preheat.cli.typed_units import read_seconds
from preheat.cli.wiring import Wiring
from preheat.guard.model.life import RestartPolicy


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat run`; return the exit status."""
    recipe = app_to_run(options.app, tuple(options.command), wiring)
    patience = RestartPolicy(
        ready_within_s=read_seconds(options.ready_within),
        stop_within_s=read_seconds(options.stop_within),
        max_restarts=options.max_restarts,
        hang_after_s=read_seconds(options.hang_after) if options.hang_after else 0.0,
    )
    guarding = Guarding(
        pull=options.pull,
        ready=options.ready or "",
        patience=patience,
        alive=options.alive or "",
        status=options.status or "",
        front=options.front or "",
        standby=options.standby,
        drain_within_s=read_seconds(options.drain_within),
        warm=options.warm or "",
        warm_up=options.warm_up,
        mmap_weights=options.mmap_weights,
        memory_snapshot=options.memory_snapshot,
        idle_after_s=read_seconds(options.idle_after) if options.idle_after else 0.0,
        network=options.network,
        port=options.port,
    )
    status = run_app(recipe, wiring, guarding)
    wiring.console.done({"status": status}, "")
    return status
