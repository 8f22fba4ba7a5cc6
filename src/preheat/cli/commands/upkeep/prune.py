"""The `preheat prune` command."""

import argparse

from preheat import api
from preheat.api.plans import carry_out_removal
from preheat.cli.hints import as_typed
from preheat.cli.typed_units import read_seconds
from preheat.cli.wiring import Wiring
from preheat.core.units import say_size
from preheat.verbs.upkeep.removal_plan import RemovalPlan


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat prune`; return the exit status."""
    plan = api.plan_prune(
        old=options.old,
        unread=options.unread,
        memory_snapshots=options.memory,
        younger_s=read_seconds(options.younger),
        forget=options.forget,
        session=wiring,
    )
    return removed(plan, options, wiring)


def removed(plan: RemovalPlan, options: argparse.Namespace, wiring: Wiring) -> int:
    """Carry out a removal with `--yes`; print the result or the plan, and return the exit status."""
    done = options.yes
    if done:
        settle_s = read_seconds(options.settle) if options.settle else None
        size = carry_out_removal(plan, wiring, settle_s).size
    else:
        plan.tell(wiring.on_event)
        size = plan.size
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
    for one in plan.kept_by:
        lines.append(f"  {say_size(one.size)} {'stay' if done else 'would stay'} on disk: {one.by}")
        lines += [f"    to remove that view's links first: {one.remedy}"] if one.remedy and not done else []
        lines += [f"    to free them: {one.remedy}; preheat prune --yes --younger 0s"] if one.remedy and done else []
    figures = {
        "versions": versions,
        "blobs": blobs,
        "leftovers": leftovers,
        "memory_snapshots": snapshots,
        "size": size,
        "kept_by": [{"by": one.by, "size": one.size, "remedy": one.remedy} for one in plan.kept_by],
        "done": done,
    }
    wiring.console.done(figures, as_typed("\n".join(lines), options) if options.verbosity else "")
    return 0
