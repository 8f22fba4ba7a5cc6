"""The `preheat pull` command."""

import argparse
import os
import re
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from preheat.api.pulling import folder_view, plan_all, pull_all
from preheat.cli.wiring import Wiring
from preheat.core.errors import NotFound, UsageError
from preheat.core.pulls.planned_pull import say_missing
from preheat.core.units import say_count, say_seconds, say_size
from preheat.recipes.recipe import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from preheat.core.events import OptionalMissing
    from preheat.verbs.placing.view_plan import ViewsPlan
    from preheat.verbs.pull_plan import NeedPlan, PullPlan
    from preheat.views.view_protocol import View

# Names of files rather than of models.
_FILE = re.compile(r"\.(json|bin|safetensors|txt|pth?|ckpt|onnx|model|ya?ml|md|py|gguf|wav|zip|npz|h5)$", re.IGNORECASE)
_TAR = re.compile(r"\.tar(\.\d{3})?$")
# A path in a model, such as acme/tiny/config.json.
_IN_MODEL = re.compile(r"((?:hf:|ms:)?(?!datasets/|models/|spaces/)[\w.-]+/[\w.-]+)/([^@#]+)")


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat pull`; return the exit status."""
    if not options.what and not Path(FILE_NAME).is_file():
        raise UsageError(
            f"no model and no app is named, and there is no {FILE_NAME} here",
            hint="preheat pull owner/name; to list the built-in apps: preheat recipes",
        )
    asked = list(dict.fromkeys(options.what)) or [FILE_NAME]
    what = [words if wiring.names_app(words) else _named(words, options) for words in asked]
    files = (*options.files, *(f"!{pattern}" for pattern in options.exclude))
    views = [_view_words(words, wiring) for words in _view_options(what, options)]
    try:
        plan = plan_all(what, wiring, files, views)
    except NotFound as error:
        error.hint = _of_files(what) or _of_folder(what) or error.hint
        raise
    if options.dry_run:
        return _report(plan, wiring)
    pulls = pull_all(plan, wiring)
    figures = {
        "snapshots": [{"ref": str(one.ref), "commit": one.commit} for one in pulls.snapshots],
        "size": pulls.size,
        "fetched": pulls.fetched,
        "received": pulls.received,
        "left_out": _left_out(pulls.left_out),
        "library": str(wiring.library.root),
    }
    sentence = f"{say_size(pulls.size)} in {wiring.library.root}, {say_size(pulls.fetched)} of it new"
    wiring.console.done(figures, sentence if options.verbosity else "")
    return 0


def _report(plan: "PullPlan", wiring: Wiring) -> int:
    """Print the plan and the time that it takes; raise as the pull would if it cannot be carried out."""
    from preheat.verbs.pull_rate import with_rates

    plan = with_rates(plan)
    library, views = plan.disks[0], plan.views
    figures = {
        "needs": [_facts(need) | {"free": library.free, "fits": library.fits} for need in plan.needs],
        "size": plan.size,
        "missing": plan.missing,
        "local": plan.local,
        "cached": sum(one.file.size for one in plan.cached_files),
        "seconds": plan.seconds,
        "free": library.free,
        "fits": plan.fits,
        "left_out": _left_out(plan.left_out),
        "disks": [
            {"path": str(disk.at), "needed": disk.needed, "free": disk.free, "fits": disk.fits} for disk in plan.disks
        ],
    }
    figures |= view_facts(views) if views else {"kinds": [], "views": [], "own": [], "conflicts": []}
    wiring.console.done(figures, "\n".join(_lines(plan)))
    plan.require()
    plan.require_available()
    return 0


def _left_out(missing: "Iterable[OptionalMissing]") -> list[dict[str, str]]:
    return [{"ref": one.ref, "reason": one.reason} for one in missing]


def _facts(need: "NeedPlan") -> dict[str, object]:
    return {
        "ref": str(need.ref),
        "commit": need.commit,
        "files": len(need.wanted.files),
        "size": need.size,
        "missing_files": len(need.to_fetch),
        "missing": need.missing,
        "local": need.local,
        "cached": sum(one.file.size for one in need.cached),
        "cached_files": len(need.cached),
        "rate": need.rate,
        "seconds": need.seconds,
    }


def _lines(plan: "PullPlan") -> list[str]:
    lines = [_sentence(need) for need in plan.needs]
    lines += view_lines(plan.views) if plan.views is not None else []
    if len(plan.needs) > 1:
        time = "" if plan.seconds is None else f"; about {say_seconds(plan.seconds)}"
        lines.append(f"{len(plan.needs)} models: {say_size(plan.size)}, {say_missing(plan.missing, plan.local)}{time}")
    return lines


def view_facts(plan: "ViewsPlan") -> dict[str, object]:
    """Return a plan's views, its conflicts, the user's files that are in place, and the kinds of files, for JSON."""
    return {
        "kinds": [
            {"file": one.file.path, "kind": one.kind, "path": str(one.at) if one.at else "", "reason": one.why}
            for one in plan.sorted_files
        ],
        "views": [
            {"kind": view.kind, "path": str(view.at), "files": view.files, "copied": view.copied} for view in plan.views
        ],
        "own": [{"path": str(own.path), "size": own.file.size, "copied": own.copied} for own in plan.own],
        "conflicts": [{"path": str(one.place), "reason": one.why} for one in plan.conflicts],
    }


def view_lines(plan: "ViewsPlan") -> list[str]:
    """Return the same as sentences, without the views that only link."""
    lines, copied = [f"{one.file.path}: {one.said}" for one in plan.sorted_files], sum(one.copied for one in plan.views)
    if plan.own:
        size = say_size(sum({own.file.digest: own.file.size for own in plan.own}.values()))
        lines.append(f"{size} at the views' paths already (files: {len(plan.own)})")
    if copied:
        lines.append(f"{say_size(copied)} to copy into views")
    return lines + [f"in the way: {one.place} ({one.why})" for one in plan.conflicts]


def _sentence(need: "NeedPlan") -> str:
    words = f"{need.ref} at {need.commit[:12]}: {say_size(need.size)} in {say_count(len(need.wanted.files), 'file')}"
    if need.cached:
        size = say_size(sum(one.file.size for one in need.cached))
        words += f", {size} in other programs' caches, as {need.cached[0].path}"
        if not need.missing:
            return words
    if not need.missing:
        return f"{words}, all cached"
    words += f", {say_missing(need.missing, need.local)}"
    if need.rate is not None and need.seconds is not None:
        measured = "" if need.local else ", measured with 8 connections"
        words += f"; about {say_seconds(need.seconds)} at {say_size(need.rate)}/s{measured}"
    return words


def _named(words: str, options: argparse.Namespace) -> str:
    """Return a model's name with --repo-type and --revision.

    Raise UsageError if it has another revision, or is the path of a file in a model, or of a tar.
    """
    if (path := _IN_MODEL.fullmatch(words)) and _FILE.search(words):
        raise UsageError(f"{words} is a file of the model {path[1]}", hint=_of_files([path[1], path[2]]))
    if _TAR.search(words) and os.path.isfile(words):  # noqa: PTH113 - never raises, also for a name that is too long
        from preheat.api.image_stores import if_bundle

        raise UsageError(f"{words} is a file, not a model", hint=if_bundle(words))
    if options.repo_type not in (None, "model"):
        hub, colon, rest = words.rpartition(":")
        words = f"{hub or 'hf'}:{options.repo_type}s/{rest}" if colon or rest.count("/") == 1 else words
    if not options.revision:
        return words
    if words.partition("#")[0].rpartition("/")[2].partition("@")[1]:
        raise UsageError(f"{words} has a revision already", hint="omit --revision, or omit @ in the name")
    return f"{words}@{options.revision}"


def _of_files(what: list[str]) -> str:
    """Return the hint for files that were typed behind their model, as for hf; empty if none was."""
    model, *others = what
    names = [words for words in others if _FILE.search(words)]
    return f"preheat pull {quote(model)}{''.join(f' --files {quote(one)}' for one in names)}" if names else ""


def _of_folder(what: list[str]) -> str:
    """Return the hint for a folder that was typed as if it were a model; empty if none was."""
    folder = next((words for words in what if "/" not in words and Path(words).is_dir()), None)
    return "" if folder is None else f"to pull the folder of that name: file:{quote(folder)}"


def _view_options(what: list[str], options: argparse.Namespace) -> list[str]:
    """Return the words of --view, --local-dir and --cache-dir, as KIND=DIR."""
    cache = "modelscope" if all(words.startswith("ms:") for words in what) else "hf-cache"
    shorthands = (("local-dir", options.local_dir), (cache, options.cache_dir))
    return [*options.view, *(f"{kind}={folder}" for kind, folder in shorthands if folder)]


def _view_words(words: str, wiring: Wiring) -> "tuple[View, Path]":
    kind, equals, folder = words.partition("=")
    if not equals or not folder:
        raise UsageError(f"{words!r} is not a view and a folder", hint="--view hf-cache=DIR")
    return folder_view(kind, wiring), Path(folder).absolute()
