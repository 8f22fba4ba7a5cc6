"""Upkeep of the library from Python: list, pin, verify and remove what it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from preheat.api.plans import carry_out_removal, execute, plan_adopt, plan_fold, plan_prune, plan_remove
from preheat.api.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

    from preheat.core.ref import Ref
    from preheat.core.snapshot import File, Snapshot
    from preheat.library.library import Library
    from preheat.library.upkeep.usage import Survey
    from preheat.verbs.folding.fold import Folded
    from preheat.verbs.folding.fold_plan import FoldPlan
    from preheat.verbs.folding.unfold import Unfolded
    from preheat.verbs.upkeep.adopt import Adoption
    from preheat.verbs.upkeep.remove import Removal
    from preheat.verbs.upkeep.status import RecipeStatus, Status
    from preheat.verbs.upkeep.verify import VerifyResult

    Folder = str | PathLike[str]


def ls(*refs: str, session: Session | None = None) -> Survey:
    """List the versions in the library, with the disk space of each in bytes.

    `refs`: only these models, by name or glob (`openai/*`). Raise NotPreloaded for one that matches nothing.
    """
    from preheat.core.values.replace import replace
    from preheat.library.upkeep.usage import survey
    from preheat.verbs.upkeep.chosen_versions import chosen_versions

    library = (session or Session()).library
    everything = survey(library.records, library.root / "blobs", library.pins)
    return replace(everything, versions=tuple(chosen_versions(everything.versions, refs, library)))


def status(*, session: Session | None = None) -> Status:
    """Return the state of the library, the app in this folder, what runs, what is stale, and what to do next.

    Sends no request and hashes nothing; reads the library's records and lists its folders.
    """
    from pathlib import Path

    from preheat.core.errors import PreheatError
    from preheat.recipes.lock_file import lock_path, read_lock
    from preheat.recipes.recipe import FILE_NAME
    from preheat.verbs.locked_needs import missing_needs
    from preheat.verbs.upkeep.running_notes import running
    from preheat.verbs.upkeep.status import app_status, broken_app
    from preheat.verbs.upkeep.status import status as look

    session = session or Session()
    path = Path(FILE_NAME).absolute()
    app: RecipeStatus | None = None
    if path.is_file():
        try:
            recipe = session.unlocked_recipe(None)
            lock = read_lock(lock_path(recipe))
            pinned = recipe if lock is None else lock.apply(recipe)
            app = app_status(recipe, lock, missing_needs(pinned, session.library))
        except PreheatError as error:
            app = broken_app(path, error)
    return look(session.library, app, tuple(running(session.config.state)), session.caches)


def pin(*refs: str, session: Session | None = None) -> tuple[Ref, ...]:
    """Keep these versions from `prune`, `remove` and a mirror's size cap; return them with their commits."""
    from preheat.library.blobs.disk_errors import disk

    library = (session or Session()).library
    snapshots = _recorded(refs, library)
    with disk(library.root):
        for snapshot in snapshots:
            library.pins.add(snapshot)
    return tuple(snapshot.ref.at(snapshot.commit) for snapshot in snapshots)


def unpin(*refs: str, session: Session | None = None) -> tuple[Ref, ...]:
    """Undo `pin`; return the versions, with their commits, that were pinned."""
    from preheat.library.blobs.disk_errors import disk

    library = (session or Session()).library
    snapshots = _recorded(refs, library)
    with disk(library.root):
        return tuple(snapshot.ref.at(snapshot.commit) for snapshot in snapshots if library.pins.remove(snapshot))


def verify(*refs: str, since_s: float = 0.0, mend: bool = False, session: Session | None = None) -> VerifyResult:
    """Hash all blobs of the library again, or those of the models `refs`; quarantine corrupt blobs.

    Unmodified blobs that were verified in the last `since_s` seconds are skipped. `mend`: download corrupt blobs again.
    """
    from preheat.verbs.upkeep.verify import verify as hash_again

    session = session or Session()
    only = _recorded(refs, session.library) or None
    return hash_again(session.library, only, since_s, session.on_event, _mender(session) if mend else None)


def remove(
    *refs: str, all_versions: bool = False, settle_s: float | None = None, session: Session | None = None
) -> Removal:
    """Remove versions, and the blobs that only they need. Raise LibraryError, before any change, if one is pinned.

    `all_versions`: of these models. `settle_s`: how many seconds to wait for other machines' changes to appear; None:
    65 for a library on a network share.
    """
    session = session or Session()
    plan = plan_remove(*refs, all_versions=all_versions, session=session)
    return carry_out_removal(plan, session, settle_s)


def prune(
    *,
    old: bool = False,
    unread: bool = False,
    memory_snapshots: bool = False,
    younger_s: float = 3600.0,
    forget: str = "",
    settle_s: float | None = None,
    session: Session | None = None,
) -> Removal:
    """Remove unneeded blobs and leftovers of killed processes.

    `old`: also versions without a branch or tag. `unread`: also files that traced apps downloaded and no start opened.
    `memory_snapshots`: also those of all apps. `younger_s`: keep files that were added in the last so many seconds,
    since a running pull may need them. `forget`: ignore the views of this machine, which no longer exist. `settle_s`:
    as for `remove`.
    """
    session = session or Session()
    plan = plan_prune(
        old=old, unread=unread, memory_snapshots=memory_snapshots, younger_s=younger_s, forget=forget, session=session
    )
    return carry_out_removal(plan, session, settle_s)


def _recorded(refs: Sequence[str], library: Library) -> list[Snapshot]:
    from preheat.verbs.upkeep.remove import recorded, typed_model

    return [recorded(typed_model(words, library), library) for words in refs]


def _mender(session: Session) -> Callable[[Snapshot, File], None]:
    """Return a function that downloads a file of a version again."""
    import glob

    from preheat.recipes.recipe import Need
    from preheat.verbs.pull import pull
    from preheat.verbs.pull_sources import FileSelection

    def mend(snapshot: Snapshot, file: File) -> None:
        need = Need(snapshot.ref.at(snapshot.commit), (glob.escape(file.path),))
        pull(session.sources(need), session.library, session.policy, session.on_event, FileSelection(need.files))

    return mend


def unfold(*, session: Session | None = None) -> Unfolded:
    """Restore every file that this user has folded: its bytes, mode, group and times. Raise NoSpace."""
    from preheat.api.plans import fold_journal
    from preheat.verbs.folding.unfold import unfold as restore

    session = session or Session()
    return restore(session.library, fold_journal(session), session.on_event)


def adopt(
    *folders: Folder, ref: str = "", copy: bool = False, share: bool = False, session: Session | None = None
) -> Adoption:
    """Add the models in other programs' caches to the library, without a download or a second copy.

    `ref`: the name of the model, for a plain folder with one model's files. `copy`: copy each file that cannot share
    extents with its original (reflink), instead of hard-linking it. Files on another filesystem can only be added with
    `copy`. `share`: also add files that other users cannot read now, but can in the library.

    A file that cannot be added raises no error: it is counted, and an event reports the reason. Raise NoSpace if the
    disk has no room for the copies. Raise CheckFailed if the session refuses unsafe files and a version contains one;
    that version is then not recorded in the library.
    """
    session = session or Session()
    return execute(plan_adopt(*folders, ref=ref, copy=copy, share=share, session=session), session=session)


def fold(*also: Folder, copy: bool = False, settle_s: float = 0.0, session: Session | None = None) -> Folded:
    """Keep one copy of each model file for all apps on this machine: the apps' names become links to the library.

    The arguments are those of `plan_fold`. Files that cannot be folded are left unchanged: the result and events have
    the reasons. `unfold` restores all files at any time.
    """
    session = session or Session()
    return execute(plan_fold(*also, copy=copy, settle_s=settle_s, session=session), session=session)


def watch_fold(
    *also: Folder, copy: bool = False, every_s: float = 60.0, settle_s: float = 60.0, session: Session | None = None
) -> Iterator[FoldPlan]:
    """Look into the apps' model folders every `every_s` seconds; yield a plan whenever there are files to fold.

    Only files that have not changed for `settle_s` seconds are read. It does not end by itself, and folds nothing:

        for plan in api.watch_fold(session=session):
            api.execute(plan, session=session)

    The folders in `also` need not exist yet. Raise UsageError if this user has no home folder.
    """
    from preheat.api.plans import watch_folders

    return watch_folders(also, session or Session(), copy=copy, every_s=every_s, settle_s=settle_s)
