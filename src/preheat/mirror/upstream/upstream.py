"""Upstream: the hub or other mirror from which a mirror downloads missing files."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from preheat.core.errors import AccessDenied, Busy, HubError, HubUnavailable, IntegrityError, MirrorBusy, PreheatError
from preheat.core.events import Listener, Noted, Waiting
from preheat.core.ref import Ref, issues_tokens
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.hubs.hub import Hub
from preheat.library.library import Library
from preheat.mirror.upstream.requester import Asker
from preheat.net.retry import NEAR, while_busy
from preheat.transfer.fetch import Policy, fetch
from preheat.transfer.route import Way

_REST_S, _LONGEST_REST_S = 5.0, 60.0
_STUCK_S = 6.0


class Unwanted(HubUnavailable):
    """A download was stopped, as no client reads it."""


@dataclass(slots=True)
class OtherProcess:
    """Another process that is downloading a file into the mirror's library: how much it has, and since when.

    It may be downloading from this mirror: then each of the two waits for the other.
    """

    done: int = -1
    since: float = 0.0

    def watch(self, event: Waiting, now: float) -> None:
        """Raise Busy if the process has received nothing for 6 seconds. Verifying the complete file takes any time."""
        if event.done != self.done or event.done == event.file.size:
            self.done, self.since = event.done, now
        elif now - self.since > _STUCK_S:
            raise Busy(
                f"another process is downloading {event.file.path} into this mirror's library, and has received nothing"
                f" for {_STUCK_S:.0f} seconds; if it downloads from this mirror, it needs a library of its own",
                hint="--library DIR, or stage --to DIR: another folder than the mirror's",
            )


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


@dataclass(frozen=True, slots=True)
class Errand:
    """A file to download, and its sources; `helpers` as for `fetch`. `keep` records the snapshot in the library.

    Each of `fallbacks` is called when all sources before it have failed, and returns one more, None if it has none.
    `is_recorded` returns whether `keep` has nothing to do. `client`: the network of the client that requested it (see
    `network_of`), for limits.
    """

    snapshot: Snapshot
    file: File
    way: Way
    helpers: Sequence[Callable[[], Way | None]] = ()
    keep: Callable[[], None] = lambda: None
    client: str = ""
    is_recorded: Callable[[], bool] = lambda: False
    fallbacks: Sequence[Callable[[], Way | None]] = ()


@dataclass(slots=True)
class Upstreams:
    """The upstreams, tried in the order given.

    An upstream that does not answer, or asks to slow down, is not tried again for at least 5 seconds, and for twice as
    long after each further failure. An error about one repository does not affect others. With `in_order`, files come
    from the first upstream that works, and from the next one only while it fails. Thread-safe.
    """

    every: Sequence[Upstream]
    in_order: bool = False
    _rests: dict[str, float] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def of(self, hub: str) -> list[Upstream]:
        """Return a hub's upstreams."""
        return [one for one in self.every if one.hub == hub]

    def in_turn(self, hub: str) -> list[Upstream]:
        """Return a hub's upstreams as they are tried: with `in_order`, those that have just failed come last."""
        ours = self.of(hub)
        return sorted(ours, key=self._is_resting) if self.in_order else ours

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
        if self._is_resting(upstream):
            raise HubUnavailable(f"{upstream.url} does not answer", wait_s=_REST_S)
        hub = upstream.connect(asker)
        try:
            told = Told(upstream, hub, hub.resolve(ref), asker)
        except MirrorBusy:
            raise
        except HubUnavailable as error:
            if error.status in (0, 429):
                self._rest(upstream, error.wait_s or 0.0)
            raise
        with self._turn:
            self._failures.pop(upstream.url, None)
        return told

    def helpers(self, told: Told) -> list[Callable[[], Way | None]]:
        """Return functions that each resolve the same snapshot at one of the other upstreams.

        Empty for a private snapshot: the other upstreams have no credentials for it, and must not learn its name.
        Empty with `in_order`, which has `fallbacks` instead.
        """
        return [] if self.in_order else [_finding(*one) for one in self._others(told)]

    def fallbacks(self, told: Told) -> list[Callable[[], Way | None]]:
        """Return functions like those of `helpers`, each to be called when the sources before it have failed.

        Empty without `in_order`, and for a private snapshot.
        """
        found: list[Callable[[], Way | None]] = []
        before = told.upstream
        for other, ref, asker in self._others(told) if self.in_order else ():
            found.append(partial(self._next, before, _finding(other, ref, asker)))
            before = other
        return found

    def _next(self, failed: Upstream, find: Callable[[], Way | None]) -> Way | None:
        self._rest(failed)
        return find()

    def _others(self, told: Told) -> list[tuple[Upstream, Ref, Asker]]:
        ref = told.snapshot.ref.at(told.snapshot.commit)
        others = [] if told.privately else self.in_turn(ref.hub)
        return [(one, ref, told.asker) for one in others if one is not told.upstream]

    def _is_resting(self, upstream: Upstream) -> bool:
        with self._turn:
            return time.monotonic() < self._rests.get(upstream.url, 0.0)

    def _rest(self, upstream: Upstream, wait_s: float = 0.0) -> None:
        with self._turn:
            failures = self._failures[upstream.url] = self._failures.get(upstream.url, 0) + 1
            usual_s = min(_REST_S * 2 ** min(failures - 1, 9), _LONGEST_REST_S)
            self._rests[upstream.url] = time.monotonic() + max(usual_s, min(wait_s, _LONGEST_REST_S))


def download(errand: Errand, library: Library, policy: Policy, note: Listener, on_event: Listener) -> None:
    """Download an errand's file from its source, with its helpers; if that fails, from the first fallback that works.

    `note` gets the events of the download, and may end it by raising Unwanted; `on_event` gets a notice of a failure.
    """
    file, trouble = errand.file, None
    way: Way | None = errand.way.only(file)
    for left in range(len(errand.fallbacks), -1, -1):
        try:
            if way is not None:
                own = replace(policy, patience=NEAR) if left else policy
                fetching = partial(fetch, [file], way, library, own, note, errand.helpers)
                return while_busy(fetching, policy.patience.lasting_s) if left else fetching()
        except (HubError, IntegrityError) as error:
            trouble = error
            if not left or isinstance(error, Unwanted):
                raise
            what = f"{errand.snapshot.ref} {file.path}"
            on_event(Noted(what, f"{error.message}; the next upstream is asked"))
        way = errand.fallbacks[-left]() if left else None
    assert trouble is not None
    raise trouble


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
