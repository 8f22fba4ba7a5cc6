"""ModelScope: a hub with the ModelScope API, over HTTP."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from preheat.core.errors import AccessDenied, HubError, HubUnavailable, IntegrityError, NotFound, PreheatError
from preheat.core.ref import DATASET, Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.error_boundary import blames_the_hub
from preheat.hubs.file_range import FileLocation, Ranges
from preheat.hubs.http_errors import read_expired
from preheat.hubs.hub import Reader
from preheat.hubs.listing_commit import listing_commit
from preheat.hubs.ms_api import (
    ListedFile,
    Page,
    file_path,
    files_path,
    read_error,
    read_page,
    read_revisions,
    revisions_path,
    tree_path,
)
from preheat.hubs.ms_documents import MOST_ENTRIES, PAGE
from preheat.net.http import HttpDocument, Transport
from preheat.net.response import Stream

_MOST_PAGES = 5000
_MOST_WORDS = 64 << 10


class ModelScope:
    """See Hub. Threads may share it.

    The hub names no commit for a whole tree, so a snapshot's is made of its listing: `listing_commit`. A ref pinned to
    one is looked for among the branches and tags, and found if one of them has just those files. What the hub does
    name is the commit that last changed each file. A file is asked for by branch, as the hub's own clients do, and by
    that commit where the branch has moved on since `resolve`.
    """

    def __init__(
        self, endpoint: str, transport: Transport, token: str = "", headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._transport = transport
        self._headers = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
        self._ranges = Ranges(transport, self._denied)
        # By a ref at its commit, and a path: the commit that last changed the file, and a branch that has it.
        self._revisions: dict[tuple[Ref, str], tuple[str, str]] = {}

    @blames_the_hub
    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub. Files that the hub will not list all make a HubError, since half a model is none."""
        if not ref.pinned:
            return self._snapshot(ref, ref.revision)
        for revision in self._candidates(ref):
            try:
                snapshot = self._snapshot(ref, revision)
            except NotFound:
                continue
            if snapshot.commit == ref.revision:
                return snapshot
        raise NotFound(
            f"{ref}: no branch or tag of it has the files of that commit",
            hint=f"preheat pull {ref.at(ref.branch)} for what it has now",
        )

    @blames_the_hub
    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """See Hub."""
        default = snapshot.ref.branch if snapshot.ref.pinned else snapshot.ref.revision
        commit, branch = self._revisions.get((snapshot.ref.at(snapshot.commit), file.path), ("", default))
        try:
            return self._open(snapshot.ref, branch, file, start, stop)
        except (NotFound, IntegrityError) as error:
            if not commit:
                raise
            try:
                return self._open(snapshot.ref, commit, file, start, stop)
            except (NotFound, IntegrityError):
                raise error from None

    def _open(self, ref: Ref, revision: str, file: File, start: int, stop: int) -> Reader:
        url = f"{self._endpoint}{file_path(ref, revision, file.path)}"
        return self._ranges.open(FileLocation(url, f"{ref} {file.path}", self._headers), file, start, stop)

    def _snapshot(self, ref: Ref, revision: str) -> Snapshot:
        listed = tuple(self._listed(ref, revision))
        files = tuple(one.file for one in listed)
        snapshot = Snapshot(ref, listing_commit(files), files)
        at = ref.at(snapshot.commit)
        for one in listed:
            self._revisions[at, one.file.path] = (one.revision, revision)
        return snapshot

    def _candidates(self, ref: Ref) -> Iterator[str]:
        """Name the revisions that may have the files: all branches and tags, and the commit, which our mirrors know."""
        yield from read_revisions(self._get(revisions_path(ref), str(ref)).body, str(ref))
        yield ref.revision

    # ---- listings

    def _listed(self, ref: Ref, revision: str) -> Iterator[ListedFile]:
        if ref.kind == DATASET:
            yield from self._pages(ref, revision)
        else:
            yield from self._walk(ref, revision)

    def _pages(self, ref: Ref, revision: str) -> Iterator[ListedFile]:
        for number in range(1, _MOST_PAGES + 1):
            page = self._page(ref, tree_path(ref, revision, number), again=number > 1)
            yield from page.files
            if page.entries < PAGE:
                return
        raise HubError(f"the hub lists the files of {ref} without end", hint="try another --endpoint")

    def _walk(self, ref: Ref, revision: str) -> Iterator[ListedFile]:
        """List all at once; where the hub cuts that short, folder by folder."""
        folders, asked = [""], 0
        while folders:
            folder = folders.pop()
            page = self._page(ref, files_path(ref, revision, folder), again=asked > 0)
            asked += 1
            if page.entries >= MOST_ENTRIES:
                page = self._page(ref, files_path(ref, revision, folder, recursive=False), again=True)
                inside = f"{folder}/" if folder else ""
                if page.entries >= MOST_ENTRIES or any(not below.startswith(inside) for below in page.folders):
                    raise HubError(
                        f"{ref} has more files in the folder {folder or '/'} than its hub lists: {MOST_ENTRIES}",
                        hint="take it from another hub, if one has it",
                    )
                folders += [below for below in page.folders if below != folder]
            if asked > _MOST_PAGES:
                raise HubError(f"the hub lists the files of {ref} without end", hint="try another --endpoint")
            yield from page.files

    def _page(self, ref: Ref, path: str, *, again: bool) -> Page:
        try:
            return read_page(self._get(path, str(ref)).body, str(ref))
        except AccessDenied as error:
            if not again:
                raise
            # It has just let us read the page before: modelscope_hub/_legacy_api.py, _request_repo_tree.
            raise HubUnavailable(f"{error.message}, in the middle of its list", hint="try again") from error

    # ---- asking

    def _get(self, path: str, what: str) -> HttpDocument:
        document = self._transport.get(f"{self._endpoint}{path}", self._headers)
        if document.status != 200:
            raise read_error(document.status, document.headers, document.body, what)
        return document

    def _denied(self, stream: Stream, what: str) -> PreheatError:
        if not re.match(r"application/json\b", stream.headers.get("Content-Type", "")):
            # The hub says why in JSON; what it redirects to, a store of bytes, does not.
            return read_expired(stream.status, what) or read_error(stream.status, stream.headers, b"", what)
        buffer = memoryview(bytearray(_MOST_WORDS))
        return read_error(stream.status, stream.headers, bytes(buffer[: stream.readinto(buffer)]), what)
