"""Missing files: list the files that an app did not find when its recipe was replayed, by URL or path, with sizes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from preheat.core.ref import hub_of_host
from preheat.core.units import say_size
from preheat.recipes.inference.infer import Inferred
from preheat.recipes.inference.observation import Observation
from preheat.recipes.inference.trace_log import TraceLog
from preheat.verbs.tracing.replaying.replayed_start import Replayed

_MOST = 8


@dataclass(frozen=True, slots=True)
class MissingFile:
    """A file that the app had in its traced start, and not in the replay; `size` in bytes, None if unknown."""

    what: str
    size: int | None = None

    def __str__(self) -> str:
        return self.what if self.size is None else f"{self.what} ({say_size(self.size)})"


def missing_files(
    inferred: Inferred, observation: Observation, traced: TraceLog, replayed: Replayed
) -> tuple[MissingFile, ...]:
    """Return what the replay lacked, as far as the logs show it, the largest first.

    A path means the same file in the traced start and in the replay if it is in the same place.
    """
    hosts = {aim.host for aim in replayed.notes.aims}
    found = {**_by_url(inferred, traced, hosts), **_from_hubs(inferred, observation, hosts)}
    made = ((observation.places.shorten(one.path), one.size) for one in observation.made)
    found |= {path: size for path, size in made if path in replayed.absent}
    ordered = sorted(found.items(), key=lambda item: (-(item[1] or 0), item[0]))
    return tuple(MissingFile(what, size) for what, size in ordered[:_MOST])


def _by_url(inferred: Inferred, traced: TraceLog, hosts: Iterable[str]) -> Mapping[str, int | None]:
    known = {need.ref.address for need in inferred.recipe.needs}
    return {
        reply.url: reply.size
        for reply in traced.replies
        if reply.method == "GET" and reply.status in (200, 206) and _host(reply.url) in hosts and reply.url not in known
    }


def _from_hubs(inferred: Inferred, observation: Observation, hosts: Iterable[str]) -> Mapping[str, int | None]:
    """Return the files of hubs that the replay tried to reach, and that are not in the recipe."""
    hubs = {hub_of_host(host) for host in hosts}
    known = {file.digest for pinned in inferred.lock.needs for file in pinned.snapshot.files}
    return {
        f"{one.ref}: {one.file.path}": one.file.size
        for one in observation.served
        if one.ref.hub in hubs and one.file.digest not in known
    }


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
