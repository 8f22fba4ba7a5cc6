"""Model reader: read what the files of a snapshot are, from their blobs in the library; each blob once."""

from pathlib import Path

from preheat.core.digest import SHA256, Digest, hasher
from preheat.core.errors import LibraryError, UsageError, did_you_mean
from preheat.core.snapshot import File
from preheat.desk.file_kind import FileKind, read_kind
from preheat.desk.model_apps import KINDS
from preheat.disk.file_hash import feed_all
from preheat.disk.regular_file import open_regular, read_regular, why
from preheat.views.view_protocol import BlobPath

_MOST_TEXT = 1 << 20  # bytes of a template or of parameters


class ModelReader:
    """Reads files at `blob_path`. `told` is the kind that the user has named for all files; it overrides the one read.

    Raise UsageError if it is unknown.
    """

    def __init__(self, blob_path: BlobPath, told: str = "") -> None:
        if told and told not in KINDS:
            raise UsageError(
                f"{told!r} is not a kind of model", hint=f"{did_you_mean(told, KINDS)}the kinds are {', '.join(KINDS)}"
            )
        self.told = told
        self._blob_path = blob_path
        self._seen: dict[Digest, FileKind] = {}
        self._hashes: dict[Digest, str] = {}

    def look(self, file: File) -> FileKind:
        """Return the kind that is read from the file. Raise LibraryError if it cannot be read."""
        if file.digest not in self._seen:
            try:
                self._seen[file.digest] = read_kind(self._blob(file))
            except OSError as error:
                raise _unread(file, error) from error
        return self._seen[file.digest]

    def kind(self, file: File) -> str:
        """Return the kind that the user has named, else the one that is read from the file; empty if it is unknown."""
        return self.told or self.look(file).kind

    def sha256(self, file: File) -> str:
        """Return the file's sha256 in hex; reads a file whose hub lists another digest, as of small files in git."""
        if file.digest.algorithm == SHA256:
            return file.digest.hex
        if file.digest not in self._hashes:
            try:
                naming = hasher(SHA256, file.size)
                with open_regular(self._blob(file)) as opened:
                    feed_all(opened.fileno(), (naming,), lambda _: None)
                self._hashes[file.digest] = naming.hexdigest()
            except OSError as error:
                raise _unread(file, error) from error
        return self._hashes[file.digest]

    def text(self, file: File) -> bytes:
        """Return the content of a small file. Raise LibraryError if it cannot be read, or has more than 1 MiB."""
        try:
            return read_regular(self._blob(file), _MOST_TEXT)
        except OSError as error:
            raise _unread(file, error) from error

    def _blob(self, file: File) -> Path:
        return Path(self._blob_path(file.digest))


def _unread(file: File, error: OSError) -> LibraryError:
    return LibraryError(
        f"{file.path} cannot be read in the library: {why(error)}", hint="to find the damaged blobs: preheat verify"
    )
