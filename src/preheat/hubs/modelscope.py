"""ModelScope: a hub with the ModelScope API, over HTTP."""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from preheat.core.errors import AccessDenied, HubError, HubUnavailable, IntegrityError, NotFound, PreheatError
from preheat.core.ref import DATASET, Ref
from preheat.core.snapshot import File, Snapshot, listing_commit
from preheat.hubs.error_boundary import blames_the_hub
from preheat.hubs.file_range import FileLocation, Ranges
from preheat.hubs.http_errors import read_expired
from preheat.hubs.hub import Reader
from preheat.hubs.listing import MS_FILE, ListingLimit
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

_MOST_WORDS = 64 << 10


class ModelScope:
    """See Hub. Thread-safe.

    The hub has no commit for a whole tree, so a snapshot's commit is derived from its file list: `listing_commit`. A
    pinned ref is resolved by comparing the file lists of all branches and tags with it. The hub does return the commit
    that last changed each file. A file is requested by branch, as in ModelScope's own clients, and by that commit if
    the branch has moved since `resolve`.
    """

    def __init__(
        self,
        endpoint: str,
        transport: Transport,
        token: str = "",
        headers: Mapping[str, str] = MappingProxyType({}),
        listing: Callable[[Ref], ListingLimit] = ListingLimit,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._transport = transport
        self._listing = listing
        self._headers = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
        self.secrets = (token,) if token else ()
        self._ranges = Ranges(transport, self._denied)
        # (ref at its commit, path) -> (commit that last changed the file, branch that contains it)
        self._revisions: dict[tuple[Ref, str], tuple[str, str]] = {}

    @blames_the_hub
    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub. Raise HubError if the hub cannot list all files, since an incomplete model is useless."""
        if not ref.pinned:
            with self._listing(ref) as limit:
                return self._snapshot(ref, ref.revision, limit)
        for revision in self._candidates(ref):
            try:
                with self._listing(ref) as limit:
                    snapshot = self._snapshot(ref, revision, limit)
            except NotFound:
                continue
            if snapshot.commit == ref.revision:
                return snapshot
        raise NotFound(
            f"{ref}: no branch or tag contains the files of that commit",
            hint=f"to get the current version: preheat pull {ref.at(ref.branch)}",
        )

    @property
    def round_trip_s(self) -> float:
        """See Hub."""
        return self._transport.round_trip_s(self._endpoint)

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

    def _snapshot(self, ref: Ref, revision: str, limit: ListingLimit) -> Snapshot:
        listed = tuple(self._listed(ref, revision, limit))
        files = tuple(one.file for one in listed)
        snapshot = Snapshot(ref, listing_commit(files), files)
        at = ref.at(snapshot.commit)
        for one in listed:
            self._revisions[at, one.file.path] = (one.revision, revision)
        return snapshot

    def _candidates(self, ref: Ref) -> Iterator[str]:
        """Yield the revisions that may contain the files: branches, tags, and the commit (for preheat mirrors)."""
        with self._listing(ref) as limit:
            body = self._get(revisions_path(ref), str(ref), limit).body
            limit.parsing(body)
            revisions = read_revisions(body, str(ref))
        yield from revisions
        yield ref.revision

    # ---- listings

    def _listed(self, ref: Ref, revision: str, limit: ListingLimit) -> Iterator[ListedFile]:
        if ref.kind == DATASET:
            yield from self._pages(ref, revision, limit)
        else:
            yield from self._walk(ref, revision, limit)

    def _pages(self, ref: Ref, revision: str, limit: ListingLimit) -> Iterator[ListedFile]:
        for number in itertools.count(1):
            page = self._page(ref, tree_path(ref, revision, number), limit, is_later_page=number > 1)
            yield from page.files
            if page.entries < PAGE:
                return

    def _walk(self, ref: Ref, revision: str, limit: ListingLimit) -> Iterator[ListedFile]:
        """List all files with one request; if the hub truncates the list, folder by folder."""
        folders, is_later_page = [""], False
        while folders:
            folder = folders.pop()
            page = self._page(ref, files_path(ref, revision, folder), limit, is_later_page=is_later_page)
            is_later_page = True
            if page.entries >= MOST_ENTRIES:
                page = self._page(ref, files_path(ref, revision, folder, recursive=False), limit, is_later_page=True)
                inside = f"{folder}/" if folder else ""
                if page.entries >= MOST_ENTRIES or any(not below.startswith(inside) for below in page.folders):
                    raise HubError(
                        f"{ref} has more files in the folder {folder or '/'} than its hub lists: {MOST_ENTRIES}",
                        hint="pull it from another hub, if one has it",
                    )
                folders += [below for below in page.folders if below != folder]
            yield from page.files

    def _page(self, ref: Ref, path: str, limit: ListingLimit, *, is_later_page: bool) -> Page:
        try:
            body = self._get(path, str(ref), limit).body
            limit.parsing(body)
            page = read_page(body, str(ref))
        except AccessDenied as error:
            if not is_later_page:
                raise
            # Temporary, since an earlier page was readable: modelscope_hub/_legacy_api.py, _request_repo_tree.
            raise HubUnavailable(f"{error.message}, in the middle of its file list", hint="try again") from error
        limit.add(page.entries, len(body), MS_FILE)
        return page

    # ---- requests

    def _get(self, path: str, what: str, limit: ListingLimit) -> HttpDocument:
        document = self._transport.get(f"{self._endpoint}{path}", self._headers, limit.arrived)
        if document.status != 200:
            raise read_error(document.status, document.headers, document.body, what)
        return document

    def _denied(self, stream: Stream, what: str) -> PreheatError:
        if not re.match(r"application/json\b", stream.headers.get("Content-Type", "")):
            # The hub's errors are JSON; those of the storage that it redirects to are not.
            return read_expired(stream.status, what) or read_error(stream.status, stream.headers, b"", what)
        return read_error(stream.status, stream.headers, stream.read_start(_MOST_WORDS), what)
