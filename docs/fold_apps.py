"""Fold apps: write the tables of apps, of the links that are safe for them, and of writes in place: docs/fold.md."""

from collections.abc import Iterator
from pathlib import Path

from tree import put

from preheat.desk.app_settings import settings_of, settings_of_user
from preheat.desk.model_apps import APPS, OTHER, ModelApp

PAGE = Path(__file__).with_name("fold.md")
_HOME, _CONFIG, _DATA, _INSTALL = Path("~"), Path("~/.config"), Path("~/.local/share"), Path()


def fold_apps() -> Iterator[str]:
    """Return docs/fold.md with the apps as they are now."""
    page = put(PAGE.read_text(encoding="utf-8"), "apps", "\n".join(rows()) + "\n")
    yield put(page, "in place", "\n".join(in_place()) + "\n")


def rows() -> Iterator[str]:
    """Yield the rows of the table."""
    yield "| app | its folders | its settings that are read | reflink | hard link | symlink | may write in place |"
    yield "|---|---|---|---|---|---|---|"
    for app in (*APPS, OTHER):
        links = ["yes" if kind in app.links else "no" for kind in ("reflink", "hardlink", "symlink")]
        rewrites = "yes" if app.rewrites else "no"
        yield f"| {app.title} | {folders(app)} | {settings(app)} | {' | '.join(links)} | {rewrites} |"


def in_place() -> Iterator[str]:
    """Yield the rows of the table of writes in place."""
    yield "| app | reflink | hard link | symlink | hard link or symlink, as root |"
    yield "|---|---|---|---|---|"
    for app in (*APPS, OTHER):
        cells = [outcome(app, kind) for kind in ("reflink", "hardlink", "symlink")]
        as_root = "not used" if len(app.safe_links(as_root=True)) == 1 else "used; a write reaches the blob"
        yield f"| {app.title} | {' | '.join(cells)} | {as_root} |"


def outcome(app: ModelApp, kind: str) -> str:
    """Return what a write in place does to a file that is this kind of link, as a user."""
    if kind not in app.links:
        return "not used"
    return "its own bytes" if kind == "reflink" else "refused"


def folders(app: ModelApp) -> str:
    """Return where the folders of an app are."""
    user = {"home": "~", "cache": "~/.cache", "config": "~/.config", "data": "~/.local/share"}
    places = [f"`{place.format(**user)}`" for place in app.places]
    below = [f"`{folder}`" for folder in app.folders]
    found = [f"{', '.join(below)} of an installation"] if below else []
    return ", ".join(found + places) or "`--also DIR`"


def settings(app: ModelApp) -> str:
    """Return the variables and files that may name other folders."""
    variables = [f"`{name.partition('/')[0]}`" for name in app.variables]
    own = [f"`{file.path}`" for file in settings_of(app.name, _INSTALL)]
    users = [f"`{file.path}`" for file in settings_of_user(_HOME, _CONFIG, _DATA) if file.app == app.name]
    return ", ".join([*variables, *own, *users])
