"""The `preheat fold` command."""

import argparse
import contextlib
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from preheat import api
from preheat.cli.output.fold_lines import fold_figures, fold_lines, fold_sentence
from preheat.cli.output.report_file import writable_report, write_report
from preheat.cli.typed_units import read_seconds
from preheat.cli.wiring import Wiring
from preheat.core.errors import Incomplete, LibraryError, UsageError
from preheat.core.events import Noted
from preheat.core.ref import read_path
from preheat.core.units import say_count, say_path, say_seconds, say_size
from preheat.deploy.fold_timer import NAME, fold_units
from preheat.desk.app_folders import telling_variables
from preheat.verbs.folding.fold import Folded
from preheat.verbs.folding.fold_page import fold_page
from preheat.verbs.folding.fold_plan import FOLD, FoldPlan
from preheat.verbs.folding.running_apps import running_apps

_LEAST_S = 1.0  # between two looks
_FEW = 3  # files named in the last message


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat fold`; return the exit status."""
    _check(options)
    if options.undo:
        return _undo(wiring, options)
    if options.timer:
        return _write_timer(options, wiring)
    if options.watch:
        return _watch(options, wiring)
    target = writable_report(options.report, "fold.html") if options.report else None
    settle_s = read_seconds(options.settle or "0s")
    plan = api.plan_fold(*map(read_path, options.also), copy=options.copy, settle_s=settle_s, session=wiring)
    for what, said in plan.notes:
        wiring.on_event(Noted(what, said))
    if target is not None:
        write_report(target, fold_page(plan, options.lang))
    if not options.yes:
        lines = [*fold_lines(plan), fold_sentence(plan)] if options.verbosity else []
        wiring.console.done(fold_figures(plan) | {"done": False}, "\n".join(lines))
        return 0
    done = _fold(plan, wiring)
    figures = fold_figures(plan) | {
        "done": True,
        "folded": done.files,
        "links": dict(done.links),
        "freed": done.freed,
        "copied": done.copied,
        "not_folded": [{"path": say_path(path), "reason": reason} for path, reason in done.left],
    }
    _finish(wiring, options, done.left, _said(done, plan.library), figures)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raise UsageError for options that exclude each other."""
    if options.undo and (options.also or options.copy or options.report or options.watch or options.timer):
        raise UsageError("--undo restores all folded files: --also, --copy, --report, --watch and --timer do not apply")
    if (options.watch or options.timer) and options.report:
        raise UsageError("--report is written once: not with --watch or --timer", hint="leave --report out")
    if options.watch and options.timer:
        raise UsageError("--watch stays up, and --timer lets systemd start a fold: choose one")
    if options.every and not (options.watch or options.timer):
        raise UsageError("--every is for --watch and --timer", hint="--watch --every 5m")
    if options.settle and options.undo:
        raise UsageError("--settle does not apply to --undo")


def _fold(plan: FoldPlan, wiring: Wiring) -> Folded:
    for app in running_apps([one.file.path for one in plan.files if one.state == FOLD]):
        said = f"has {say_count(app.files, 'file')} open: what folding frees becomes free when it ends"
        wiring.on_event(Noted(f"{app.name} (process {app.pid})", said))
    return api.execute(plan, session=wiring)


def _said(done: Folded, library: Path) -> str:
    copied = f", {say_size(done.copied)} copied" if done.copied else ""
    return f"{say_count(done.files, 'file')} folded into {library}, {say_size(done.freed)} freed{copied}"


def _watch(options: argparse.Namespace, wiring: Wiring) -> int:
    """Fold now and later, until Ctrl-C or SIGTERM."""
    every_s, settle_s = _seconds(options, "1m")
    files = freed = copied = 0
    plans = api.watch_fold(
        *map(read_path, options.also), copy=options.copy, every_s=every_s, settle_s=settle_s, session=wiring
    )
    wiring.on_event(Noted("fold", f"watching the apps' model folders, every {say_seconds(every_s)} (Ctrl-C stops)"))
    said = ""
    with contextlib.suppress(KeyboardInterrupt):
        for plan in plans:
            if not options.yes:
                said, before = fold_sentence(plan), said
                if said != before:
                    wiring.on_event(Noted("fold", said))
                continue
            try:
                done = _fold(plan, wiring)
            except LibraryError as error:  # such as a full disk, or another fold: later it may work
                wiring.on_event(Noted("fold", f"{error.message}; watching on"))
                continue
            files, freed, copied = files + done.files, freed + done.freed, copied + done.copied
            if done.files:
                wiring.on_event(Noted("fold", _said(done, plan.library)))
    figures = {"watched": True, "folded": files, "freed": freed, "copied": copied, "done": options.yes}
    wiring.console.done(figures, f"{say_count(files, 'file')} folded, {say_size(freed)} freed" if options.yes else "")
    return 0


def _write_timer(options: argparse.Namespace, wiring: Wiring) -> int:
    """Write the units of a timer that folds; for another manager than a user's own, they name this user."""
    folder = Path(options.timer).expanduser().absolute()
    every_s, _ = _seconds(options, "15m")
    also = [word for one in options.also for word in ("--also", str(read_path(one).absolute()))]
    words = ["fold", "--yes", "--settle", options.settle or "1m", *also, *(["--copy"] if options.copy else [])]
    command = (str(Path(sys.argv[0]).absolute()), *words, "--library", str(wiring.library.root))
    user = "" if folder.name == "user" else getpass.getuser()
    environ = wiring.config.environ
    env = telling_variables(environ) | {name: environ[name] for name in ("XDG_STATE_HOME",) if environ.get(name)}
    units = fold_units(command, env, every_s, user)
    with contextlib.suppress(OSError):  # writing reports it
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in units.items():
        write_report(folder / name, text, f"--timer {folder}")
    control = "systemctl" if user else "systemctl --user"
    start = f"{control} daemon-reload && {control} enable --now {NAME}.timer"
    figures = {"units": {str(folder / name): text for name, text in units.items()}, "start": start, "done": False}
    wiring.console.done(figures, f"wrote {NAME}.service and {NAME}.timer to {folder}; to start it: {start}")
    return 0


def _seconds(options: argparse.Namespace, every: str) -> tuple[float, float]:
    every_s, settle_s = read_seconds(options.every or every), read_seconds(options.settle or "1m")
    if every_s < _LEAST_S:
        raise UsageError(f"--every must be at least {_LEAST_S:g} s", hint="--every 1m")
    return every_s, settle_s


def _undo(wiring: Wiring, options: argparse.Namespace) -> int:
    done = api.unfold(session=wiring)
    figures: dict[str, object] = {
        "restored": done.restored,
        "copied": done.copied,
        "changed": done.changed,
        "not_restored": [{"path": say_path(path), "reason": reason} for path, reason in done.left],
        "done": True,
    }
    sentence = f"{say_count(done.restored, 'file')} restored, {say_size(done.copied)} copied"
    if done.changed:
        sentence += f"; {say_count(done.changed, 'file')} changed or removed since, left unchanged"
    _finish(wiring, options, done.left, sentence, figures)
    return 0


def _finish(
    wiring: Wiring,
    options: argparse.Namespace,
    left: Sequence[tuple[Path, str]],
    sentence: str,
    figures: dict[str, object],
) -> None:
    """Print the result. Raise Incomplete if files were left unchanged, for scripts that check the exit status."""
    if left:
        reasons = "; ".join(f"{say_path(path)}: {reason}" for path, reason in left[:_FEW])
        more = f"; and {len(left) - _FEW} more" if len(left) > _FEW else ""
        raise Incomplete(
            f"{say_count(len(left), 'file')} left unchanged: {reasons}{more} ({sentence})",
            hint="stop the programs that use these files, or remove the cause, and run the same command again",
            figures=figures,
        )
    wiring.console.done(figures, sentence if options.verbosity else "")
