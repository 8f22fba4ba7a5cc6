"""Hub answers: the files that the mirror served to the app, each with the branch that the app requested."""

from collections.abc import Callable

from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.mirror.api.request_url import asked_by
from preheat.recipes.inference.observation import HubFile
from preheat.verbs.tracing.traced_start import ObservedStart


def served_files(
    seen: ObservedStart, library: Library, resolve: Callable[[Ref], Snapshot | None]
) -> tuple[HubFile, ...]:
    """List the files that the mirror served, each with the branch that the app requested, if any."""
    asked = [one for answer in seen.answered if answer.status < 300 and (one := asked_by(answer.path)) is not None]
    known: dict[Ref, Snapshot | None] = {}

    def meant(ref: Ref) -> Snapshot | None:
        if ref not in known:
            known[ref] = library.find(ref) or resolve(ref)
        return known[ref]

    branches: dict[tuple[Ref, str], Ref] = {}
    for one in asked:
        snapshot = None if one.ref.pinned else meant(one.ref)
        if snapshot is not None:
            branches.setdefault((one.ref.at(""), snapshot.commit), one.ref)
    got = [
        one
        for answer in seen.answered
        if answer.status in (200, 206) and answer.method == "GET" and (one := asked_by(answer.path)) is not None
    ]
    found: dict[tuple[Ref, str], HubFile] = {}
    for one in got:
        snapshot = meant(one.ref) if one.path else None
        file = snapshot.file(one.path) if snapshot is not None else None
        if snapshot is not None and file is not None:
            ref = branches.get((one.ref.at(""), snapshot.commit), one.ref)
            found[ref, one.path] = HubFile(ref, snapshot.commit, file)
    return tuple(found.values())
