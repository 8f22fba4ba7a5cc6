"""Pull sources: the hubs to download a model from, and which of their file lists to accept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from preheat.core.errors import HubError, IntegrityError, NotFound, PreheatError
from preheat.core.events import Listener
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.core.values.replace import replace
from preheat.hubs.hub import Hub
from preheat.library.library import Library
from preheat.net.retry import HASTY, USUAL, RetryPolicy, persist
from preheat.transfer.route import Way
from preheat.verbs.scan import WARN


@dataclass(frozen=True, slots=True)
class PullSource:
    """A hub to download a model from, and the model's ref at that hub; `name` is for display.

    While an `only` source works, the others are not asked for the files that it has. `patience`: how long it is retried
    while there are others, None for as long as the last one. `local`: its bytes are on this machine.
    """

    name: str
    hub: Hub
    ref: Ref
    only: bool = False
    patience: RetryPolicy | None = None
    local: bool = False


@dataclass(frozen=True, slots=True)
class FileSelection:
    """The files to pull of a model: those that match `patterns`, or all if there are none.

    `unsafe`: how to treat files that can run untrusted code when they are loaded (REFUSE, WARN or ALLOW). `locked`: the
    snapshot from the lock; files must match its digests, even if the hub returns others. It lists all files to pull,
    unless `partly` is set. `unpack` is `zip` or `tar` if the files are the members of an archive,
    of `archive_size` bytes if the lock knows it.
    """

    patterns: Sequence[str] = ()
    unsafe: str = WARN
    locked: Snapshot | None = None
    partly: bool = False
    unpack: str = ""
    archive_size: int | None = None

    @property
    def known(self) -> Snapshot | None:
        """Return the requested files if the lock lists all of them."""
        return None if self.partly else self.locked

    def held(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot with the digests of the lock, if there is one. Raise IntegrityError if a file differs."""
        return snapshot if self.locked is None else snapshot.held_to(self.locked)

    def of(self, snapshot: Snapshot) -> Snapshot:
        """Return the requested files. Raise NotFound if one is missing, IntegrityError if one differs from the lock."""
        if self.locked is None:
            return snapshot.only(self.patterns)
        held = snapshot.held_to(self.locked)
        return held.only(self.patterns) if self.partly else held.at_paths(self.locked)


ALL_FILES = FileSelection()


def checked(listed: Snapshot, ref: Ref, selection: FileSelection, library: Library) -> Snapshot:
    """Check a source's snapshot of `ref` against the lock and the library's record, and return the checked snapshot.

    The lock's digests replace those from the source. Files of an alias repository are accepted for a pinned commit
    only if the lock or the commit's record lists them with the same digests. Raise IntegrityError if a file differs,
    NotFound if neither the lock nor a record lists the digests of the commit.
    """
    listed = listed if selection.locked is None else listed.held_to(selection.locked)
    if not ref.pinned or is_same(listed.ref, ref):
        return listed
    known = library.find(ref)
    vouched = {file.path for one in (selection.locked, known) if one is not None for file in one.files}
    kept = replace(listed, files=tuple(file for file in listed.files if file.path in vouched))
    unknown = [file.path for file in selection.of(listed).files if file.path not in vouched]
    if unknown:
        raise NotFound(
            f"{listed.ref} cannot replace {ref}: the digest of {unknown[0]} at that commit is unknown",
            hint="to record the digests while the first hub is available: preheat lock",
        )
    return kept if known is None else kept.held_to(known.at_paths(kept))


def resolve(
    sources: Sequence[PullSource],
    on_event: Listener,
    patience: RetryPolicy = USUAL,
    check: Callable[[Snapshot], Snapshot] = lambda listed: listed,
) -> tuple[PullSource, Snapshot]:
    """Try the sources in order; return the first that has the model, and its snapshot as `check` returns it.

    A source whose snapshot fails `check` is skipped. Raise the first source's error if all of them fail.
    """
    first: HubError | IntegrityError | None = None
    # With other sources left, give up on each one earlier.
    patience = patience if len(sources) == 1 else HASTY
    for source in sources:
        try:
            listed = persist(partial(source.hub.resolve, source.ref), patience, str(source.ref), on_event)
            snapshot = check(listed)
        except (HubError, IntegrityError) as error:
            # After any error, try the next source.
            first = first or error
        else:
            return source, snapshot
    assert first is not None
    raise first


def named(listed: Snapshot, ref: Ref) -> Snapshot:
    """Return a source's snapshot under the requested `ref`, also if it is of an alias repository."""
    stood_in = not is_same(listed.ref, ref)
    return replace(listed, ref=ref, commit=ref.revision if stood_in and ref.pinned else listed.commit)


def is_same(ref: Ref, other: Ref) -> bool:
    """Return whether two refs name the same repository."""
    return (ref.hub, ref.kind, ref.repo) == (other.hub, other.kind, other.repo)


def source_finder(other: PullSource, listed: Snapshot) -> Callable[[], Way | None]:
    """Return a function that resolves the same model at another source, or returns None if that fails."""
    ref = other.ref.at(listed.commit) if is_same(other.ref, listed.ref) else other.ref

    def find() -> Way | None:
        try:
            return Way(other.name, other.hub, other.hub.resolve(ref).named_as(listed))
        except PreheatError:
            return None  # it is only an additional source

    return find
