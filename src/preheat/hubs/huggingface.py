"""HuggingFace: a hub with the Hugging Face API, over HTTP."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import urljoin, urlsplit

from preheat.core.errors import HubError, PreheatError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.error_boundary import blames_the_hub
from preheat.hubs.file_range import FileLocation, Ranges
from preheat.hubs.hf_api import Info, info_path, next_page, read_error, read_info, read_tree, resolve_path, tree_path
from preheat.hubs.http_errors import read_expired
from preheat.hubs.hub import Reader
from preheat.hubs.listing import ListingLimit
from preheat.net.http import HttpDocument, Transport
from preheat.net.response import Stream


class HuggingFace:
    """See Hub. Resolving a ref takes one request, or more if the hub lists the files in pages."""

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
        self._ranges = Ranges(transport, _denied)

    @blames_the_hub
    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub."""
        with self._listing(ref) as limit:
            info = self._info(ref, limit)
            files = info.files if info.files is not None else self._tree(ref, info.commit, limit)
        if info.named and not files:
            raise HubError(f"the hub names files of {ref}, but lists none", hint="try another --endpoint")
        return Snapshot(ref, info.commit, files)

    @property
    def round_trip_s(self) -> float:
        """See Hub."""
        return self._transport.round_trip_s(self._endpoint)

    @blames_the_hub
    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """See Hub."""
        url = f"{self._endpoint}{resolve_path(snapshot.ref, snapshot.commit, file.path)}"
        return self._ranges.open(FileLocation(url, f"{snapshot.ref} {file.path}", self._headers), file, start, stop)

    def _info(self, ref: Ref, limit: ListingLimit) -> Info:
        body = self._get(f"{self._endpoint}{info_path(ref)}", str(ref), limit).body
        limit.parsing(body)
        return read_info(body, ref)

    def _tree(self, ref: Ref, commit: str, limit: ListingLimit) -> tuple[File, ...]:
        files: list[File] = []
        url: str | None = f"{self._endpoint}{tree_path(ref, commit)}"
        seen = set[str]()
        while url is not None:
            if url in seen:
                raise HubError(f"the hub lists the files of {ref} without end", hint="try another --endpoint")
            seen.add(url)
            page = self._get(url, str(ref), limit)
            limit.parsing(page.body)
            listed = read_tree(page.body)
            limit.add(len(listed), len(page.body))
            files += listed
            link = next_page(page.headers.get("Link"))
            url = self._here(urljoin(url, link)) if link else None
        return tuple(files)

    def _here(self, url: str) -> str:
        """Return the URL of a page at this endpoint: a mirror may pass on the links of the hub that it mirrors."""
        if url.startswith(f"{self._endpoint}/"):
            return url
        parts = urlsplit(url)
        return f"{self._endpoint}{parts.path}{'?' if parts.query else ''}{parts.query}"

    def _get(self, url: str, what: str, limit: ListingLimit) -> HttpDocument:
        headers = self._headers if url.startswith(f"{self._endpoint}/") else {}
        document = self._transport.get(url, headers, limit.arrived)
        if document.status != 200:
            raise read_error(document.status, document.headers, what)
        return document


def _denied(stream: Stream, what: str) -> PreheatError:
    if not any(name.lower().startswith("x-error-") for name in stream.headers):
        # The hub sends X-Error headers; the storage that it redirects to does not.
        expired = read_expired(stream.status, what)
        if expired is not None:
            return expired
    return read_error(stream.status, stream.headers, what)
