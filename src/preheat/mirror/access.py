"""Access: who may have a repository's bytes: those whose own token, or none, opens it upstream."""

from preheat.errors import AccessDenied, HubUnavailable, IntegrityError, NoRanges, NotFound
from preheat.mirror.gate import CLOSED, OPEN, Gate, name_of
from preheat.mirror.ledger import Ledger
from preheat.mirror.memory import Memory
from preheat.mirror.upstream import Told
from preheat.ref import Ref
from preheat.snapshot import File

# Clients wait ten seconds for headers, so an upstream that is late is waited for less where that can be done without.
SOON_S = 3.0


class Access:
    """Threads may share it.

    The proof is a byte of the very file: a hub may list what it does not give. It holds for the repository and for
    `fresh_s` seconds, a no for `refused_s`. Which token opened what is kept in the ledger, for outages.
    """

    def __init__(self, gate: Gate, ledger: Ledger, fresh_s: float, refused_s: float) -> None:
        self._gate = gate
        self._ledger = ledger
        self._fresh_s = fresh_s
        self._refused_s = refused_s
        self._opened: Memory[bool] = Memory(lambda _opened: 0, heaviest=20_000)

    def admit(self, told: Told, file: File, token: str) -> Told:
        """Return through what a client with that token may have the bytes; raise AccessDenied if through nothing.

        Where nobody answers soon, what is open to all is given, and what is not, to whom it was opened before; else
        raise HubUnavailable. What needed a token is closed from then on, on disk.
        """
        ref = told.snapshot.ref
        if not told.privately:
            is_known = self._gate.state(ref) == OPEN or self.was_opened(ref, token)
            try:
                self._prove(told, file, "", SOON_S if is_known else None)
            except (AccessDenied, NotFound) as no:
                self.refused(ref, no)
                if not token:
                    raise
            except HubUnavailable:
                if self._gate.state(ref) == OPEN:
                    return told
                if not self.was_opened(ref, token):
                    raise
            else:
                if self._gate.state(ref) == CLOSED:
                    self._gate.note(ref, OPEN)  # it was opened to all since
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

    def refused(self, ref: Ref, no: AccessDenied | NotFound) -> None:
        """Learn that somebody without a token was refused: what is open to all no more stays closed in an outage."""
        if (isinstance(no, AccessDenied) or no.hidden) and self._gate.state(ref) == OPEN:
            self._gate.note(ref, CLOSED)

    def was_opened(self, ref: Ref, token: str) -> bool:
        """Whether that token opened it when upstream was last asked."""
        return bool(token) and (self._opened.last(_key(ref, token)) is not None or self._ledger.opened_to(ref, token))

    def _prove(self, told: Told, file: File, token: str, within_s: float | None) -> None:
        # An empty file is given without asking, so it proves nothing.
        proof = file if file.size else next((one for one in told.snapshot.files if one.size), None)
        if proof is not None:
            asked = proof
            key = _key(told.snapshot.ref, token)
            self._opened.recall(key, lambda: _opens(told, asked), self._fresh_s, self._refused_s, within_s)


def _key(ref: Ref, token: str) -> tuple[str, str, str, str]:
    return ref.hub, ref.kind, ref.repo, name_of(token)


def _opens(told: Told, file: File) -> bool:
    try:
        reader = told.hub.open(told.snapshot, file, 0, 1)
    except (NoRanges, IntegrityError):
        return True  # it gives something: whether that is what it should be, the fetch will say
    except HubUnavailable as error:
        if error.status in (401, 403):
            # A pull takes it for a signed address that has expired; this one was signed just now.
            raise AccessDenied(error.message) from error
        raise
    try:
        reader.readinto(memoryview(bytearray(1)))
    finally:
        reader.close()
    return True
