"""Lost hub: remember the errors of the hubs behind a trace's mirror, to name them if the app fails because of them."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from preheat.core.errors import HubError, HubUnavailable
from preheat.core.events import Answered
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.hubs.hub import Hub, Reader
from preheat.mirror.api.request_url import asked_by
from preheat.mirror.upstream.requester import Asker
from preheat.mirror.upstream.upstream import Upstream
from preheat.proof.start.lost_host import LostHost, is_about_network, lost_host
from preheat.recipes.inference.trace_log import TraceLog

_Given = TypeVar("_Given")
_NO_STATUS = 400  # the first status of an error
_THROUGH = "through a proxy: export HTTPS_PROXY=http://HOST:PORT"


@dataclass(slots=True)
class HubFailures:
    """The last error of each hub, by its URL, in the order of the failures; a success forgets it. Thread-safe."""

    _errors: dict[str, HubError] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def watched(self, upstream: Upstream) -> Upstream:
        """Return the upstream, with hubs that report their failures here."""

        def connect(asker: Asker) -> Hub:
            return WatchedHub(upstream.connect(asker), upstream.url, self)

        return replace(upstream, connect=connect)

    def call(self, url: str, act: Callable[[], _Given]) -> _Given:
        """Call a hub's method, and note whether it failed."""
        try:
            result = act()
        except HubError as error:
            with self._turn:
                # The first error has the reason; while the hub rests, later ones only say that it does.
                if not isinstance(self._errors.get(url), HubUnavailable) or not isinstance(error, HubUnavailable):
                    self._errors[url] = error
            raise
        with self._turn:
            self._errors.pop(url, None)
        return result

    def lost(self, tail: Sequence[str], answered: Sequence[Answered], notes: TraceLog) -> LostHost | None:
        """Return the host for which an app failed that ended with these lines; None if that was not the reason.

        An app may do without a repository that a hub does not have, so its last error has to be about the network then.
        """
        about = is_about_network(tail)
        with self._turn:
            errors = [one for one in self._errors.items() if about or isinstance(one[1], HubUnavailable)]
        if errors:
            url, error = errors[-1]
            said, hint = error.message.removeprefix(f"{url} ").removeprefix(f"{url}: "), error.hint
            if isinstance(error, HubUnavailable) and not any(name in hint.lower() for name in ("proxy", "token")):
                hint = f"{hint}; {_THROUGH}" if hint else _THROUGH
            return LostHost(url, said, hint)
        found = lost_host(tail)
        if found is None or (found.host and not _is_here(found.host)):
            return found
        return _missing(answered, found) or found.named(_last_host(notes))


class WatchedHub:
    """See Hub. Reports failures of its methods."""

    def __init__(self, hub: Hub, url: str, failures: HubFailures) -> None:
        self._hub, self._url, self._failures = hub, url, failures

    @property
    def round_trip_s(self) -> float:
        """See Hub."""
        return self._hub.round_trip_s

    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub."""
        return self._failures.call(self._url, lambda: self._hub.resolve(ref))

    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """See Hub."""
        return self._failures.call(self._url, lambda: self._hub.open(snapshot, file, start, stop))


def _missing(answered: Sequence[Answered], found: LostHost) -> LostHost | None:
    """Return which file of a repository the mirror does not have, if that was its last response."""
    last = next((one for one in reversed(answered) if one.status >= _NO_STATUS), None)
    asked = asked_by(last.path) if last is not None else None
    if last is None or asked is None:
        return None
    what = f"it has no {asked.path}" if asked.path and last.status == 404 else f"status {last.status}"
    return LostHost(str(asked.ref), what, found.hint)


def _last_host(notes: TraceLog) -> str:
    """Return the last host that the app's Python processes tried to reach."""
    failed = [(one.at, urlsplit(one.url).netloc) for one in notes.replies if one.status >= _NO_STATUS]
    names = [one.host for one in notes.aims if not _is_here(one.host)]
    hosts = [host for _, host in sorted(failed) if not _is_here(host)]
    return next(iter(hosts[-1:] or names[-1:]), "")


def _is_here(host: str) -> bool:
    name = host.rpartition("://")[2].partition(":")[0].strip("[]")
    return name in ("localhost", "", "0.0.0.0") or name.startswith("127.")  # noqa: S104 - compared with
