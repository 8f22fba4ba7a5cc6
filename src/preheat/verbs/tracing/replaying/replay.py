"""Replay: start an app from its recipe again, with no network and a new HOME, to prove that the recipe is complete."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote

from preheat.core.digest import Digest
from preheat.core.errors import NotReplayed, UsageError
from preheat.core.events import Listener, Noted
from preheat.core.units import say_seconds
from preheat.core.values.replace import replace
from preheat.guard.net.network_namespace import why_not
from preheat.recipes.inference.infer import Inferred
from preheat.recipes.lock_file import understand_lock
from preheat.recipes.lock_writer import lock_text
from preheat.recipes.recipe import Recipe, understand
from preheat.recipes.recipe_writer import recipe_text
from preheat.verbs.tracing.readiness import Wanted
from preheat.verbs.tracing.replaying.made_again import with_optional_made
from preheat.verbs.tracing.replaying.missing_files import MissingFile
from preheat.verbs.tracing.replaying.replay_search import Reading, search
from preheat.verbs.tracing.replaying.replayed_start import Replayed, ReplaySetting, replayed_start, why_no_proof
from preheat.verbs.tracing.workbench import Workbench

NOT_REPLAYED = "no: not replayed"
# A replay that downloads nothing takes no longer than the traced start, but the machine may be busier.
_SLOWER, _AT_LEAST_S = 3.0, 60.0


Missing = Callable[[Replayed], tuple[MissingFile, ...]]


@dataclass(frozen=True, slots=True)
class ReplayVerdict:
    """The result of a recipe's replays: `verified` is for the recipe; `missing` is what the app asked for in vain.

    `count`: how many replays there were; `seconds`: how long they took together.
    """

    replayed: Replayed
    verified: str
    missing: tuple[MissingFile, ...] = ()
    count: int = 1
    seconds: float = 0.0

    def require(self, recipe: Path) -> None:
        """Raise NotReplayed if the replay failed, with what was missing."""
        if self.replayed.passed:
            return
        lacked = "".join(f"\n  missing: {one}" for one in self.missing)
        raise NotReplayed(
            f"the app did not start from {recipe}: {self.replayed.error}{lacked}",
            hint=f"to see it again: preheat run --network none {quote(str(recipe))}; docs/trace.md says what to do",
        )


class Replays:
    """Replays recipes on a workbench, and reports each with its time."""

    def __init__(self, bench: Workbench, setting: ReplaySetting, wanted: Wanted, on_event: Listener) -> None:
        self._bench, self._setting, self._wanted, self._on_event = bench, setting, wanted, on_event
        self.seconds = 0.0

    def once(self, recipe: Recipe, words: str = "") -> Replayed:
        """Replay a recipe whose needs are pinned; `words` describe how it differs from the traced one."""
        if reason := why_no_proof():
            return Replayed(reason, fatal=True)
        self._tell(f"{self._how}{words and ', with '}{words}")
        watch = replace(self._setting.watch, ready=recipe.ready, first=recipe.first)
        try:
            with self._bench.ground() as ground:
                setting = replace(self._setting, watch=watch)
                replayed = replayed_start(recipe, ground, setting, self._wanted, self._on_event)
        except (UsageError, OSError) as error:
            replayed = Replayed(str(error), fatal=True)
        self.seconds += replayed.seconds
        outcome = "the app started, with 0 outbound attempts" if replayed.passed else replayed.error
        self._tell(f"{outcome}, after {say_seconds(replayed.seconds)}")
        return replayed

    def verdict(
        self,
        inferred: Inferred,
        fuller: Inferred,
        path: Path,
        missing: Missing,
        reading: Reading,
        had: Collection[Digest] = (),
    ) -> tuple[Inferred, ReplayVerdict]:
        """Replay a traced recipe until it passes, as `search` does; return the one that did, else the first one.

        What the app made is optional if the app starts without it too; files with the digests `had` it did not make.

        `path` is the recipe's. `missing` returns what a failed replay lacked, `reading` is as for `search`.
        """

        def attempt(one: Inferred, words: str) -> Replayed:
            return self.once(as_written(one, path), words)

        found = with_optional_made(search(inferred, fuller, attempt, reading), attempt, had)
        lacked = () if found.replayed.passed else missing(found.replayed)
        verified = self.verified(found.replayed)
        return found.inferred, ReplayVerdict(found.replayed, verified, lacked, found.count, self.seconds)

    def ended_early(self) -> ReplayVerdict:
        """Return the verdict for a trace that the user ended before all was known."""
        replayed = Replayed("the trace was ended early", fatal=True)
        return ReplayVerdict(replayed, self.verified(replayed), count=0)

    def verified(self, replayed: Replayed) -> str:
        """Return a recipe's `verified` for the result of its replay."""
        return verified_words(replayed, self._how)

    @property
    def _how(self) -> str:
        network = "with its network calls counted" if why_not() else "without network"
        return f"{network}, on {self._bench.ground_words}"

    def _tell(self, words: str) -> None:
        self._on_event(Noted("replay", words))


def patience_s(traced_s: float, within_s: float) -> float:
    """Return how many seconds a replay may take until it is ready, if the traced start took `traced_s`."""
    return min(within_s, max(_AT_LEAST_S, _SLOWER * traced_s))


def as_written(inferred: Inferred, path: Path) -> Recipe:
    """Return the recipe with its needs pinned, as `run` will read it from `path`."""
    folder = path.absolute().parent
    recipe = understand(path, recipe_text(inferred.recipe).encode(errors="replace"), folder)
    return understand_lock(path, lock_text(inferred.lock, folder).encode(errors="replace"), folder).apply(recipe)


def verified_words(replayed: Replayed, how: str) -> str:
    """Return a recipe's `verified` for the result of a replay; `how` names its network and ground."""
    if not replayed.passed:
        return f"no: {replayed.error}"
    day = datetime.now(UTC).date().isoformat()
    counted = "0 outbound attempts" if replayed.network is not None else "outbound attempts were not counted"
    refused = f"; refused without harm: requests to {', '.join(replayed.refused)}" if replayed.refused else ""
    return f"replayed on {day} {how}: {counted}{refused}"
