"""Layout: images in a folder (OCI image specification 1.1, image-layout.md).

    oci-layout                  {"imageLayoutVersion": "1.0.0"}
    index.json                  an index; the tag of each manifest is in `org.opencontainers.image.ref.name`
    blobs/sha256/HEX            everything else, by digest

Blobs are written to temporary files, synced and renamed. The index is written last, and replaced atomically.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from preheat.core.digest import Digest, sha256
from preheat.core.errors import SOURCE, TARGET, ImageError
from preheat.disk.regular_file import read_regular
from preheat.disk.temporary_file import create, sync_folder, tidy
from preheat.oci.layers.write_layer import Told, pour, write_all
from preheat.oci.local.blob_reader import REF_NAME, BlobReader
from preheat.oci.model.content import Content, FileSpan, require_digest
from preheat.oci.model.image import ImageDocument, read_json, write_json
from preheat.oci.model.interfaces import HERE, SHARED, WRITTEN

_VERSION = write_json({"imageLayoutVersion": "1.0.0"})
_GLANCE_S = 0.2  # an indefinite wait may miss a signal
_BLOB = "blob"  # prefix of temporary files, whose digest is not known yet


def open_layout(folder: Path, tag: str) -> BlobReader:
    """Open a layout to read an image. Raise ImageError if the folder is not a layout."""
    if not (folder / "index.json").is_file():
        raise ImageError(f"{folder} is not an OCI layout: it has no index.json", hint="oci:DIR:TAG", end=SOURCE)

    def find(name: str) -> FileSpan | None:
        path = folder / name
        return FileSpan(path, 0, path.stat().st_size) if path.is_file() else None

    return BlobReader(f"oci:{folder}", find, tag)


class LayoutTarget:
    """See Target."""

    repository = ""
    # Hashing a layer is limited to one core, which most disks outpace.
    parallel = 2

    def __init__(self, folder: Path, tag: str, told: Told) -> None:
        self.name = f"oci:{folder}:{tag}"
        self._folder = folder
        self._tag = tag
        self._told = told
        self._blobs = folder / "blobs" / "sha256"
        self._asides: list[Path] = []
        # The fsync of a blob is slow, so it runs while the next blob is written.
        self._naming = ThreadPoolExecutor(1)
        self._named: list[Future[None]] = []

    def has(self, digest: Digest, size: int) -> bool:
        """See Target."""
        try:
            return (self._blobs / digest.hex).stat().st_size == size
        except OSError:
            return False

    def begin(self) -> None:
        """See Target."""
        with _trouble(self.name):
            self._blobs.mkdir(parents=True, exist_ok=True)
            tidy(self._folder / _BLOB)

    def put(self, content: Content) -> tuple[Digest, str]:
        """See Target."""
        if content.digest is not None and self.has(content.digest, content.size):
            return content.digest, HERE
        with _trouble(self.name), self._aside() as (aside, out):
            found, shared = pour(content, out, 0, self._told)
            digest = sha256(found)
            require_digest(content, digest)
            os.fchmod(out, 0o644)
            self._named.append(self._naming.submit(self._give_name, os.dup(out), aside, self._blobs / digest.hex))
        return digest, SHARED if shared else WRITTEN

    def publish(self, manifest: ImageDocument, config: ImageDocument) -> None:
        """See Target."""
        self._settle()
        with _trouble(self.name):
            for document in (config, manifest):
                if not self.has(document.digest, len(document.body)):
                    self._write(self._blobs / document.digest.hex, document.body)
            sync_folder(self._blobs)
            self._write(self._folder / "oci-layout", _VERSION)
            lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                # Two builds may update the same index. Lock the folder, since its files are replaced.
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._write(self._folder / "index.json", self._index(manifest))
            finally:
                os.close(lock)
            sync_folder(self._folder)

    def close(self) -> None:
        """See Target."""
        self._naming.shutdown(wait=True)
        # After an interruption, the temporary files of threads that are still running must not be left behind.
        for path in tuple(self._asides):
            with contextlib.suppress(OSError):
                path.unlink()

    def _settle(self) -> None:
        named, self._named = self._named, []
        with _trouble(self.name):
            for one in named:
                while not one.done():
                    wait([one], _GLANCE_S)
                one.result()

    def _give_name(self, out: int, aside: Path, name: Path) -> None:
        try:
            os.fsync(out)
            aside.replace(name)
        finally:
            os.close(out)

    def _index(self, manifest: ImageDocument) -> bytes:
        try:
            index = read_json(read_regular(self._folder / "index.json"), self.name)
        except FileNotFoundError:
            index = {"schemaVersion": 2}
        listed = index.get("manifests")
        others = [one for one in listed if _tag_of(one) != self._tag] if isinstance(listed, list) else []
        described = manifest.descriptor.document()
        if self._tag:
            described["annotations"] = {REF_NAME: self._tag}
        return write_json({**index, "manifests": [*others, described]})

    def _write(self, path: Path, body: bytes) -> None:
        if path.is_file() and path.read_bytes() == body:
            return
        with self._aside() as (aside, out):
            write_all(out, memoryview(body), 0)
            os.fchmod(out, 0o644)
            os.fsync(out)
            aside.replace(path)

    @contextlib.contextmanager
    def _aside(self) -> Iterator[tuple[Path, int]]:
        """Open a locked temporary file in the layout, with a name that is not taken for a blob."""
        path, out = create(self._folder / _BLOB, 0o600)
        self._asides.append(path)
        try:
            yield path, out
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(out)


def _tag_of(listed: object) -> str:
    annotations = listed.get("annotations") if isinstance(listed, dict) else None
    return str(annotations.get(REF_NAME, "")) if isinstance(annotations, dict) else ""


@contextlib.contextmanager
def _trouble(name: str) -> Iterator[None]:
    """Convert OSError to ImageError."""
    try:
        yield
    except OSError as error:
        raise target_trouble(name, error) from error


def target_trouble(name: str, error: OSError) -> ImageError:
    """Return an ImageError for an OSError while writing an image."""
    said = os.strerror(error.errno).lower() if error.errno else str(error)
    return ImageError(
        f"{name} cannot be written: {said}", hint="free some disk space, or choose another destination", end=TARGET
    )
