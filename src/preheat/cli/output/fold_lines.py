"""Fold lines: a fold plan as sentences for people, and as figures for programs."""

from collections.abc import Iterator
from pathlib import Path

from preheat.core.units import say_count, say_path, say_size
from preheat.verbs.folding.fold_plan import FOLD, LEFT, LINKED, FoldPlan, ModelGroup

_FEW = 20  # models, and left files, that are listed


def fold_lines(plan: FoldPlan) -> Iterator[str]:
    """Yield the lines that describe a plan: the apps, the duplicates, and the files that are left unchanged."""
    files = [(str(one.file.path), one.file) for one in plan.files]
    for folder in plan.folders:
        inodes = {file.inode: file.blocks for path, file in files if path.startswith(f"{folder.path}/")}
        via = f" (named in {folder.via})" if folder.via else ""
        size = f"{say_size(sum(inodes.values()))} in {say_count(len(inodes), 'file')}"
        yield f"{folder.app.title}: {say_path(folder.path)}{via}: {size}"
    several = [group for group in plan.groups if len(group.files) > 1]
    for group in several[:_FEW]:
        yield _group_line(group)
    if len(several) > _FEW:
        yield f"  and {len(several) - _FEW} more models with duplicates: --json or --report lists them"
    left = [(one.file.path, one.reason) for one in plan.files if one.state == LEFT]
    left += [(one.path, one.reason) for one in plan.unread]
    for path, reason in left[:_FEW]:
        yield f"left unchanged: {say_path(path)}: {reason}"
    if len(left) > _FEW:
        yield f"left unchanged: {len(left) - _FEW} more files: --json or --report lists them"


def fold_sentence(plan: FoldPlan) -> str:
    """Return the result of a plan in one sentence."""
    if not plan.folders:
        return "no model folders found; --also DIR names one"
    linked = sum(one.state == LINKED for one in plan.files)
    said = f"{say_size(plan.size)} in {say_count(len(plan.files), 'file')}, {say_size(plan.twice)} of it duplicates"
    if linked:
        said += f"; {say_count(linked, 'file')} folded already"
    if plan.copyable:
        said += f"; --copy would copy {say_size(plan.copyable)} to the library's filesystem"
    if not any(one.state == FOLD for one in plan.files):
        return f"{said}; nothing to fold"
    copies = f", and copies {say_size(plan.disk.needed)}" if plan.disk.needed else ""
    return f"{said}; folding frees {say_size(plan.saved)}{copies}"


def fold_figures(plan: FoldPlan) -> dict[str, object]:
    """Return the figures of a plan; sizes in bytes, on disk except for a model's own `size`."""
    return {
        "library": str(plan.library),
        "files": len(plan.files),
        "size": plan.size,
        "twice": plan.twice,
        "saved": plan.saved,
        "copied": plan.disk.needed,
        "copyable": plan.copyable,
        "free": plan.disk.free,
        "folders": [{"app": one.app.name, "path": say_path(one.path), "via": one.via} for one in plan.folders],
        "apps": [
            {
                "name": app.name,
                "title": app.title,
                "models": len(plan.of_app(app)),
                "size": sum(group.before - group.twice for group in plan.of_app(app)),
            }
            for app in plan.apps
        ],
        "models": [_group_figures(group) for group in plan.groups],
        "left": [{"path": say_path(one.path), "reason": one.reason} for one in plan.unread],
        "notes": [{"what": what, "said": said} for what, said in plan.notes],
    }


def _group_line(group: ModelGroup) -> str:
    name = say_path(Path(group.files[0].file.path.name))
    apps = ", ".join(app.title for app in group.apps)
    known = f", known as {group.names[0]}" if group.names else ""
    kind = f"{group.kind} of " if group.kind else ""
    return f"  {name}: {kind}{say_size(group.size)} in {len(group.files)} places: {apps} (AutoV2 {group.autov2}{known})"


def _group_figures(group: ModelGroup) -> dict[str, object]:
    return {
        "sha256": group.sha256,
        "autov2": group.autov2,
        "kind": group.kind,
        "size": group.size,
        "twice": group.twice,
        "saved": group.before - group.after,
        "names": list(group.names),
        "ref": f"file:{say_path(group.files[0].file.path.parent)}",
        "files": [
            {
                "path": say_path(one.file.path),
                "apps": [app.name for app in one.file.apps],
                "state": one.state,
                "ways": list(one.ways),
                "reason": one.reason,
            }
            for one in group.files
        ],
    }
