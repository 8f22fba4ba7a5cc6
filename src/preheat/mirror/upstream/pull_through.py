"""Pull-through: find missing files upstream, and download them while serving them."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from preheat.core.errors import AccessDenied, HubError, HubUnavailable, IntegrityError, LibraryError, NotFound
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.library.library import Library
from preheat.library.records.records import MIRROR
from preheat.mirror.api.folders import ServedSnapshot
from preheat.mirror.http.messages import Arriving
from preheat.mirror.upstream.access_check import SOON_S, AccessCheck
from preheat.mirror.upstream.answer_cache import AnswerCache, Late
from preheat.mirror.upstream.fetches import Fetches
from preheat.mirror.upstream.private_blobs import Possession
from preheat.mirror.upstream.recorded_find import Kept
from preheat.mirror.upstream.requester import Asker
from preheat.mirror.upstream.upstream import Errand, Told, Upstream, Upstreams, gravest
from preheat.mirror.upstream.visibility import CLOSED, ELSEWHERE, OPEN, name_of
from preheat.net.retry import is_busy


@dataclass(frozen=True, slots=True)
class Remembering:
    """Seconds for which upstream responses are cached: resolved refs, access, and refusals."""

    meaning_s: float = 60.0
    access_s: float = 300.0
    refusal_s: float = 10.0


class PullThrough:
    """Resolve refs upstream, with the clients' tokens only, and serve and download files. Thread-safe."""

    def __init__(
        self,
        library: Library,
        upstreams: Upstreams,
        fetches: Fetches,
        remembering: Remembering = Remembering(),
        by: str = MIRROR,
    ) -> None:
        self.fetches = fetches
        self._library = library
        self._upstreams = upstreams
        self._remembering = remembering
        self._by = by
        self._kept = kept = Kept(library)
        self._gate, self._ledger = kept.gate, kept.ledger
        self._access = AccessCheck(upstreams, kept, remembering.access_s, remembering.refusal_s)
        self._possession = Possession(library, upstreams)
        self._told: AnswerCache[Told] = AnswerCache(lambda told: len(told.snapshot.files))

    def find(self, ref: Ref, asker: Asker) -> ServedSnapshot | None:
        """Resolve `ref` upstream for `asker`, else from the library and saved responses; None if it is not found.

        Clients time out after 10 seconds without headers, so a slow upstream is waited for only if no earlier response
        is saved. Raise AccessDenied or HubUnavailable if neither source can answer.
        """
        if not self._upstreams.of(ref.hub):
            return self._kept.find(ref, asker.token)
        try:
            return self._find(ref, asker, SOON_S)
        except Late as late:
            found = self._last_known(ref, asker, late)
            if found is None:
                return self._find(ref, asker, None)
            return found if found.fetch is not None else replace(found, fetch=self._patiently(ref, asker))

    def _find(self, ref: Ref, asker: Asker, within_s: float | None) -> ServedSnapshot | None:
        refused: AccessDenied | None = None
        try:
            answers = self._answers(ref, asker, within_s)
            told = next(answers)
        except Late:
            raise
        except NotFound:
            pass
        except AccessDenied as error:
            refused = error
        except HubError as error:
            # Includes responses that are not a hub's: a captive portal's or proxy's page.
            found = self._last_known(ref, asker, error)
            if found is None and (not self._ledger.is_absent(ref) or self._gate.state(ref) == CLOSED):
                raise
            return found
        else:
            return self._found(told, asker, answers)
        own = self._kept.find(ref) if not self._gate.state(ref) else None
        if own is None and refused is not None:
            raise refused
        return own

    # ---- resolving

    def _answers(self, ref: Ref, asker: Asker, within_s: float | None) -> Iterator[Told]:
        """Yield each upstream's response, tried in turn without a token, then with the client's at the hub itself.

        Raise HubError or IntegrityError if there is no response, Late as `recall` does.
        """
        errors: list[HubError | IntegrityError] = []
        answered = False
        closed = self._gate.state(ref) == CLOSED
        for upstream in self._upstreams.of(ref.hub) if closed else self._upstreams.in_turn(ref.hub):
            for token in self._upstreams.tokens_for(upstream, asker.token):
                try:
                    told = self._recall(upstream, ref, asker.named(token), within_s)
                except (NotFound, AccessDenied) as no:
                    errors.append(no)
                    if not token:
                        self._access.refused(upstream, ref, no)
                    continue
                except Late:
                    raise
                except (HubError, IntegrityError) as error:
                    errors.append(error)
                    if self._is_closed_at(upstream, ref):
                        # No other upstream can resolve a private repository while its hub is down.
                        raise
                    break
                answered = True
                yield told
                break
        if answered:
            return
        worst = gravest(errors)
        if isinstance(worst, NotFound) and self._gate.state(ref) != CLOSED:
            self._ledger.note_absent(ref)
        raise worst if worst is not None else NotFound(f"{ref}: this mirror has no upstream for it")

    def _is_closed_at(self, upstream: Upstream, ref: Ref) -> bool:
        return upstream is self._upstreams.origin(ref.hub) and self._gate.state(ref) == CLOSED

    def _recall(self, upstream: Upstream, ref: Ref, asker: Asker, within_s: float | None) -> Told:
        times, key = self._remembering, (ref, upstream.url, name_of(asker.token))
        return self._told.recall(
            key, lambda: self._learn(upstream, ref, asker), times.meaning_s, times.refusal_s, within_s
        )

    def _learn(self, upstream: Upstream, ref: Ref, asker: Asker) -> Told:
        """Resolve `ref` upstream, and save the response for outages and restarts."""
        told = self._upstreams.resolve(upstream, ref, asker)
        known = self._library.find(ref.at(told.snapshot.commit))
        if known is not None and known.unlisted is None and known.files == told.snapshot.files:
            # The same tuple, so that each file's download compares the two lists at once.
            told = replace(told, snapshot=known.named(told.snapshot.ref))
        own = not self._gate.state(ref) and self._kept.recorded(ref)
        if told.privately and own:
            return told  # do not record a private file list for a repository that the operator serves to all clients
        with contextlib.suppress(LibraryError):
            if told.privately:
                self._gate.note(ref, CLOSED)
            self._ledger.note(told.snapshot)
            if known is not None:
                self._library.record(told.snapshot, self._by)  # its files were downloaded before the branch was known
        return told

    def _last_known(self, ref: Ref, asker: Asker, error: HubError) -> ServedSnapshot | None:
        """Return the last known snapshot; for a private repository, only if the client's token has opened it before."""
        token = asker.token
        told = self._last(ref, token)
        if self._gate.state(ref) == CLOSED and not self._access.was_opened(ref, token):
            # The list was sent to this very token; the bytes still need proof of access.
            return replace(self._found(told, asker), stale=not ref.pinned) if told is not None and token else None
        told = self._last(ref, "") or told
        if told is not None:
            return replace(self._found(told, asker), stale=not ref.pinned)
        found = self._kept.find(ref, token)
        if found is None:
            return None
        # An upstream that is merely slow can still send bytes.
        fetch = None if isinstance(error, Late) else _in_vain(error)
        return replace(found, stale=not ref.pinned, fetch=fetch)

    def _patiently(self, ref: Ref, asker: Asker) -> Callable[[File], Arriving]:
        """Return a function that waits for upstream's file list, then downloads a file."""

        def fetch(file: File) -> Arriving:
            told = next(self._answers(ref, asker, None))
            found = self._found(told, asker)
            if found.fetch is None or not any(one.digest == file.digest for one in told.snapshot.files):
                raise HubUnavailable(f"{file.path} is not downloaded, and upstream has changed", wait_s=1.0)
            found.admit(file)
            return found.fetch(file)

        return fetch

    def _last(self, ref: Ref, token: str) -> Told | None:
        keys = ((ref, upstream.url, name_of(token)) for upstream in self._upstreams.of(ref.hub))
        return next((told for key in keys if (told := self._told.last(key)) is not None), None)

    # ---- serving

    def _found(self, told: Told, asker: Asker, others: Iterable[Told] = ()) -> ServedSnapshot:
        """Return a response as a ServedSnapshot; try `others` for a file that its upstream lists but does not serve."""
        snapshot, library, ref, token = told.snapshot, self._library, told.snapshot.ref, asker.token
        # Versions that the operator added to the library are public.
        own = not self._gate.state(snapshot.ref) and self._kept.recorded(snapshot.ref)
        way: list[Told] = []

        def admit(file: File) -> None:
            here = library.has(file.digest)
            if not (own and here):
                way.append(self._admit(told, file, token, others))
                if here:
                    keep()  # the blob was downloaded for another repository, so no download will record this one

        def is_recorded() -> bool:
            if not (own or self._gate.state(snapshot.ref)) or library.find(snapshot.ref) != snapshot:
                return False
            return bool(self._by) or not library.records.added_by(ref.at(snapshot.commit))

        def keep() -> None:
            if not own and not self._gate.state(snapshot.ref):
                self._gate.note(ref, OPEN if told.upstream is self._upstreams.origin(ref.hub) else ELSEWHERE)
            if is_recorded():
                return
            known = library.find(snapshot.ref)
            library.record(snapshot, self._by)
            if known is None:
                self._name(snapshot)

        def prove(file: File) -> None:
            if way:
                self._possession.require(way[-1], file)

        def fetch(file: File) -> Arriving:
            through = way[-1] if way else self._admit(told, file, token, others)
            if through.privately:
                self._possession.note_private(file, through)
            helpers, fallbacks = self._upstreams.helpers(through), self._upstreams.fallbacks(through)
            return self.fetches.join(
                Errand(snapshot, file, through.way, helpers, keep, asker.client, is_recorded, fallbacks)
            )

        def revisions() -> dict[str, str]:
            return library.revisions(snapshot.ref) | (
                {} if snapshot.ref.pinned else {snapshot.ref.revision: snapshot.commit}
            )

        return ServedSnapshot(
            snapshot, self._kept.place, revisions, admit, fetch, prove=prove, continues=self.fetches.continues
        )

    def _admit(self, told: Told, file: File, token: str, others: Iterable[Told]) -> Told:
        """Return the first response whose upstream serves the file to this client."""
        try:
            return self._access.admit(told, file, token)
        except (HubError, IntegrityError) as error:
            refused = isinstance(error, (NotFound, AccessDenied))
            if is_busy(error) and self._upstreams.fallbacks(told) and not self._library.has(file.digest):
                return told  # the download waits for it, and proves the same
            if not refused and (told.privately or self._gate.state(told.snapshot.ref) == CLOSED):
                raise  # the other upstreams must not learn the name of a private repository
            for other in _until_silent(others):
                if other.snapshot.commit == told.snapshot.commit and other.snapshot.file(file.path) == file:
                    with contextlib.suppress(HubError, IntegrityError):
                        return self._access.admit(other, file, token)
            raise

    def _name(self, snapshot: Snapshot) -> None:
        """Record a commit's branches: a client that downloads a whole repository names the branch only once."""
        for revision, commit in self._ledger.revisions(snapshot.ref).items():
            if commit == snapshot.commit:
                self._library.record(snapshot.named(snapshot.ref.at(revision)), self._by)


def _in_vain(error: HubError) -> Callable[[File], Arriving]:
    def fetch(file: File) -> Arriving:
        wait_s = error.wait_s if isinstance(error, HubUnavailable) else None
        raise HubUnavailable(f"{file.path} is not downloaded, and {error.message}", hint=error.hint, wait_s=wait_s)

    return fetch


def _until_silent(answers: Iterable[Told]) -> Iterator[Told]:
    """Yield the responses until one fails."""
    with contextlib.suppress(HubError, IntegrityError):
        yield from answers
