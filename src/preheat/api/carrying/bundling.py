"""Bundles from Python: carry models, recipes and preheat itself to machines without a network."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from preheat.api.session import Session
from preheat.core.events import Noted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from preheat.verbs.bundles.export import ExportPlan
    from preheat.verbs.bundles.import_bundle import ImportPlan
    from preheat.verbs.pull import PullResult

    Folder = str | PathLike[str]


def plan_export(
    *what: str,
    output: Folder,
    since: Sequence[Folder] = (),
    piece: int = 0,
    with_preheat: bool = False,
    session: Session | None = None,
) -> ExportPlan:
    """Return the plan of a bundle with models and apps by name: what it contains, its files and their sizes in bytes.

    `output`: the file to write, or with `piece`, the most bytes of a file, the name of its pieces without their
    numbers. `since`: the files of an earlier bundle, whose blobs are left out. `with_preheat`: add preheat itself.
    Nothing is written. Raise NotPreloaded for files that are not in the library.
    """
    from preheat.api.carrying.packing import pack
    from preheat.verbs.bundles.bundle_file import BundleFile
    from preheat.verbs.bundles.export import BundleApp, ExportOrder
    from preheat.verbs.bundles.export import plan_export as plan

    session = session or Session()
    models, apps = pack(what, session, BundleApp)
    earlier = None
    if since:
        with contextlib.closing(BundleFile([Path(one).absolute() for one in since])) as bundle:
            earlier = bundle.index
    order = ExportOrder(models, Path(output).absolute(), apps, earlier, piece, with_preheat)
    planned = plan(order, session.library)
    if earlier is not None and len(planned.index.blobs) == len({file.digest for one in models for file in one.files}):
        session.on_event(Noted(str(since[0]), "has none of these files: nothing is left out"))
    return planned


def export(plan: ExportPlan, *, session: Session | None = None) -> None:
    """Write the bundle of a plan. Raise Occupied if a file exists already, LibraryError if the disk fails."""
    from preheat.verbs.bundles.export import export as write

    session = session or Session()
    write(plan, session.library, session.on_event)


def import_bundle(
    *files: Folder, recipes: Folder | None = None, dry_run: bool = False, session: Session | None = None
) -> tuple[ImportPlan, tuple[PullResult, ...]]:
    """Add the models of a bundle to the library, each file verified with its digest; return the plan and the result.

    `files`: the bundle, or all of its pieces. `recipes`: the folder to write its recipes to, each into a folder with
    its name. With `dry_run`, nothing is changed. The next import continues an interrupted one.

    Raise UsageError for files that are no bundle or not all of it, NotPreloaded if an earlier bundle must be imported
    first, IntegrityError for bytes that do not match their digest.
    """
    from preheat.verbs.bundles.bundle_file import BundleFile
    from preheat.verbs.bundles.import_bundle import import_bundle as take
    from preheat.verbs.bundles.import_bundle import plan_import

    session = session or Session()
    with contextlib.closing(BundleFile([Path(one).absolute() for one in files])) as bundle:
        at = None if recipes is None else Path(recipes).absolute()
        plan = plan_import(bundle, session.library, session.on_event, at, session.settings.unsafe_files)
        if dry_run:
            return plan, ()
        return plan, take(plan, session.library, session.policy, session.on_event)
