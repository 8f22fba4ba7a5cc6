"""Upstream: the hub or other mirror from which a mirror downloads missing files."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from preheat.core.errors import AccessDenied, HubError, HubUnavailable, IntegrityError, MirrorBusy, PreheatError
from preheat.core.ref import Ref, issues_tokens
from preheat.core.snapshot import Snapshot
from preheat.hubs.hub import Hub
from preheat.mirror.upstream.requester import Asker
from preheat.transfer.route import Way

_REST_S = 5.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """An endpoint of a hub (`hf` or `ms`); `connect` returns its Hub for a client, with the client's token."""

    hub: str
    url: str
    connect: Callable[[Asker], Hub]


@dataclass(frozen=True, slots=True)
class Told:
    """The snapshot that an upstream returned for a ref.

    `hub` opens the snapshot's files on the upstream, with the token of `asker`, if it has one.
    """

    upstream: Upstream
    hub: Hub
    snapshot: Snapshot
    asker: Asker

    @property
    def privately(self) -> bool:
        """Whether a token was needed."""
        return bool(self.asker.token)

    @property
    def way(self) -> Way:
        """The route to the snapshot's bytes."""
        return Way(self.upstream.url, self.hub, self.snapshot)

    def with_token(self, token: str) -> "Told":
        """Return a copy that opens files with a client's token."""
        asker = self.asker.named(token)
        return replace(self, hub=self.upstream.connect(asker), asker=asker)


@dataclass(slots=True)
class Upstreams:
    """The upstreams, tried in the order given.

    An upstream that does not answer, or asks to slow down, is not tried again for at least 5 seconds. An error about
    one repository does not affect others. Thread-safe.
    """

    every: Sequence[Upstream]
    _rests: dict[str, float] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def of(self, hub: str) -> list[Upstream]:
        """Return a hub's upstreams."""
        return [one for one in self.every if one.hub == hub]

    def origin(self, hub: str) -> Upstream | None:
        """Return the only upstream of a hub that receives clients' tokens: the hub itself, else the first one given."""
        ours = self.of(hub)
        own = [one for one in ours if issues_tokens(hub, urlsplit(one.url).hostname or "")]
        return next(iter(own or ours), None)

    def tokens_for(self, upstream: Upstream, token: str) -> Sequence[str]:
        """Return the tokens to try at an upstream, in order: none (""), then the client's if it belongs there."""
        return ("", token) if token and upstream is self.origin(upstream.hub) else ("",)

    def resolve(self, upstream: Upstream, ref: Ref, asker: Asker) -> Told:
        """Resolve `ref` at one upstream with the token of `asker`, if any; raise HubError."""
        with self._turn:
            rests = time.monotonic() < self._rests.get(upstream.url, 0.0)
        if rests:
            raise HubUnavailable(f"{upstream.url} does not answer", wait_s=_REST_S)
        hub = upstream.connect(asker)
        try:
            return Told(upstream, hub, hub.resolve(ref), asker)
        except MirrorBusy:
            raise
        except HubUnavailable as error:
            if error.status in (0, 429):
                self._rest(upstream, error)
            raise

    def helpers(self, told: Told) -> list[Callable[[], Way | None]]:
        """Return functions that each resolve the same snapshot at one of the other upstreams.

        Empty for a private snapshot: the other upstreams have no credentials for it, and must not learn its name.
        """
        if told.privately:
            return []
        others = [one for one in self.of(told.snapshot.ref.hub) if one is not told.upstream]
        ref = told.snapshot.ref.at(told.snapshot.commit)
        return [_finding(other, ref, told.asker) for other in others]

    def _rest(self, upstream: Upstream, error: HubUnavailable) -> None:
        with self._turn:
            self._rests[upstream.url] = time.monotonic() + max(_REST_S, min(error.wait_s or 0.0, 60.0))


def gravest(errors: Iterable[HubError | IntegrityError]) -> HubError | IntegrityError | None:
    """Return the error to report if no upstream succeeded: unavailable before denied, and denied before any other."""
    told = list(errors)
    for kind in (HubUnavailable, AccessDenied, HubError):
        found = next((one for one in told if isinstance(one, kind)), None)
        if found is not None:
            return found
    return next(iter(told), None)


def _finding(other: Upstream, ref: Ref, asker: Asker) -> Callable[[], Way | None]:
    def find() -> Way | None:
        hub = other.connect(asker.named(""))
        try:
            return Way(other.url, hub, hub.resolve(ref))
        except PreheatError:
            return None  # a helper is optional

    return find
