"""Pull: bring a model into the library."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from preheat.errors import HubError, IntegrityError, NotFound, PreheatError
from preheat.events import Listener, Resolved
from preheat.hub import Hub
from preheat.library.library import Library
from preheat.ref import Ref
from preheat.retry import USUAL, Patience, persist
from preheat.snapshot import Snapshot
from preheat.transfer.fetch import Policy, fetch
from preheat.transfer.route import Way
from preheat.verbs.scan import REFUSE, WARN, look_into


@dataclass(frozen=True, slots=True)
class Source:
    """Whom to ask for a model, and what it is called there; `name` is for people."""

    name: str
    hub: Hub
    ref: Ref


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought: the files asked for, and how many of their bytes were not here before."""

    snapshot: Snapshot
    fetched: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a model: the files that match `patterns`, all without any.

    `unsafe` says what to do about files that would run code of a stranger's when they are loaded. `locked` is what a
    lock says the files are; a hub that says otherwise is not believed.
    """

    patterns: Sequence[str] = ()
    unsafe: str = WARN
    locked: Snapshot | None = None


def pull(
    sources: Sequence[Source], library: Library, policy: Policy, on_event: Listener, wish: Wish = Wish()
) -> Pulled:
    """Resolve the model, fetch what is missing of the files wished for, verify and record it.

    The first source that answers says which files there are; the others help to bring those bytes, as far as they
    have the same. A commit whose files are all here is not asked about. Raise HubError, IntegrityError or LibraryError;
    what arrived by then is gone on from next time.
    """
    here = _here(sources[0].ref, library, wish)
    if here is not None:
        library.vouch(here.ref)
        on_event(Resolved(here.ref, here.commit, len(here.files), here.size, 0, 0))
        look_into(here.files if wish.unsafe == REFUSE else (), library, wish.unsafe, on_event)
        return Pulled(here, 0)
    source, told = resolve(sources, on_event, Patience(lasting_s=policy.patience.lasting_s))
    snapshot = _named(told, sources[0].ref)
    wanted = snapshot.only(wish.patterns) if wish.locked is None else _as_locked(snapshot, wish.locked)
    # The claim comes before the look: what is here then, stays.
    with library.wanted(wanted):
        if library.touched(wanted.files):
            from preheat.verbs.view import look_over  # most pulls have no use for it

            look_over(library, [wanted], on_event)
        missing = library.missing(wanted)
        to_come = sum(file.size - library.progress(file) for file in missing)
        on_event(Resolved(snapshot.ref, snapshot.commit, len(wanted.files), wanted.size, len(missing), to_come))
        if missing:
            library.prepare(sum(file.size - library.partial_size(file) for file in missing))
            helpers = [_finding(other, source, told) for other in sources if other is not source]
            fetch(missing, Way(source.name, source.hub, told), library, policy, on_event, helpers)
        look_into(wanted.files if wish.unsafe == REFUSE else missing, library, wish.unsafe, on_event)
        library.record(snapshot)
    return Pulled(wanted, to_come)


def _here(ref: Ref, library: Library, wish: Wish) -> Snapshot | None:
    """Return the files wished for of a commit that is recorded, if all are here: a commit cannot move."""
    known = library.find(ref) if ref.pinned else None
    if known is None:
        return None
    try:
        wanted = known.only(wish.patterns) if wish.locked is None else _as_locked(known, wish.locked)
    except (NotFound, IntegrityError):
        return None  # the hub may say better
    return None if library.missing(wanted) else wanted


def resolve(sources: Sequence[Source], on_event: Listener, patience: Patience = USUAL) -> tuple[Source, Snapshot]:
    """Ask one source after the other; return the first that has the model, and its snapshot.

    Raise the first source's error if none has it.
    """
    first: HubError | IntegrityError | None = None
    # Who has others to turn to does not wait long for one.
    patience = patience if len(sources) == 1 else Patience(attempts=2, lasting_s=0)
    for source in sources:
        try:
            snapshot = persist(partial(source.hub.resolve, source.ref), patience, str(source.ref), on_event)
        except (HubError, IntegrityError) as error:
            # Whatever is wrong with one source, the next may be right.
            first = first or error
        else:
            return source, snapshot
    assert first is not None
    raise first


def _named(told: Snapshot, ref: Ref) -> Snapshot:
    """Give what a source told the name that was asked for: where a twin stood in, its files stand under that."""
    stood_in = told.ref.hub != ref.hub
    return replace(told, ref=ref, commit=ref.revision if stood_in and ref.pinned else told.commit)


def _as_locked(snapshot: Snapshot, locked: Snapshot) -> Snapshot:
    """Keep the files that a lock names; raise IntegrityError where they are not what it says."""
    files = []
    for file in locked.files:
        now = snapshot.file(file.path)
        # A twin may name the same bytes by another algorithm; which commit has them, it was asked already.
        known = now is not None and now.digest.algorithm == file.digest.algorithm
        if now is None or now.size != file.size or (known and now.digest != file.digest):
            raise IntegrityError(
                f"{snapshot.ref}: {file.path} is not what the lock says it is",
                hint="do not trust this hub; preheat lock --check says what has changed",
            )
        files.append(now)
    return replace(snapshot, files=tuple(files))


def _finding(other: Source, source: Source, snapshot: Snapshot) -> Callable[[], Way | None]:
    """Return what asks another source, when called, for its own snapshot of the same."""
    ref = other.ref.at(snapshot.commit) if other.ref.hub == source.ref.hub else other.ref

    def find() -> Way | None:
        try:
            return Way(other.name, other.hub, other.hub.resolve(ref))
        except PreheatError:
            return None  # it was to help, and cannot

    return find
