"""The `preheat prune` command."""

import argparse
from collections.abc import Callable

from preheat.cli.typed_units import read_seconds
from preheat.cli.wiring import Wiring
from preheat.core.units import say_size
from preheat.library.blobs.disk_errors import disk_trouble
from preheat.library.upkeep.sweep import Sweep
from preheat.verbs.upkeep.prune import PruneOptions, plan_prune, sweep_unread
from preheat.verbs.upkeep.removal_plan import RemovalPlan
from preheat.verbs.upkeep.remove import carry_out


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat prune`; return the exit status."""
    young_s = read_seconds(options.younger)
    prune_options = PruneOptions(options.old, options.memory, young_s, options.forget, options.unread)
    sweep = sweep_unread(wiring.library, _settle_s(options)) if options.unread else sweep_of(options, wiring)
    return removed(lambda: plan_prune(wiring.library, sweep, prune_options), sweep, options, wiring)


def removed(planning: Callable[[], RemovalPlan], sweep: Sweep, options: argparse.Namespace, wiring: Wiring) -> int:
    """Plan a removal, and carry it out with `--yes`; print the result, and return the exit status."""
    library, done = wiring.library, options.yes
    try:
        plan = planning()
        if done:
            size = carry_out(plan, library, sweep, wiring.console).size
        else:
            plan.tell(wiring.console)
            size = plan.size
    except OSError as error:
        raise disk_trouble(error, library.root) from error
    versions, blobs, leftovers = [str(ref) for ref in plan.versions], len(plan.sweep.blobs), len(plan.sweep.leftovers)
    lines = [f"{name} {'removed' if done else 'would be removed'}" for name in versions]
    snapshots = len(plan.memory)
    if not (versions or blobs or leftovers or snapshots):
        lines.append("nothing to remove")
    elif done:
        lines.append(f"{say_size(size)} freed")
    else:
        counts = f"blobs: {blobs}, leftover files: {leftovers}"
        counts += f", memory snapshots: {snapshots}" if snapshots else ""
        lines.append(f"{say_size(size)} would be freed ({counts}); --yes removes them")
    lines += [f"  {say_size(one.size)} {'stay' if done else 'would stay'} on disk: {one.by}" for one in plan.kept_by]
    figures = {
        "versions": versions,
        "blobs": blobs,
        "leftovers": leftovers,
        "memory_snapshots": snapshots,
        "size": size,
        "kept_by": [{"by": one.by, "size": one.size} for one in plan.kept_by],
        "done": done,
    }
    wiring.console.done(figures, "\n".join(lines) if options.verbosity else "")
    return 0


def sweep_of(options: argparse.Namespace, wiring: Wiring) -> Sweep:
    """Return the sweep for these options; on a network share, it waits until other machines see its changes."""
    return Sweep(wiring.library.root, _settle_s(options))


def _settle_s(options: argparse.Namespace) -> float | None:
    return read_seconds(options.settle) if options.settle else None
