"""Start folder: the folder and the environment variables of one start of a proof."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.cache_variables import new_caches
from preheat.recipes.places import HOME, TMP


@dataclass(frozen=True, slots=True)
class StartFolder:
    """The folder of one start, for its caches and import logs."""

    folder: Path

    @property
    def notes(self) -> Path:
        """Return the folder for import logs."""
        return self.folder / "notes"

    @property
    def caches(self) -> Path:
        """Return the folder that contains the app's caches."""
        return self.folder / "caches"

    def environ(self) -> dict[str, str]:
        """Return the environment variables that point to the caches."""
        return new_caches(self.caches)

    def homes(self, environ: Mapping[str, str], named: Collection[str]) -> dict[str, str]:
        """Create the home and temporary folder of this start, as far as needs name them; return their variables.

        Python still finds the packages in the user's own home.
        """
        found: dict[str, str] = {}
        for place, variable in ((HOME, "HOME"), (TMP, "TMPDIR")):
            if place in named:
                found[variable] = str(self.caches / place)
                (self.caches / place).mkdir(parents=True, exist_ok=True)
        if HOME in named and environ.get("HOME"):
            found["PYTHONUSERBASE"] = environ.get("PYTHONUSERBASE") or f"{environ['HOME']}/.local"
        return found


@dataclass(frozen=True, slots=True)
class AppEnvironment:
    """An app's environment: variables, hub endpoint variables, and the time limit until it is ready.

    `secrets`: variables with hub tokens, set for cold starts only. `observe_s`: how many seconds after first use
    outbound attempts of offline starts are counted.
    """

    environ: Mapping[str, str]
    endpoints: Mapping[str, str]
    ready_within_s: float
    secrets: Mapping[str, str] = field(default_factory=dict)
    observe_s: float = 30.0
