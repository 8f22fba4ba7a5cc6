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
    """Whom to ask for a model, and what it is called there; `name` is for people."""

    name: str
    hub: Hub
    ref: Ref


@dataclass(frozen=True, slots=True)
class PullResult:
    """What a pull brought: the files asked for, and how many of their bytes were not here before."""

    snapshot: Snapshot
    fetched: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a model: the files that match `patterns`, all without any.

    `unsafe` says what to do about files that would run code of a stranger's when they are loaded. `locked` is what a
    lock says the files are: their bytes must have its digests, whatever a hub says. It names all files wished for,
    unless it is `partly`.
    """

    patterns: Sequence[str] = ()
    unsafe: str = WARN
    locked: Snapshot | None = None
    partly: bool = False

    def of(self, snapshot: Snapshot) -> Snapshot:
        """Keep the files wished for. Raise NotFound where one is missing, IntegrityError where the lock says other."""
        if self.locked is None:
            return snapshot.only(self.patterns)
        held = snapshot.held_to(self.locked)
        return held.only(self.patterns) if self.partly else held.at_paths(self.locked)


@dataclass(frozen=True, slots=True)
class Choice:
    """What was resolved: the files wished for, and those of them that were missing then.

    `source` has them and told so; None where all of a recorded commit is here, and nobody had to be asked.
    """

    wanted: Snapshot
    missing: tuple[File, ...] = ()
    source: PullSource | None = None
    told: Snapshot | None = None


def choose(sources: Sequence[PullSource], library: Library, policy: Policy, on_event: Listener, wish: Wish) -> Choice:
    """Resolve the model without pulling it; raise HubError or IntegrityError. See pull."""
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
    """Resolve the model, fetch what is missing of the files wished for, verify and record it.

    The first source that answers says which files there are; the others help to bring those bytes, as far as they
    have the same. A commit whose files are all here is not asked about; nor is anybody where a `choice` is given, which
    `choose` has made of the same. Raise HubError, IntegrityError or LibraryError; what arrived by then is gone on from
    next time.
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
    # The claim comes before the look: what is here then, stays.
    with library.wanted(wanted):
        _look_over(library, wanted, on_event)
        missing = lacking(library, wanted)
        to_come = sum(file.size - library.progress(file) for file in missing)
        on_event(Resolved(snapshot.ref, snapshot.commit, len(wanted.files), wanted.size, len(missing), to_come))
        if missing:
            library.prepare(sum(file.size - library.partial_size(file) for file in missing))
            helpers = [_finding(other, told) for other in sources if other is not source]
            fetch(missing, Way(source.name, source.hub, told), library, policy, on_event, helpers)
        # What was missing before and was found elsewhere meanwhile is as new as what was fetched.
        new = {file.digest: file for file in (*choice.missing, *missing)}.values()
        look_into(wanted.files if wish.unsafe == REFUSE else tuple(new), library, wish.unsafe, on_event)
        # What another repository told of a commit is less than its record, if there is one.
        known = None if _is_same(told.ref, ref) else library.find(ref) if ref.pinned else None
        library.record(known or snapshot)
    return PullResult(wanted, to_come)


def _look_over(library: Library, wanted: Snapshot, on_event: Listener) -> None:
    if library.touched(wanted.files):
        from preheat.verbs.locked_needs import look_over  # most pulls have no use for it

        look_over(library, [wanted], on_event)


def _here(ref: Ref, library: Library, wish: Wish, on_event: Listener) -> Snapshot | None:
    """Return the files wished for of a commit that is recorded, if all are here: a commit cannot move."""
    known = library.find(ref) if ref.pinned else None
    if known is None:
        return None
    try:
        wanted = wish.of(known)
    except (NotFound, IntegrityError):
        return None  # the hub may say better
    _look_over(library, wanted, on_event)
    return None if lacking(library, wanted) else wanted


def believed(told: Snapshot, ref: Ref, wish: Wish, library: Library) -> Snapshot:
    """Hold what a source told of `ref` to what is known of it already, and return it so.

    The lock's digests take the place of those told. Another repository's files stand for a pinned commit only by their
    digests: those that the lock, or the commit's record, has too. Raise IntegrityError where a file is another one,
    NotFound where nothing says which bytes the commit has.
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
            f"{told.ref} cannot stand in for {ref}: nothing says which bytes {unknown[0]} has at that commit",
            hint="preheat lock, while the first hub answers: then digests say which bytes are the same",
        )
    return kept if known is None else kept.held_to(known.at_paths(kept))


def resolve(
    sources: Sequence[PullSource],
    on_event: Listener,
    patience: RetryPolicy = USUAL,
    check: Callable[[Snapshot], Snapshot] = lambda told: told,
) -> tuple[PullSource, Snapshot]:
    """Ask one source after the other; return the first that has the model, and what `check` makes of its snapshot.

    A source whose snapshot `check` does not let pass is passed over. Raise the first source's error if none is left.
    """
    first: HubError | IntegrityError | None = None
    # Who has others to turn to does not wait long for one.
    patience = patience if len(sources) == 1 else RetryPolicy(attempts=2, lasting_s=0)
    for source in sources:
        try:
            told = persist(partial(source.hub.resolve, source.ref), patience, str(source.ref), on_event)
            snapshot = check(told)
        except (HubError, IntegrityError) as error:
            # Whatever is wrong with one source, the next may be right.
            first = first or error
        else:
            return source, snapshot
    assert first is not None
    raise first


def _named(told: Snapshot, ref: Ref) -> Snapshot:
    """Give what a source told the name that was asked for: where a twin stood in, its files stand under that."""
    stood_in = not _is_same(told.ref, ref)
    return replace(told, ref=ref, commit=ref.revision if stood_in and ref.pinned else told.commit)


def _is_same(ref: Ref, other: Ref) -> bool:
    """Whether two refs name the same repository."""
    return (ref.hub, ref.kind, ref.repo) == (other.hub, other.kind, other.repo)


def _finding(other: PullSource, told: Snapshot) -> Callable[[], Way | None]:
    """Return what asks another source, when called, for its own snapshot of the same."""
    ref = other.ref.at(told.commit) if _is_same(other.ref, told.ref) else other.ref

    def find() -> Way | None:
        try:
            return Way(other.name, other.hub, other.hub.resolve(ref).named_as(told))
        except PreheatError:
            return None  # it was to help, and cannot

    return find
