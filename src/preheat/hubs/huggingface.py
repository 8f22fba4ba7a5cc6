"""HuggingFace: a hub that speaks the Hugging Face API, over plain HTTP."""

import re
from collections.abc import Mapping
from urllib.parse import urljoin

from preheat.errors import HubError, IntegrityError
from preheat.hub import Reader
from preheat.hubs.hf_wire import info_path, next_page, read_error, read_info, read_tree, resolve_path, tree_path
from preheat.ref import Ref
from preheat.snapshot import File, Snapshot
from preheat.transport import Document, Stream, Transport


class HuggingFace:
    """See Hub. One request resolves a ref; more only where the hub lists its files in pages."""

    def __init__(self, endpoint: str, transport: Transport, token: str = "") -> None:
        self._endpoint = endpoint.rstrip("/")
        self._transport = transport
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub."""
        info = read_info(self._get(f"{self._endpoint}{info_path(ref)}", str(ref)).body, ref)
        files = info.files if info.files is not None else self._tree(ref, info.commit)
        return Snapshot(ref, info.commit, files)

    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """See Hub."""
        url = f"{self._endpoint}{resolve_path(snapshot.ref, snapshot.commit, file.path)}"
        whole = start == 0 and stop == file.size
        headers = self._headers if whole else {**self._headers, "Range": f"bytes={start}-{stop - 1}"}
        stream = self._transport.stream(url, headers)
        try:
            match stream.status:
                case 206:
                    _check_range(stream.headers, file, start, stop)
                    return stream
                case 200:
                    _check_size(stream.headers, file)
                    return stream if start == 0 else _skipping(stream, start)
                case status:
                    raise read_error(status, stream.headers, f"{snapshot.ref} {file.path}")
        except BaseException:
            stream.close()
            raise

    def _tree(self, ref: Ref, commit: str) -> tuple[File, ...]:
        files: list[File] = []
        url: str | None = f"{self._endpoint}{tree_path(ref, commit)}"
        seen = set()
        while url is not None:
            if url in seen:
                raise HubError(f"the hub lists the files of {ref} without end", hint="try another --endpoint")
            seen.add(url)
            page = self._get(url, str(ref))
            files += read_tree(page.body)
            link = next_page(page.headers.get("Link"))
            url = urljoin(url, link) if link else None
        return tuple(files)

    def _get(self, url: str, what: str) -> Document:
        document = self._transport.get(url, self._headers if url.startswith(f"{self._endpoint}/") else {})
        if document.status != 200:
            raise read_error(document.status, document.headers, what)
        return document


def _check_range(headers: Mapping[str, str], file: File, start: int, stop: int) -> None:
    said = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", "").strip())
    if said is None or (int(said[1]), int(said[2]) + 1) != (start, stop) or said[3] not in ("*", str(file.size)):
        raise IntegrityError(
            f"asked for bytes {start}-{stop - 1} of {file.size} of {file.path}, "
            f"the hub sends {headers.get('Content-Range', 'some')!r}",
            hint="the file there is not the one listed; try another --endpoint",
        )


def _check_size(headers: Mapping[str, str], file: File) -> None:
    length = headers.get("Content-Length")
    if length is not None and length != str(file.size):
        raise IntegrityError(
            f"{file.path} should have {file.size} bytes, the hub sends {length}",
            hint="the file there is not the one listed; try another --endpoint",
        )


def _skipping(stream: Stream, size: int) -> Stream:
    """Read past what was not asked for: a hub that knows no ranges sends everything."""
    buffer = memoryview(bytearray(256 << 10))
    while size:
        count = stream.readinto(buffer[: min(size, len(buffer))])
        if count == 0:
            raise HubError("the hub ended its answer early")
        size -= count
    return stream
