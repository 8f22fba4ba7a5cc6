"""Downloads: find the files on disk that have the bytes of HTTP responses, whatever their names are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from preheat.core.digest import SHA256, sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.mirror.api.request_url import Asked, asked_at, asked_by
from preheat.recipes.inference.observation import HubFile, Loaded
from preheat.recipes.inference.trace_log import Body, Reply, file_name
from preheat.verbs.tracing.observing.file_hashes import FileHashes
from preheat.verbs.tracing.observing.written_files import WrittenFile
from preheat.verbs.tracing.traced_start import ObservedStart

_LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 - compared with
# Small files often have the same size by chance, large ones rarely.
_TELLING = 4096


class Downloads:
    """The responses of one start that did not come through the mirror, compared with the files on disk."""

    def __init__(
        self,
        seen: ObservedStart,
        written: Mapping[str, WrittenFile],
        hashes: FileHashes,
        resolve: Callable[[Ref], Snapshot | None],
    ) -> None:
        self._seen, self._written, self._hashes, self._resolve = seen, written, hashes, resolve
        replies = seen.notes.replies
        redirects = [one for one in replies if 300 <= one.status < 400 and one.location]
        self._led_from = {one.leads_to or urljoin(one.url, one.location): one for one in redirects}
        self._modules = {reply.url: reply.modules for reply in replies}
        self._by_size: dict[int, list[str]] = {}
        for path in written:
            size = hashes.size(path)
            if size:
                self._by_size.setdefault(size, []).append(path)
        self._known: dict[Ref, Snapshot | None] = {}

    def found(self) -> tuple[tuple[Loaded, ...], tuple[HubFile, ...]]:
        """Return the files that no hub has, and those that a hub has; a file in two places is two files."""
        loaded: list[Loaded] = []
        served: list[HubFile] = []
        taken: set[str] = set()
        for url, bodies in self._bodies().items():
            for path in self._paths_of(bodies):
                if path not in taken:
                    taken.add(path)
                    self._take(url, path, self._modules.get(bodies[0].url, ()), loaded, served)
        hashed = {body.url for body in self._seen.notes.bodies}
        for reply in self._seen.notes.replies:
            # A response whose bytes are unknown: another client's, or one with a Content-Encoding.
            if (
                reply.method == "GET"
                and reply.status == 200
                and (reply.url not in hashed or reply.size is None)
                and not self._is_own(reply.url)
            ):
                origin = self._origin(reply)
                likely = self._likely(reply, origin, taken)
                if likely is not None:
                    taken.add(likely)
                    self._take(origin, likely, reply.modules, loaded, served)
        return tuple(loaded), tuple(served)

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return the versions at hubs that the app's URLs named."""
        return tuple(one for one in self._known.values() if one is not None)

    def saved_archives(self, folder: Path) -> Iterable[tuple[Loaded, Path]]:
        """Yield the archives that were saved as they were downloaded, each with its file in `folder`."""
        done: set[str] = set()
        for body in self._seen.notes.bodies:
            whole = body.start == 0 and body.total in (None, body.read)
            path = folder / body.saved
            if not body.saved or not whole or body.sha256 in done or self._is_own(body.url):
                continue
            digest = sha256(body.sha256)
            if self._hashes.size(str(path)) == body.read and self._hashes.digest(str(path), SHA256) == digest:
                done.add(body.sha256)
                kept = next((one for one in self._by_size.get(body.read, ()) if self._has(one, body.sha256)), "")
                yield Loaded(self._origin(body), kept, body.read, digest, self._modules.get(body.url, ())), path

    def _origin(self, answer: Reply | Body) -> str:
        """Return the URL that was requested before any redirects: redirect targets may expire."""
        passed: set[str] = set()
        url, name = answer.url, answer.key or answer.url
        while name in self._led_from and name not in passed:
            passed.add(name)
            url = self._led_from[name].url
            name = self._led_from[name].key or url
        return url

    def _bodies(self) -> dict[str, list[Body]]:
        found: dict[str, list[Body]] = {}
        for body in self._seen.notes.bodies:
            if not self._is_own(body.url):
                found.setdefault(self._origin(body), []).append(body)
        return found

    def _is_own(self, url: str) -> bool:
        """Return whether a URL is the mirror's, or the app's own server."""
        lead = self._seen.lead
        if url.startswith(tuple(f"{place}/" for place in (lead.plain, lead.secure) if place)):
            return True
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            return True
        return (host in _LOOPBACK or host.startswith("127.")) and port in self._seen.own_ports

    def _paths_of(self, bodies: Sequence[Body]) -> list[str]:
        """Return the files that consist of these responses' bytes: of one whole response, or of ranges of it."""
        found = [
            path
            for body in bodies
            if body.start == 0
            for path in self._by_size.get(body.read, ())
            if self._has(path, body.sha256)
        ]
        if not found:
            totals = {body.total for body in bodies if body.total}
            found = [path for total in totals for path in self._by_size.get(total, ()) if self._covers(path, bodies)]
        return list(dict.fromkeys(found))

    def _has(self, path: str, hex_digest: str) -> bool:
        return self._hashes.digest(path, SHA256) == sha256(hex_digest)

    def _covers(self, path: str, bodies: Sequence[Body]) -> bool:
        """Return whether the ranges cover the file without a gap, and have its bytes."""
        reached, size = 0, self._hashes.size(path) or 0
        for body in sorted(bodies, key=lambda one: (one.start, -one.read)):
            if body.start > reached:
                return False
            if body.start + body.read > reached:
                if not self._hashes.range_is(path, body.start, body.read, body.sha256):
                    continue
                reached = body.start + body.read
        return reached == size

    def _likely(self, reply: Reply, origin: str, taken: set[str]) -> str | None:
        """Find the file that a response's body was written to: by size and name, else by size alone."""
        names = {file_name(url) for url in (reply.url, origin)} - {""}
        fit = [
            path
            for path, written in self._written.items()
            if path not in taken
            and written.at >= reply.at - 60
            and (size := self._hashes.size(path))
            and size == (reply.size or size)
        ]
        named = [path for path in fit if path.rpartition("/")[2] in names]
        if named:
            return min(named, key=lambda path: abs(self._written[path].at - reply.at))
        alike = [path for path in fit if reply.size is not None and reply.size > _TELLING]
        return alike[0] if len(alike) == 1 else None

    def _take(self, url: str, path: str, modules: tuple[str, ...], loaded: list[Loaded], served: list[HubFile]) -> None:
        digest = self._hashes.digest(path, SHA256)
        if digest is None:
            return
        hub = self._from_hub(url, path)
        if hub is not None:
            served.append(hub)
        else:
            loaded.append(Loaded(url, path, self._hashes.size(path) or 0, digest, modules))

    def _from_hub(self, url: str, path: str) -> HubFile | None:
        """Return the hub's file that a URL names, also at a hub's mirror, if the bytes are the hub's."""
        for asked in (asked_at(url), _asked_anywhere(url)):
            if asked is None or not asked.path:
                continue
            if asked.ref not in self._known:
                self._known[asked.ref] = self._resolve(asked.ref)
            snapshot = self._known[asked.ref]
            file = snapshot.file(asked.path) if snapshot is not None else None
            if snapshot is None or file is None or file.size != self._hashes.size(path):
                continue
            if self._hashes.digest(path, file.digest.algorithm) == file.digest:
                return HubFile(snapshot.ref, snapshot.commit, file)
        return None


def _asked_anywhere(url: str) -> Asked | None:
    """Parse the path of a URL as a mirror of a hub would, whatever its host is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if "/resolve/" not in parts.path and not parts.path.startswith("/api/v1/"):
        return None
    return asked_by(f"{parts.path}{'?' + parts.query if parts.query else ''}")
