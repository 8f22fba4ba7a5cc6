"""Pull: download the missing files of models into the library, as planned."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from preheat.core.digest import Digest
from preheat.core.errors import HubError, IntegrityError
from preheat.core.events import Listener, Noted, OptionalMissing, Read, Reading
from preheat.core.pulls.planned_pull import Planned, Resolved
from preheat.core.ref import MADE
from preheat.core.snapshot import Snapshot
from preheat.core.values.replace import replace
from preheat.library.archives import unpack
from preheat.library.digest_check import lacking, require_sizes
from preheat.library.library import Library
from preheat.library.records.shared_fs import shared
from preheat.library.records.unread_files import UnreadFiles
from preheat.net.retry import RetryPolicy, while_busy
from preheat.recipes.optional_needs import UnlessOptional
from preheat.transfer.fetch import Policy, fetch
from preheat.transfer.route import Way
from preheat.verbs.pull_plan import NeedPlan, PullPlan, plan_need, plan_pull
from preheat.verbs.pull_sources import ALL_FILES, FileSelection, PullSource, is_same, named, source_finder
from preheat.verbs.scan import REFUSE, scan_and_report


@dataclass(frozen=True, slots=True)
class PullResult:
    """Result of a pull: the requested files, and the number of their bytes that had to be downloaded.

    `left_out`: why the files of an optional model could not be downloaded; None if they are in the library.
    """

    snapshot: Snapshot
    fetched: int
    left_out: OptionalMissing | None = None


def pull(
    sources: Sequence[PullSource],
    library: Library,
    policy: Policy,
    on_event: Listener,
    selection: FileSelection = ALL_FILES,
) -> PullResult:
    """Plan the pull of one model, and carry it out. Raise as `plan_need` and `carry_out` do.

    The first source that responds provides the file list; the others are additional download sources for the files
    that they have with the same digests.
    """
    need = plan_need(sources, library, on_event, selection, resolve_policy(policy))
    return carry_out(plan_pull([need], library), library, policy, on_event)[0]


def resolve_policy(policy: Policy) -> RetryPolicy:
    """Return the retry policy for resolving a model, from that for downloading it."""
    return RetryPolicy(lasting_s=policy.patience.lasting_s)


def carry_out(plan: PullPlan, library: Library, policy: Policy, on_event: Listener) -> tuple[PullResult, ...]:
    """Download the missing files of the plan's models, verify and record them. The views are not placed.

    The disks are compared with the plan again first, as they may have changed. Files that the user or another program
    has are taken into the library instead of downloaded. Raise Occupied or NoSpace as `PullPlan.require` does, before
    anything is changed; raise HubError, IntegrityError or LibraryError if a download fails. The next pull resumes it.
    An optional model that no hub provides is left out, with an event.
    """
    plan.require()
    with ExitStack() as until:
        # Claim the blobs before checking for them, so that a concurrent prune cannot remove them.
        for need in plan.needs:
            if need.source is not None:
                until.enter_context(library.wanted(*need.claims))
        _look_over(library, [need.wanted for need in plan.needs], on_event)
        needs = [_claimed(need, library, policy, on_event, until) for need in plan.needs]
        plan = plan_pull(needs, library, plan.views, plan.caches, add_names=True)
        plan.require()
        taken = _take(plan, library, on_event)
        if taken is None:
            taken = set()
        else:
            # Files that could not be taken, because they have changed, are downloaded.
            views = None if plan.views is None else replace(plan.views, own=())
            plan = plan_pull(needs, library, views, add_names=True)
            plan.require()
        for need in plan.needs:
            count, missing = len(need.wanted.files), len(need.to_fetch)
            sizes = (count, need.size, missing, need.missing, need.local)
            on_event(Resolved(need.wanted.ref, need.commit, *sizes))
        missing_files = sum(len(need.to_fetch) for need in plan.needs)
        unpacked = [need.wanted for need in plan.needs if need.unpacking is not None]
        on_event(Planned(len(plan.needs), plan.size, missing_files, plan.missing, plan.local))
        if missing_files:
            library.prepare(0)
        pulled = []
        unread = UnreadFiles(library.root)
        for need in plan.needs:
            pulled.append(_pull_or_leave(need, library, policy, on_event, taken))
            wanted = pulled[-1].snapshot
            unread.forget(wanted.ref, wanted.commit, wanted.files)
    _drop(unpacked, library)
    return tuple(pulled)


def _take(plan: PullPlan, library: Library, on_event: Listener) -> set[Digest] | None:
    """Add the files to the library that are at the views' paths and in caches; return the digests of the new ones.

    None if there are no such files.
    """
    own = plan.views.own if plan.views is not None else ()
    if not own and not plan.cached_files:
        return None
    sizes = {one.file.digest: one.file.size for one in own if not library.has(one.file.digest)}
    sizes |= {one.file.digest: one.file.size for one in plan.cached_files}
    if sizes:
        on_event(Reading("adopt", len(sizes), sum(sizes.values())))
    taken = set(plan.views.take(library, on_event)) if plan.views is not None and own else set()
    for need in plan.needs:
        if need.cached:
            from preheat.verbs.upkeep.cached_files import take_cached  # imported here: most pulls do not need it

            taken |= take_cached(need.cached, need.wanted, library, on_event)
    return taken


def _drop(archives: Sequence[Snapshot], library: Library) -> None:
    """Remove the blobs of archives that were unpacked, unless something else needs them. A share leaves it to prune."""
    blobs = {str(file.digest) for archive in archives for file in archive.files}
    if blobs and not shared(library.root):
        from preheat.library.upkeep.sweep import Sweep  # imported here: most pulls do not need it

        sweep = Sweep(library.root)
        sweep.carry_out(sweep.plan(only=blobs))


def _claimed(need: NeedPlan, library: Library, policy: Policy, on_event: Listener, until: ExitStack) -> NeedPlan:
    """Return a model's plan. If no hub was asked, and the library lacks a blob after all, resolve and claim it."""
    if need.source is not None or not lacking(library, need.wanted):
        return need
    again = plan_need(need.sources, library, on_event, need.selection, resolve_policy(policy))
    need = replace(again, optional=need.optional)
    until.enter_context(library.wanted(*need.claims))
    _look_over(library, [need.wanted], on_event)
    return need


def _look_over(library: Library, wanted: Sequence[Snapshot], on_event: Listener) -> None:
    """Hash those blobs again that look modified, of all models together, which reads the seals once."""
    touched = set(library.touched(file for snapshot in wanted for file in snapshot.files))
    if touched:
        from preheat.verbs.locked_needs import rehash_modified  # imported here: most pulls do not need it

        some = [replace(one, files=tuple(file for file in one.files if file in touched)) for one in wanted]
        # It reads the seals again: since they were read, another pull may have stored and sealed some of these files.
        rehash_modified(library, [one for one in some if one.files], on_event)


def _pull_or_leave(
    need: NeedPlan, library: Library, policy: Policy, on_event: Listener, taken: set[Digest]
) -> PullResult:
    if need.optional or need.ref.hub == MADE:
        # An optional model before this one may have failed to download a file that both have.
        need = plan_pull([need], library).needs[0]
    if not need.optional:
        return _pull(need, library, policy, on_event, taken)
    with UnlessOptional(need, on_event) as block:
        return _pull(need, library, policy, on_event, taken)
    return PullResult(need.wanted, 0, block.missing)


def _pull(need: NeedPlan, library: Library, policy: Policy, on_event: Listener, taken: set[Digest]) -> PullResult:
    """Download, scan and record one model. The files with the digests `taken` are new in the library too."""
    wanted, source, listed, unsafe = need.wanted, need.source, need.listed, need.selection.unsafe
    if need.to_fetch and source is not None and listed is not None:
        _fetch(need, source, listed, library, policy, on_event)
    if need.unpacking is not None:
        return PullResult(_unpack(need, need.unpacking.kind, library, on_event), need.missing)
    if listed is not None:
        require_sizes(library, set(wanted.files) - set(need.to_fetch))
    new = {file.digest: file for file in (*need.to_fetch, *(file for file in wanted.files if file.digest in taken))}
    scan_and_report(wanted.files if unsafe == REFUSE else new.values(), library, unsafe, on_event)
    if listed is None:
        library.keep_for_user(wanted.ref)
    else:
        # An existing record of the commit is more complete than the file list from an alias repository.
        known = None if is_same(listed.ref, need.ref) else library.find(need.ref) if need.ref.pinned else None
        library.record(known or named(listed, need.ref))
    return PullResult(wanted, need.missing)


def _fetch(
    need: NeedPlan, source: PullSource, listed: Snapshot, library: Library, policy: Policy, on_event: Listener
) -> None:
    """Download a model's missing files from its source, with the help of the others, or after it if it is the only."""
    others = tuple(other for other in need.sources if other is not source)
    way = Way(source.name, source.hub, listed)
    if not source.only:
        fetch(need.to_fetch, way, library, policy, on_event, [source_finder(other, listed) for other in others])
        return
    try:
        if others and source.patience is not None:
            own = replace(policy, patience=source.patience)
            while_busy(
                lambda: fetch(lacking(library, need.wanted), way, library, own, on_event), policy.patience.lasting_s
            )
        else:
            fetch(need.to_fetch, way, library, policy, on_event)
    except (HubError, IntegrityError) as error:
        if not others:
            raise
        on_event(Noted(source.name, f"{error.message}; the next source is asked for the rest"))
        again = plan_need(others, library, on_event, need.selection, resolve_policy(policy))
        left = lacking(library, again.wanted)
        if left and again.source is not None and again.listed is not None:
            _fetch(replace(again, to_fetch=left), again.source, again.listed, library, policy, on_event)


def _unpack(need: NeedPlan, kind: str, library: Library, on_event: Listener) -> Snapshot:
    """Store the members of an archive, and return those that are needed. Raise IntegrityError if the lock differs."""
    members = need.unpacking.members if need.unpacking is not None else None
    if members is not None:
        on_event(Reading("unpack", len(members.files), members.size))
    report = (lambda size: on_event(Read(size))) if members is not None else (lambda _: None)
    whole = unpack(library, need.wanted, kind, report)
    if library.missing(whole):
        # A concurrent removal took a blob before the record was there, which protects it now.
        whole = unpack(library, need.wanted, kind)
    wanted = need.selection.of(whole)
    scan_and_report(wanted.files, library, need.selection.unsafe, on_event)
    return wanted
