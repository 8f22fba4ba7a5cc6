"""Plans: what a verb of the Python API will change, as a value, and its execution.

A plan lists what is downloaded, taken over, placed, written or removed, with sizes in bytes, and what prevents it. The
command's `--dry-run`, its disk check, its progress bar and its execution use the same plan.

    plan = api.plan_pull("openai/whisper-tiny.en", session=session)
    if plan.fits and plan.missing < 1_000_000_000:
        api.execute(plan, session=session)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from preheat.api.session import Session
from preheat.core.values.replace import replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from os import PathLike
    from pathlib import Path

    from preheat.api.building import ImageTerms
    from preheat.api.pulling import Pulls
    from preheat.desk.app_folders import AppSurvey
    from preheat.verbs.building.image_plan import ImagePlan
    from preheat.verbs.folding.fold import Folded
    from preheat.verbs.folding.fold_journal import FoldJournal
    from preheat.verbs.folding.fold_plan import FoldPlan
    from preheat.verbs.placing.view_plan import ViewsPlan
    from preheat.verbs.pull_plan import PullPlan
    from preheat.verbs.upkeep.adopt import Adoption
    from preheat.verbs.upkeep.adopt_plan import AdoptPlan
    from preheat.verbs.upkeep.removal_plan import RemovalPlan
    from preheat.verbs.upkeep.remove import Removal

    Folder = str | PathLike[str]


def plan_pull(
    *what: str,
    files: Sequence[str] = (),
    views: Mapping[str, Folder] | None = None,
    measured: bool = False,
    session: Session | None = None,
) -> PullPlan:
    """Return the plan of a pull, with the same arguments: what to download, whether it fits, which views to place.

    `measured`: also measure the download rate, in 1.5 s for each hub. Nothing is changed; `execute` carries it out.
    Raise HubError for a model, revision or file that no hub has.
    """
    from pathlib import Path

    from preheat.api.pulling import folder_view, plan_all

    session = session or Session()
    placed = [(folder_view(kind, session), Path(folder).absolute()) for kind, folder in (views or {}).items()]
    plan = plan_all(what, session, files, placed)
    if measured:
        from preheat.verbs.pull_rate import with_rates

        plan = with_rates(plan)
    return plan


def plan_view(
    kind: str, folder: Folder, *refs: str, files: Sequence[str] = (), session: Session | None = None
) -> ViewsPlan:
    """Return the plan to place models from the library in a folder: the bytes to copy, and files in the way."""
    from pathlib import Path

    from preheat.api.naming.similar_models import naming_recorded
    from preheat.api.pulling import folder_view
    from preheat.core.ref import Ref
    from preheat.verbs.placing.view_plan import plan_views
    from preheat.verbs.view import site_at

    session = session or Session()
    library, permissions = session.library, session.permissions
    at, layout = Path(folder).absolute(), folder_view(kind, session)
    # Find all models before placing any. Place pinned ones first, so that a branch's files take precedence.
    snapshots = []
    for ref in map(Ref.parse, refs):
        with naming_recorded(ref, session):
            snapshots.append(library.require(ref, list(files)))
    snapshots.sort(key=lambda one: not one.ref.pinned)
    sites = [site_at(snapshot, library, layout, at, permissions) for snapshot in snapshots]
    return plan_views(sites, library, session.on_event, permissions)


def plan_adopt(
    *folders: Folder, ref: str = "", copy: bool = False, share: bool = False, session: Session | None = None
) -> AdoptPlan:
    """Return the plan to add the models in other programs' caches to the library; see `adopt`."""
    from preheat.core.ref import Ref, read_path
    from preheat.verbs.upkeep.adopt_plan import plan_adopt as plan

    session = session or Session()
    named = Ref.parse(ref) if ref else None
    return plan([read_path(str(folder)) for folder in folders], session.library, named, copy=copy, share=share)


def plan_build(app: str | None, terms: ImageTerms, *, session: Session | None = None) -> ImagePlan:
    """Return the plan of a container image: its layers, which of them exist already, and whether the others fit."""
    from preheat.api.building import ImageBuilder

    return ImageBuilder(app, session or Session(), terms).plan()


def plan_remove(*refs: str, all_versions: bool = False, session: Session | None = None) -> RemovalPlan:
    """Return the plan to remove versions, and the blobs that only they need: what it frees, and what keeps the rest.

    A ref `memory:APP` is an app's memory snapshot. Raise LibraryError if a version is pinned or not in the library.
    """
    from preheat.library.upkeep.sweep import Sweep
    from preheat.verbs.upkeep.remove import plan_removal, recorded, typed_model, versions_of
    from preheat.verbs.upkeep.saved_apps import saved_app, split_saved

    library = (session or Session()).library
    models, apps = split_saved(refs)
    saved = [saved_app(app, library) for app in dict.fromkeys(apps)]
    versions = {
        snapshot.ref.at(snapshot.commit): snapshot
        for ref in (typed_model(words, library) for words in models)
        for snapshot in (versions_of(ref, library) if all_versions else [recorded(ref, library)])
    }
    plan = plan_removal(list(versions.values()), library, Sweep(library.root))
    return replace(plan, memory=tuple((one.folder, one.size) for one in saved))


def plan_prune(
    *,
    old: bool = False,
    unread: bool = False,
    memory_snapshots: bool = False,
    younger_s: float = 3600.0,
    forget: str = "",
    session: Session | None = None,
) -> RemovalPlan:
    """Return the plan to remove unneeded blobs and leftovers; see `prune` for the arguments."""
    from pathlib import Path

    from preheat.recipes.recipe import FILE_NAME
    from preheat.verbs.upkeep.prune import PruneOptions, sweep_of
    from preheat.verbs.upkeep.prune import plan_prune as plan

    library = (session or Session()).library
    options = PruneOptions(old, memory_snapshots, younger_s, forget, unread)
    return plan(library, sweep_of(library, unread=unread), options, [Path(FILE_NAME).absolute()])


def carry_out_removal(plan: RemovalPlan, session: Session, settle_s: float | None = None) -> Removal:
    """Remove what the plan lists, after `settle_s` seconds for other machines' changes to appear; see `remove`."""
    from preheat.library.blobs.disk_errors import disk_trouble
    from preheat.verbs.upkeep.prune import sweep_of
    from preheat.verbs.upkeep.remove import carry_out

    library = session.library
    try:
        return carry_out(plan, library, sweep_of(library, settle_s, unread=plan.unread), session.on_event)
    except OSError as error:
        raise disk_trouble(error, library.root) from error


def plan_fold(*also: Folder, copy: bool = False, settle_s: float = 0.0, session: Session | None = None) -> FoldPlan:
    """Find the model folders of apps on this machine; return the duplicates in them, and what one copy would free.

    `also`: further folders to look in. `copy`: files on other filesystems may be copied to the library's. `settle_s`:
    leave out files that have changed within this time. Files that are new or have changed are hashed; the hashes are
    remembered in the user's state. Raise UsageError for a folder that does not exist, or if this user has no home
    folder.
    """
    from pathlib import Path

    from preheat.core.errors import UsageError

    session = session or Session()
    folders = [Path(folder).absolute() for folder in also]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder", hint="--also names a folder with models, or an app's")
    return _plan_survey(_find_folders(folders, session), session, copy=copy, settle_s=settle_s)


def watch_folders(
    also: Sequence[Folder], session: Session, *, copy: bool, every_s: float, settle_s: float
) -> Iterator[FoldPlan]:
    """See `api.watch_fold`."""
    from pathlib import Path

    from preheat.verbs.folding.watch import WatchTerms, watch

    folders = [Path(folder).absolute() for folder in also]
    _home(session)
    return watch(
        lambda: _find_folders(folders, session),
        lambda survey: _plan_survey(survey, session, copy=copy, settle_s=settle_s),
        session.library.root,
        session.on_event,
        WatchTerms(every_s, settle_s),
    )


def _find_folders(also: Sequence[Path], session: Session) -> AppSurvey:
    from preheat.desk.app_folders import find_app_folders

    return find_app_folders(session.config.environ, _home(session), also)


def _home(session: Session) -> Path:
    from preheat.core.errors import UsageError

    home = session.config.home
    if home is None:
        raise UsageError("this user has no home folder, in which apps keep models", hint="set HOME")
    return home


def _plan_survey(survey: AppSurvey, session: Session, *, copy: bool, settle_s: float) -> FoldPlan:
    from preheat.verbs.folding.fold import require_library
    from preheat.verbs.folding.fold_plan import plan_fold as plan
    from preheat.verbs.folding.hash_memory import HashMemory

    memory = HashMemory(session.state / "fold" / "hashes.json")
    journal = fold_journal(session)
    require_library(session.library, journal)
    return plan(survey, session.library, memory, session.on_event, journal.entries, copy=copy, settle_s=settle_s)


def fold_journal(session: Session) -> FoldJournal:
    """Return the journal of the files that this user has folded into the session's library."""
    from preheat.verbs.folding.fold_journal import FoldJournal

    return FoldJournal(session.state / "fold", session.library.root)


@overload
def execute(plan: PullPlan, *, session: Session | None = None) -> Pulls: ...
@overload
def execute(plan: ViewsPlan, *, session: Session | None = None) -> dict[str, str]: ...
@overload
def execute(plan: AdoptPlan, *, session: Session | None = None) -> Adoption: ...
@overload
def execute(plan: FoldPlan, *, session: Session | None = None) -> Folded: ...
@overload
def execute(plan: RemovalPlan, *, session: Session | None = None) -> Removal: ...
def execute(
    plan: PullPlan | ViewsPlan | AdoptPlan | FoldPlan | RemovalPlan, *, session: Session | None = None
) -> Pulls | dict[str, str] | Adoption | Folded | Removal:
    """Carry out a plan, with the settings of the session that it was made with; return and raise as its verb does.

    The plan may be old: the library and the disks are checked again first.
    """
    from preheat.verbs.pull_plan import PullPlan

    session = session or Session()
    library, on_event = session.library, session.on_event
    if isinstance(plan, PullPlan):
        from preheat.api.pulling import pull_all

        return pull_all(plan, session, session.transport.received)
    from preheat.verbs.placing.view_plan import ViewsPlan

    if isinstance(plan, ViewsPlan):
        from preheat.verbs.view import carry_out_views

        return carry_out_views(plan, library, on_event)
    from preheat.verbs.upkeep.adopt_plan import AdoptPlan

    if isinstance(plan, AdoptPlan):
        from preheat.verbs.upkeep.adopt import adopt as take

        return take(plan, library, on_event, session.settings.unsafe_files)
    from preheat.verbs.folding.fold_plan import FoldPlan

    if isinstance(plan, FoldPlan):
        from preheat.verbs.folding.fold import fold

        return fold(plan, library, fold_journal(session), on_event)
    return carry_out_removal(plan, session)
