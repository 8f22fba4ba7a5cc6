"""Recorded find: find files by records and saved upstream responses, without contacting upstream."""

from preheat.core.errors import AccessDenied, IntegrityError
from preheat.core.ref import Ref
from preheat.core.snapshot import File
from preheat.library.library import Library
from preheat.mirror.api.folders import ServedSnapshot
from preheat.mirror.upstream.private_blobs import brought_privately
from preheat.mirror.upstream.saved_answers import Ledger
from preheat.mirror.upstream.spoiled_files import Spoilt
from preheat.mirror.upstream.visibility import CLOSED, ELSEWHERE, OPEN, Gate


class Kept:
    """Find snapshots in the library, with the library's `gate` and `ledger`. Thread-safe."""

    def __init__(self, library: Library) -> None:
        self.gate = Gate(library.root)
        self.ledger = Ledger(library.root)
        self._library = library
        self._spoilt = Spoilt(library.root)

    def find(self, ref: Ref, token: str = "") -> ServedSnapshot | None:
        """Find the snapshot that a ref last resolved to, or None.

        Raise AccessDenied if the repository is private and `token` has not opened it before.
        """
        recorded = self._library.find(ref)
        snapshot = recorded or self.ledger.find(ref)
        if snapshot is None:
            return None
        state = self.gate.state(ref)
        if state == CLOSED and not self.ledger.opened_to(ref, token):
            raise AccessDenied(f"{ref} is private, and this mirror cannot check upstream whether your token opens it")

        def locate(file: File) -> str | None:
            # A saved file list alone proves nothing: its digests must not open bytes of other repositories.
            strange = recorded is None or (state in (OPEN, ELSEWHERE) and brought_privately(self._library.root, file))
            return None if strange else self.place(file)

        return ServedSnapshot(
            snapshot,
            locate,
            lambda: self.ledger.revisions(ref) | self._library.revisions(ref),
            continues=lambda file: not self._spoilt.has(file.digest),
        )

    def recorded(self, ref: Ref) -> bool:
        """Return whether the library has any version of the repository."""
        return bool(self._library.revisions(ref)) or self._library.find(ref) is not None

    def place(self, file: File) -> str | None:
        """Return the path of a file's blob; None if it is missing or damaged.

        Raise IntegrityError if the listing has another size than the blob: the wrong response would look complete.
        """
        size = self._library.sound_size(file)
        if size is None:
            return None
        if size != file.size:
            raise IntegrityError(f"{file.path} is listed with {file.size} bytes, but its blob has {size}")
        return self._library.location(file.digest)
