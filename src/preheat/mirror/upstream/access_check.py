"""Access check: a client may have a repository's bytes if upstream serves them to its token, or without one."""

from preheat.core.errors import AccessDenied, HubUnavailable, IntegrityError, NoRanges, NotFound
from preheat.core.ref import Ref
from preheat.core.snapshot import File
from preheat.mirror.upstream.answer_cache import AnswerCache
from preheat.mirror.upstream.recorded_find import Kept
from preheat.mirror.upstream.upstream import Told, Upstream, Upstreams
from preheat.mirror.upstream.visibility import CLOSED, ELSEWHERE, OPEN, name_of

# Clients time out after 10 seconds without headers, so wait less for a slow upstream if a cached answer will do.
SOON_S = 3.0


class AccessCheck:
    """Check a client's access upstream by downloading one byte of a file: a hub may list files that it does not serve.

    A success is cached for the repository and `fresh_s` seconds, a refusal for `refused_s`. The ledger also records
    which token opened which repository, for outages. Thread-safe.
    """

    def __init__(self, upstreams: Upstreams, kept: Kept, fresh_s: float, refused_s: float) -> None:
        self._upstreams = upstreams
        self._gate = kept.gate
        self._ledger = kept.ledger
        self._fresh_s = fresh_s
        self._refused_s = refused_s
        self._opened: AnswerCache[bool] = AnswerCache(lambda _opened: 0, heaviest=20_000)

    def admit(self, told: Told, file: File, token: str) -> Told:
        """Return the upstream response through which a client with `token` may have a file; else raise AccessDenied.

        If upstream does not answer in time, public repositories are served, and private ones to clients whose token has
        opened them before; for others raise HubUnavailable. A repository that needs a token is recorded as private on
        disk.
        """
        ref = told.snapshot.ref
        if not told.privately:
            is_known = self._gate.state(ref) in (OPEN, ELSEWHERE) or self.was_opened(ref, token)
            try:
                self._prove(told, file, "", SOON_S if is_known else None)
            except (AccessDenied, NotFound) as no:
                self.refused(told.upstream, told.snapshot.ref, no)
                if not self._takes(told, token):
                    raise
            except HubUnavailable:
                if self._gate.state(told.snapshot.ref) in (OPEN, ELSEWHERE):
                    return told
                if not self._takes(told, token) or not self.was_opened(told.snapshot.ref, token):
                    raise
            else:
                # Success at another upstream does not make the hub's repository public.
                if self._takes(told, "any") and self._gate.state(told.snapshot.ref) == CLOSED:
                    self._gate.note(told.snapshot.ref, OPEN)  # it has become public
                return told
        private = told if told.privately else told.with_token(token)
        try:
            self._prove(private, file, token, SOON_S if self.was_opened(ref, token) else None)
        except HubUnavailable:
            if not self.was_opened(ref, token):
                raise
        except (AccessDenied, NotFound):
            self._ledger.close_to(ref, token)
            raise
        else:
            self._ledger.open_to(ref, token)
        self._gate.note(ref, CLOSED)
        return private

    def refused(self, upstream: Upstream, ref: Ref, no: AccessDenied | NotFound) -> None:
        """Record that a client without a token was refused: the repository then stays private during an outage."""
        hidden = isinstance(no, AccessDenied) or no.hidden
        if hidden and upstream is self._upstreams.origin(ref.hub) and self._gate.state(ref) == OPEN:
            self._gate.note(ref, CLOSED)

    def was_opened(self, ref: Ref, token: str) -> bool:
        """Return whether `token` opened the repository at the last check."""
        origin = self._upstreams.origin(ref.hub)
        if not token or origin is None:
            return False
        return self._opened.last(_key(origin, ref, token)) is not None or self._ledger.opened_to(ref, token)

    def _takes(self, told: Told, token: str) -> bool:
        """Return whether `token` may be sent to that upstream."""
        return bool(token) and told.upstream is self._upstreams.origin(told.upstream.hub)

    def _prove(self, told: Told, file: File, token: str, within_s: float | None) -> None:
        # An empty file is served without contacting upstream, so it proves nothing.
        proof = file if file.size else next((one for one in told.snapshot.files if one.size), None)
        if proof is not None:
            asked = proof
            key = _key(told.upstream, told.snapshot.ref, token)
            self._opened.recall(key, lambda: _opens(told, asked), self._fresh_s, self._refused_s, within_s)


def _key(upstream: Upstream, ref: Ref, token: str) -> tuple[str, str, str, str, str]:
    return upstream.url, ref.hub, ref.kind, ref.repo, name_of(token)


def _opens(told: Told, file: File) -> bool:
    try:
        reader = told.hub.open(told.snapshot, file, 0, 1)
    except (NoRanges, IntegrityError):
        return True  # it sends bytes; the download checks them
    except HubUnavailable as error:
        if error.status in (401, 403):
            # In a pull, this status means that a signed URL has expired; but this URL was signed just now.
            raise AccessDenied(error.message) from error
        raise
    try:
        reader.readinto(memoryview(bytearray(1)))
    finally:
        reader.close()
    return True
