"""Made again: find by a few replays which `made` needs an app makes again by itself at each start."""

from collections.abc import Collection

from preheat.core.digest import Digest
from preheat.core.ref import MADE
from preheat.core.values.replace import replace
from preheat.recipes.inference.infer import Inferred
from preheat.recipes.recipe import Need
from preheat.verbs.tracing.replaying.replay_search import ReplayFound, Try, changed

MOST_REPLAYS_WITHOUT = 3


def with_optional_made(found: ReplayFound, attempt: Try, had: Collection[Digest] = ()) -> ReplayFound:
    """Return what was found, with those made needs optional without which the app starts too, and is used.

    There is one replay more for a recipe that passed and has made needs, without all of them. If it does not pass, the
    needs are left out one after the other, as far as 3 replays go. The others stay as they are, and so do needs with
    files whose digests are in `had`: they were there before the first start, so that a replay may find them there.
    """
    made = [
        pinned.need
        for pinned in found.inferred.lock.needs
        if pinned.need.ref.hub == MADE
        and not pinned.need.optional
        and all(file.digest not in had for file in pinned.snapshot.files)
    ]
    if not found.replayed.passed or not made:
        return found
    spare: tuple[Need, ...] = ()
    groups = [tuple(made), *((need,) for need in made if len(made) > 1)]
    count = found.count
    for group in groups[:MOST_REPLAYS_WITHOUT]:
        names = ", ".join(str(need.ref) for need in group)
        tried = attempt(without(found.inferred, (*spare, *group)), f"{names} left for the app to make")
        count += 1
        if tried.passed:
            spare = (*spare, *group)
        if len(spare) == len(made) or tried.fatal:
            break
    optional = changed(found.inferred, spare, lambda need: replace(need, optional=True))
    return replace(found, inferred=optional, count=count)


def without(inferred: Inferred, which: Collection[Need]) -> Inferred:
    """Return the recipe and lock without these needs."""
    recipe, lock = inferred.recipe, inferred.lock
    needs = tuple(need for need in recipe.needs if need not in which)
    pins = tuple(pinned for pinned in lock.needs if pinned.need not in which)
    return replace(inferred, recipe=replace(recipe, needs=needs), lock=replace(lock, needs=pins))
