"""Replay search: find the kinds of link, and the unread files, with which an app starts again; bounded."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from preheat.core.ref import HUGGING_FACE, MODELSCOPE
from preheat.core.values.replace import replace
from preheat.recipes.inference.infer import Inferred
from preheat.recipes.recipe import Need
from preheat.verbs.tracing.replaying.replay_places import LINK_COPY, LINK_HARDLINK
from preheat.verbs.tracing.replaying.replayed_start import INTERRUPTED, Replayed

MOST_REPLAYS = 8
Try = Callable[[Inferred, str], Replayed]
Reading = Callable[[Replayed], Inferred]


@dataclass(frozen=True, slots=True)
class ReplayFound:
    """The recipe that passed; if none did, the first with which the app worked, else the first.

    `replayed` is its replay, `count` how many there were.
    """

    inferred: Inferred
    replayed: Replayed
    count: int


def search(inferred: Inferred, fuller: Inferred, attempt: Try, reading: Reading) -> ReplayFound:
    """Replay `inferred` until it passes: with other kinds of link, with a hub, with the unread files of `fuller`.

    A hub is the library's mirror in place of the app's hubs. Other links are tried only if the app did not work. Where
    only copies pass, hard links are tried, and then which needs can do without: at most 8 replays in all. `attempt`
    replays a recipe; its second argument says in words what is tried. `reading` returns the recipe with those of the
    unread files that a replay has read: if it passes too, the others are left out again.
    """
    return _Search(attempt, reading).run(inferred, fuller)


class _Search:
    def __init__(self, attempt: Try, reading: Reading) -> None:
        self._attempt, self._reading = attempt, reading
        self._count = 0

    def run(self, inferred: Inferred, fuller: Inferred) -> ReplayFound:
        first = last = self._try(inferred, "")
        best = (inferred, first)
        asks = first.network is not None and first.network.outbound > 0
        for base, words, copied in _variants(inferred, fuller, asks=asks):
            if last.passed or last.fatal or last.error == INTERRUPTED:
                break
            if copied and best[1].worked:
                continue
            variant = _copied(base) if copied else base
            last = self._try(variant, words)
            if last.passed:
                if copied:
                    return self._narrowed(base, last)
                return self._without_unread(variant, last) if base.lock == fuller.lock else self._found(variant, last)
            if last.worked and not best[1].worked:
                best = (variant, last)
        return self._found(best[0], last if last.error == INTERRUPTED else best[1])

    def _narrowed(self, inferred: Inferred, passed: Replayed) -> ReplayFound:
        """Return the recipe with the least demanding kind of link, for the fewest needs, as far as replays allow."""
        everyone, kind = tuple(range(len(inferred.recipe.needs))), LINK_COPY
        hard = self._more(linked(inferred, LINK_HARDLINK, everyone), "hard links")
        if hard is not None and hard.passed:
            passed, kind = hard, LINK_HARDLINK
        some = everyone
        while len(some) > 1:
            half = len(some) // 2
            for part in (some[:half], some[half:]):
                words = f"{kind} for {len(part)} of {len(everyone)} needs"
                tried = self._more(linked(inferred, kind, part), words)
                if tried is not None and tried.passed:
                    some, passed = part, tried
                    break
            else:
                break
        return self._found(linked(inferred, kind, some), passed)

    def _without_unread(self, inferred: Inferred, passed: Replayed) -> ReplayFound:
        """Return the recipe without the files that this start did not read either, if it passes without them."""
        read = self._reading(passed)
        read = with_hub(read) if inferred.recipe.hub else read
        if read.lock != inferred.lock:
            tried = self._more(read, "those of the unread files that this start has read")
            if tried is not None and tried.passed:
                return self._found(read, tried)
        return self._found(inferred, passed)

    def _found(self, inferred: Inferred, replayed: Replayed) -> ReplayFound:
        return ReplayFound(inferred, replayed, self._count)

    def _more(self, inferred: Inferred, words: str) -> Replayed | None:
        return None if self._count >= MOST_REPLAYS else self._try(inferred, words)

    def _try(self, inferred: Inferred, words: str) -> Replayed:
        self._count += 1
        return self._attempt(inferred, words)


def _variants(inferred: Inferred, fuller: Inferred, *, asks: bool) -> Iterator[tuple[Inferred, str, bool]]:
    """Yield what to try after the recipe itself, the cheapest first, each with words, and whether with copies.

    `asks`: the app tried to reach some host.
    """
    hub, copies, unread = "the library as the app's hub", "copies of the files", "the files that were not read"
    hubs = asks or any(need.ref.hub in (HUGGING_FACE, MODELSCOPE) for need in fuller.recipe.needs)
    if hubs:
        yield with_hub(inferred), hub, False
    if inferred.recipe.needs:
        yield inferred, copies, True
    if fuller.lock != inferred.lock:
        yield fuller, unread, False
        if hubs:
            yield with_hub(fuller), f"{unread}, and {hub}", False
        yield fuller, f"{unread}, and {copies}", True


def _copied(inferred: Inferred) -> Inferred:
    return linked(inferred, LINK_COPY, range(len(inferred.recipe.needs)))


def with_hub(inferred: Inferred) -> Inferred:
    """Return the recipe of an app that asks its hubs at each start."""
    return replace(inferred, recipe=replace(inferred.recipe, hub=True))


def linked(inferred: Inferred, kind: str, which: Sequence[int]) -> Inferred:
    """Return the recipe and lock with the kind of link `kind` for the needs with these numbers."""
    return changed(inferred, {inferred.recipe.needs[number] for number in which}, lambda need: replace(need, link=kind))


def changed(inferred: Inferred, which: Collection[Need], change: Callable[[Need], Need]) -> Inferred:
    """Return the recipe and lock with these needs as `change` returns them."""
    recipe, lock = inferred.recipe, inferred.lock
    needs = tuple(change(need) if need in which else need for need in recipe.needs)
    pins = (msgspec.structs.replace(one, need=change(one.need)) if one.need in which else one for one in lock.needs)
    return replace(inferred, recipe=replace(recipe, needs=needs), lock=replace(lock, needs=tuple(pins)))
