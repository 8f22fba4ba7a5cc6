"""Upstream: whom a mirror asks for what it lacks: the hub behind it, or another mirror."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from preheat.errors import AccessDenied, HubError, HubUnavailable, NotFound, PreheatError
from preheat.hub import Hub
from preheat.mirror.asker import Asker
from preheat.ref import Ref
from preheat.snapshot import Snapshot
from preheat.transfer.route import Way

_REST_S = 5.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """An endpoint of a hub (`hf` or `ms`); `connect` makes the hub there, for a client's token or none, and headers."""

    hub: str
    url: str
    connect: Callable[[str, Mapping[str, str]], Hub]


@dataclass(frozen=True, slots=True)
class Told:
    """What an upstream said a ref means, and the hub there as it is for `asker`."""

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
        """The way to its bytes."""
        return Way(self.upstream.url, self.hub, self.snapshot)

    def with_token(self, token: str) -> "Told":
        """Open its files with a client's token."""
        asker = self.asker.named(token)
        return replace(self, hub=self.upstream.connect(token, asker.headers), asker=asker)


@dataclass(slots=True)
class Upstreams:
    """Asks one upstream after the other, the first named first.

    Who did not answer, or asked to slow down, is let rest for some seconds; an answer that one repository is in trouble
    says nothing about others.
    """

    every: Sequence[Upstream]
    _rests: dict[str, float] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def of(self, hub: str) -> list[Upstream]:
        """List those of a hub."""
        return [one for one in self.every if one.hub == hub]

    def resolve(self, ref: Ref, asker: Asker) -> Told:
        """Ask what `ref` means.

        Raise HubUnavailable if somebody who may know does not answer, AccessDenied or NotFound if all say so.
        """
        errors: list[HubError] = []
        for upstream in self._awake(self.of(ref.hub), errors):
            hub = upstream.connect(asker.token, asker.headers)
            try:
                return Told(upstream, hub, hub.resolve(ref), asker)
            except HubUnavailable as error:
                if error.status in (0, 429):
                    self._rest(upstream, error)
                errors.append(error)
            except HubError as error:
                errors.append(error)
        for kind in (HubUnavailable, AccessDenied, HubError):
            told = next((one for one in errors if isinstance(one, kind)), None)
            if told is not None:
                raise told
        raise NotFound(f"{ref}: this mirror has no upstream for it")

    def helpers(self, told: Told) -> list[Callable[[], Way | None]]:
        """Return what asks each of the others, when called, for the same snapshot."""
        others = [one for one in self.of(told.snapshot.ref.hub) if one is not told.upstream]
        ref = told.snapshot.ref.at(told.snapshot.commit)
        return [_finding(other, ref, told.asker) for other in others]

    def _awake(self, upstreams: list[Upstream], errors: list[HubError]) -> Iterator[Upstream]:
        for upstream in upstreams:
            with self._turn:
                rests = time.monotonic() < self._rests.get(upstream.url, 0.0)
            if rests:
                errors.append(HubUnavailable(f"{upstream.url} does not answer", wait_s=_REST_S))
            else:
                yield upstream

    def _rest(self, upstream: Upstream, error: HubUnavailable) -> None:
        with self._turn:
            self._rests[upstream.url] = time.monotonic() + max(_REST_S, min(error.wait_s or 0.0, 60.0))


def _finding(other: Upstream, ref: Ref, asker: Asker) -> Callable[[], Way | None]:
    def find() -> Way | None:
        # As with the first: a token is shown only to whom it takes one.
        for token in dict.fromkeys(("", asker.token)):
            hub = other.connect(token, asker.headers)
            try:
                return Way(other.url, hub, hub.resolve(ref))
            except (AccessDenied, NotFound):
                continue
            except PreheatError:
                break
        return None  # it was to help, and cannot

    return find
