"""Pull: download a model into the library."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from preheat.core.errors import HubError, IntegrityError, NotFound, PreheatError
from preheat.core.events import Listener, Resolved
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.hub import Hub
from preheat.library.digest_check import lacking
from preheat.library.library import Library
from preheat.net.retry import USUAL, RetryPolicy, persist
from preheat.transfer.fetch import Policy, fetch
from preheat.transfer.route import Way
from preheat.verbs.scan import REFUSE, WARN, look_into


@dataclass(frozen=True, slots=True)
class PullSource:
    """A hub to download a model from, and the model's ref at that hub; `name` is for display."""

    name: str
    hub: Hub
    ref: Ref


@dataclass(frozen=True, slots=True)
class PullResult:
    """Result of a pull: the requested files, and the number of their bytes that had to be downloaded."""

    snapshot: Snapshot
    fetched: int


@dataclass(frozen=True, slots=True)
class Wish:
    """The files to pull of a model: those that match `patterns`, or all if there are none.

    `unsafe`: how to treat files that can run untrusted code when they are loaded (REFUSE, WARN or ALLOW). `locked`: the
    snapshot from the lock; files must match its digests, even if the hub returns others. It lists all files to pull,
    unless `partly` is set.
    """

    patterns: Sequence[str] = ()
    unsafe: str = WARN
    locked: Snapshot | None = None
    partly: bool = False

    def of(self, snapshot: Snapshot) -> Snapshot:
        """Return the requested files. Raise NotFound if one is missing, IntegrityError if one differs from the lock."""
        if self.locked is None:
            return snapshot.only(self.patterns)
        held = snapshot.held_to(self.locked)
        return held.only(self.patterns) if self.partly else held.at_paths(self.locked)


@dataclass(frozen=True, slots=True)
class Choice:
    """A resolved model: the requested files, and those of them that were missing at that time.

    `source` is the hub that resolved it, and `told` its snapshot; both are None if all files of a recorded commit are
    in the library, and no hub was asked.
    """

    wanted: Snapshot
    missing: tuple[File, ...] = ()
    source: PullSource | None = None
    told: Snapshot | None = None


def choose(sources: Sequence[PullSource], library: Library, policy: Policy, on_event: Listener, wish: Wish) -> Choice:
    """Resolve the model without downloading it; raise HubError or IntegrityError. See `pull`."""
    ref = sources[0].ref
    here = _here(ref, library, wish, on_event)
    if here is not None:
        return Choice(here)
    source, told = resolve(
        sources,
        on_event,
        RetryPolicy(lasting_s=policy.patience.lasting_s),
        lambda told: believed(told, ref, wish, library),
    )
    wanted = wish.of(_named(told, ref))
    return Choice(wanted, lacking(library, wanted), source, told)


def pull(
    sources: Sequence[PullSource],
    library: Library,
    policy: Policy,
    on_event: Listener,
    wish: Wish = Wish(),
    choice: Choice | None = None,
) -> PullResult:
    """Resolve the model, download its missing files, verify and record them.

    The first source that responds provides the file list; the others are additional download sources for the files
    that they have with the same digests. No hub is asked if all files of a pinned commit are in the library, or if
    `choice` is given: the result of `choose` for the same model. Raise HubError, IntegrityError or LibraryError; the
    next pull then resumes the download.
    """
    ref = sources[0].ref
    choice = choice or choose(sources, library, policy, on_event, wish)
    wanted, source, told = choice.wanted, choice.source, choice.told
    if source is None or told is None:
        library.vouch(wanted.ref)
        on_event(Resolved(wanted.ref, wanted.commit, len(wanted.files), wanted.size, 0, 0))
        look_into(wanted.files if wish.unsafe == REFUSE else (), library, wish.unsafe, on_event)
        return PullResult(wanted, 0)
    snapshot = _named(told, ref)
    # Claim the blobs before checking for them, so that a concurrent prune cannot remove them.
    with library.wanted(wanted):
        _look_over(library, wanted, on_event)
        missing = lacking(library, wanted)
        to_come = sum(file.size - library.progress(file) for file in missing)
        on_event(Resolved(snapshot.ref, snapshot.commit, len(wanted.files), wanted.size, len(missing), to_come))
        if missing:
            library.prepare(sum(file.size - library.partial_size(file) for file in missing))
            helpers = [_finding(other, told) for other in sources if other is not source]
            fetch(missing, Way(source.name, source.hub, told), library, policy, on_event, helpers)
        # Files that `take_in` found on disk since `choose` are new too, and must be scanned like downloaded ones.
        new = {file.digest: file for file in (*choice.missing, *missing)}.values()
        look_into(wanted.files if wish.unsafe == REFUSE else tuple(new), library, wish.unsafe, on_event)
        # An existing record of the commit is more complete than the file list from an alias repository.
        known = None if _is_same(told.ref, ref) else library.find(ref) if ref.pinned else None
        library.record(known or snapshot)
    return PullResult(wanted, to_come)


def _look_over(library: Library, wanted: Snapshot, on_event: Listener) -> None:
    touched = library.touched(wanted.files)
    if touched:
        from preheat.verbs.locked_needs import look_over  # imported here: most pulls do not need it

        # It reads the seals again: since they were read, another pull may have stored and sealed some of these files.
        look_over(library, [replace(wanted, files=touched)], on_event)


def _here(ref: Ref, library: Library, wish: Wish, on_event: Listener) -> Snapshot | None:
    """Return the requested files of a recorded commit, None if any is missing. A commit never changes."""
    known = library.find(ref) if ref.pinned else None
    if known is None:
        return None
    try:
        wanted = wish.of(known)
    except (NotFound, IntegrityError):
        return None  # the hub may have more files than the record
    _look_over(library, wanted, on_event)
    return None if lacking(library, wanted) else wanted


def believed(told: Snapshot, ref: Ref, wish: Wish, library: Library) -> Snapshot:
    """Check a source's snapshot of `ref` against the lock and the library's record, and return the checked snapshot.

    The lock's digests replace those from the source. Files of an alias repository are accepted for a pinned commit
    only if the lock or the commit's record lists them with the same digests. Raise IntegrityError if a file differs,
    NotFound if neither the lock nor a record lists the digests of the commit.
    """
    told = told if wish.locked is None else told.held_to(wish.locked)
    if not ref.pinned or _is_same(told.ref, ref):
        return told
    known = library.find(ref)
    vouched = {file.path for one in (wish.locked, known) if one is not None for file in one.files}
    kept = replace(told, files=tuple(file for file in told.files if file.path in vouched))
    unknown = [file.path for file in wish.of(told).files if file.path not in vouched]
    if unknown:
        raise NotFound(
            f"{told.ref} cannot replace {ref}: the digest of {unknown[0]} at that commit is unknown",
            hint="run preheat lock while the first hub is available, to record the digests",
        )
    return kept if known is None else kept.held_to(known.at_paths(kept))


def resolve(
    sources: Sequence[PullSource],
    on_event: Listener,
    patience: RetryPolicy = USUAL,
    check: Callable[[Snapshot], Snapshot] = lambda told: told,
) -> tuple[PullSource, Snapshot]:
    """Try the sources in order; return the first that has the model, and its snapshot as `check` returns it.

    A source whose snapshot fails `check` is skipped. Raise the first source's error if all of them fail.
    """
    first: HubError | IntegrityError | None = None
    # With other sources left, give up on each one earlier.
    patience = patience if len(sources) == 1 else RetryPolicy(attempts=2, lasting_s=0)
    for source in sources:
        try:
            told = persist(partial(source.hub.resolve, source.ref), patience, str(source.ref), on_event)
            snapshot = check(told)
        except (HubError, IntegrityError) as error:
            # Try the next source, whatever the error is.
            first = first or error
        else:
            return source, snapshot
    assert first is not None
    raise first


def _named(told: Snapshot, ref: Ref) -> Snapshot:
    """Return a source's snapshot under the requested ref; files of an alias repository get that ref, too."""
    stood_in = not _is_same(told.ref, ref)
    return replace(told, ref=ref, commit=ref.revision if stood_in and ref.pinned else told.commit)


def _is_same(ref: Ref, other: Ref) -> bool:
    """Return whether two refs name the same repository."""
    return (ref.hub, ref.kind, ref.repo) == (other.hub, other.kind, other.repo)


def _finding(other: PullSource, told: Snapshot) -> Callable[[], Way | None]:
    """Return a function that resolves the same model at another source, or returns None if that fails."""
    ref = other.ref.at(told.commit) if _is_same(other.ref, told.ref) else other.ref

    def find() -> Way | None:
        try:
            return Way(other.name, other.hub, other.hub.resolve(ref).named_as(told))
        except PreheatError:
            return None  # it is only an additional source

    return find
