"""Archive writer: write an image to a tar, and rename it when complete. See archive_reader.py."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from preheat.core.digest import Digest, sha256
from preheat.disk.temporary_file import create, tidy
from preheat.oci.layers.layer import LARGE
from preheat.oci.layers.tar import END, Header, header, padding
from preheat.oci.layers.write_layer import OnBytes, write_all, write_content
from preheat.oci.local.blob_reader import REF_NAME
from preheat.oci.local.layout import target_trouble
from preheat.oci.model.content import Content, Small, require_digest
from preheat.oci.model.image import Fields, ImageDocument, read_manifest, write_json
from preheat.oci.model.interfaces import HERE, SHARED, WRITTEN

_NO_DIGEST = "0" * 64


class ArchiveTarget:
    """See Target. Writes a docker-archive if `docker`, else an oci-archive."""

    repository = ""
    parallel = 1

    def __init__(self, file: Path, tag: str, on_bytes: OnBytes, *, docker: bool) -> None:
        self.name = f"{'docker' if docker else 'oci'}-archive:{file}"
        self._file = file
        self._tag = tag
        self._on_bytes = on_bytes
        self._docker = docker
        self._turn = threading.Lock()
        self._there: set[Digest] = set()
        self._at = 0
        self._aside: Path | None = None
        self._out = -1

    def has(self, digest: Digest, size: int) -> bool:  # noqa: ARG002 - the digest is enough
        """See Target. Always False: an archive is written from scratch."""
        return digest in self._there

    def begin(self) -> None:
        """See Target."""
        with self._trouble():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            tidy(self._file)
            self._aside, self._out = create(self._file, 0o644)

    def put(self, content: Content) -> tuple[Digest, str]:
        """See Target."""
        return self._put(content, self._on_bytes)

    def _put(self, content: Content, on_bytes: OnBytes) -> tuple[Digest, str]:
        with self._turn, self._trouble():
            if content.digest in self._there and content.digest is not None:
                return content.digest, HERE
            at = self._at
            head = self._header(content.digest.hex if content.digest else _NO_DIGEST, content.size)
            self._write(head)
            found, shared = write_content(content, self._out, self._at, on_bytes)
            digest = sha256(found)
            require_digest(content, digest)
            self._at += content.size
            self._write(padding(content.size))
            if content.digest is None:
                os.pwrite(self._out, self._header(found, content.size, at), at)
            self._there.add(digest)
            return digest, SHARED if shared else WRITTEN

    def publish(self, manifest: ImageDocument, config: ImageDocument) -> None:
        """See Target."""
        self._put(Small("config", config.body, config.digest), _ignored)
        if self._docker:
            layers = [self._member(one.digest.hex) for one in read_manifest(manifest, self.name).layers]
            listed: list[Fields] = [
                {
                    "Config": self._member(config.digest.hex),
                    "RepoTags": [self._tag] if self._tag else [],
                    "Layers": layers,
                }
            ]
            last = {"manifest.json": _write_list(listed)}
        else:
            self._put(Small("manifest", manifest.body, manifest.digest), _ignored)
            described = manifest.descriptor.document()
            if self._tag:
                described["annotations"] = {REF_NAME: self._tag}
            last = {
                "oci-layout": write_json({"imageLayoutVersion": "1.0.0"}),
                "index.json": write_json({"schemaVersion": 2, "manifests": [described]}),
            }
        with self._trouble():
            for name, body in last.items():
                self._write(header(Header(name, size=len(body))) + body + padding(len(body)))
            self._write(END)
            os.fsync(self._out)
            assert self._aside is not None, "begun"
            self._aside.replace(self._file)

    def close(self) -> None:
        """See Target."""
        if self._aside is not None:
            os.close(self._out)
            self._aside.unlink(missing_ok=True)

    def _member(self, value: str) -> str:
        return f"{value}.tar" if self._docker else f"blobs/sha256/{value}"

    def _header(self, value: str, size: int, at: int | None = None) -> bytes:
        # Large blobs start on a page boundary, to share extents by reflink.
        return header(Header(self._member(value), size=size), self._at if at is None else at, aligned=size >= LARGE)

    def _write(self, body: bytes) -> None:
        write_all(self._out, memoryview(body), self._at)
        self._at += len(body)

    @contextlib.contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise target_trouble(self.name, error) from error


def _ignored(size: int) -> None:
    """Do not count the bytes of a document as progress."""


def _write_list(items: list[Fields]) -> bytes:
    return b"[" + b",".join(write_json(item) for item in items) + b"]"
