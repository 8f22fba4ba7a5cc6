"""The Python API: each command as a function, with the same terms and results.

    from preheat import api

    session = api.Session(api.Settings(connections=64))
    api.pull("openai/whisper-tiny.en", session=session)
    api.run(command=["python", "webui.py"], session=session)

A `session` holds the settings and the environment; without one, each call creates a session with default settings.
`Session(on_event=print)` prints the events of `preheat.core.events`. Errors are those of `preheat.core.errors`, each
with a `message` and a `hint`. A session must not be used by several threads at once; several sessions can, and several
processes can share a library.

An `app` is what the command takes: the path of a preheat.toml, the name of a built-in recipe, or None for the
preheat.toml in the current folder. A model is a name like `hf:OWNER/NAME@REVISION` (docs/recipes.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from preheat.api.session import Session
from preheat.api.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from preheat.api.building import ImageTerms
    from preheat.api.proving import Proof
    from preheat.api.pulling import Pulls
    from preheat.api.running import Guarding
    from preheat.api.tracing import TraceTerms
    from preheat.library.upkeep.usage import Survey
    from preheat.mirror.http.server import Server
    from preheat.proof.report.report import Report
    from preheat.recipes.lock_file import Lock
    from preheat.verbs.building.build import Built
    from preheat.verbs.dry_run import Outlook
    from preheat.verbs.tracing.trace import Traced
    from preheat.verbs.upkeep.adopt import Adoption
    from preheat.verbs.upkeep.prune import Pruned
    from preheat.verbs.upkeep.remove import Removal
    from preheat.verbs.upkeep.verify import VerifyResult

    Folder = str | PathLike[str]

__all__ = [
    "Session",
    "Settings",
    "adopt",
    "build",
    "lock",
    "look_ahead",
    "ls",
    "mirror",
    "prove",
    "prune",
    "pull",
    "remove",
    "run",
    "trace",
    "verify",
    "view",
]


def pull(
    *what: str, files: Sequence[str] = (), views: Mapping[str, Folder] | None = None, session: Session | None = None
) -> Pulls:
    """Download and verify the missing files of models and apps into the library; place the apps' views.

    `files`: patterns that select files of the models. `views`: maps a layout (`hf-cache`, `flat`, …: docs/views.md) to
    the folder where the models are placed in it. Files that are already in the library or in these folders are not
    downloaded.

    Raise HubError if no hub has the model, IntegrityError for bytes that do not match their digest, LibraryError for
    example for a full disk, Occupied if other files are in the way. The next pull resumes an interrupted download.
    """
    from pathlib import Path

    from preheat.api.pulling import pull_all

    session = session or Session()
    placed = [(session.view(kind), Path(folder).absolute()) for kind, folder in (views or {}).items()]
    return pull_all(what, session, files, placed)


def look_ahead(*what: str, files: Sequence[str] = (), session: Session | None = None) -> list[Outlook]:
    """Report what `pull` would download, whether it fits on the disk, and how long it would take; change nothing."""
    from preheat.api.pulling import look_ahead_all

    return look_ahead_all(what, session or Session(), files)


def lock(app: str | None = None, *, session: Session | None = None) -> Lock:
    """Pin an app's needs to commits, sizes and digests, and write the lock beside its recipe. Raise HubError."""
    from preheat.recipes.lock_file import lock_path
    from preheat.verbs.lock import keep_lock, pin

    session = session or Session()
    recipe = session.unlocked_recipe(app)
    pinned = pin(recipe, session.sources, session.on_event, session.patience)
    keep_lock(lock_path(recipe), pinned)
    return pinned


def view(
    kind: str, folder: Folder, *refs: str, files: Sequence[str] = (), session: Session | None = None
) -> dict[str, str]:
    """Place models from the library in a folder, in the layout `kind`; return the variables that point to it.

    Raise NotPreloaded for files that are not in the library, Occupied if other files are in the way.
    """
    from pathlib import Path

    from preheat.core.ref import Ref
    from preheat.verbs.locked_needs import look_over
    from preheat.verbs.placing.place import place_sites
    from preheat.verbs.view import site_at

    session = session or Session()
    at, layout = Path(folder).absolute(), session.view(kind)
    # Find all models before placing any. Place pinned ones first, so that a branch's files take precedence.
    snapshots = [session.library.require(Ref.parse(words), list(files)) for words in refs]
    look_over(session.library, snapshots, session.on_event)
    snapshots.sort(key=lambda one: not one.ref.pinned)
    sites = [site_at(snapshot, session.library, layout, at, session.permissions) for snapshot in snapshots]
    return place_sites(sites, session.library, session.on_event, session.permissions)


def trace(*command: str, terms: TraceTerms | None = None, session: Session | None = None) -> Traced:
    """Start an app once, observe what it downloads and reads, and write its recipe and lock to the current folder.

    Raise UsageError for a recipe that exists already, AppError for an app that could not be started.
    """
    from preheat.api.tracing import TraceTerms, trace_app

    return trace_app(command, session or Session(), terms or TraceTerms())


def run(
    app: str | None = None,
    *,
    command: Sequence[str] = (),
    guarding: Guarding | None = None,
    session: Session | None = None,
) -> int:
    """Start an app offline with files from the library, restart it when it crashes; return its exit status.

    `command` replaces the recipe's command; without a recipe, the app can use all models in the library. Call it from
    the main thread: SIGTERM and SIGINT stop the app. Raise AppError if the app could not be kept running, NotPreloaded
    for files that are not in the library.
    """
    from preheat.api.running import Guarding, app_to_run, run_app

    session = session or Session()
    return run_app(app_to_run(app, tuple(command), session), session, guarding or Guarding())


def build(app: str | None, terms: ImageTerms, *, session: Session | None = None) -> Built:
    """Build a container image with the app's weights, without a daemon; see `preheat.api.building.ImageTerms`.

    Raise ImageError, whose `end` is the side that failed, and NotPreloaded.
    """
    from preheat.api.building import build_image

    return build_image(app, session or Session(), terms)


def mirror(
    address: tuple[str, int] = ("127.0.0.1", 0), *, upstreams: Sequence[str] = (), session: Session | None = None
) -> Server:
    """Return a server with the hubs' APIs that serves the library, and downloads missing files from `upstreams`.

    An upstream is `HUB=URL`. Start and stop the server with `server.start()` and `server.stop(grace_s)`; its address is
    `server.url`. Port 0 selects a free port.
    """
    from preheat.mirror.api.folders import Shelf
    from preheat.verbs.mirror import House
    from preheat.verbs.mirror import mirror as make

    session = session or Session()
    house = House(unsafe=session.settings.unsafe_files)
    return make(address, session.library, Shelf({}), session.on_event, None, session.upstreams(upstreams), house)


def prove(app: str | None = None, proof: Proof | None = None, *, session: Session | None = None) -> Report:
    """Start an app cold, preloaded, warm and after a crash, in each round; report the times and their parts.

    Raise CheckFailed for an invalid start, for example a cold start that did not download, AppError if the app does not
    start.
    """
    from preheat.api.proving import Proof, prove_app

    session = session or Session()
    return prove_app(session.recipe(app), session, proof or Proof())


def adopt(folder: Folder, *, ref: str = "", copy: bool = False, session: Session | None = None) -> Adoption:
    """Add the models in another program's cache to the library, without a download or a second copy.

    `ref`: the name of the model, for a plain folder with one model's files. `copy`: copy files that cannot be linked.
    Files that cannot be added raise no error: they are counted, and each is reported by an event with the reason. Raise
    CheckFailed if the session refuses unsafe files and a version has one; its files are then not recorded.
    """
    from preheat.core.ref import Ref, read_path
    from preheat.verbs.upkeep.adopt import adopt as take

    session = session or Session()
    named = Ref.parse(ref) if ref else None
    unsafe = session.settings.unsafe_files
    return take(read_path(str(folder)), session.library, session.on_event, named, copy=copy, unsafe=unsafe)


def ls(*, session: Session | None = None) -> Survey:
    """List the versions in the library, with the disk space of each in bytes."""
    from preheat.library.upkeep.usage import survey

    library = (session or Session()).library
    return survey(library.records, library.root / "blobs", library.pins)


def verify(*refs: str, since_s: float = 0.0, session: Session | None = None) -> VerifyResult:
    """Hash all blobs of the library again, or those of the models `refs`; quarantine corrupt blobs.

    Unmodified blobs that were verified in the last `since_s` seconds are skipped.
    """
    from preheat.core.ref import Ref
    from preheat.verbs.upkeep.remove import recorded
    from preheat.verbs.upkeep.verify import verify as hash_again

    session = session or Session()
    only = [recorded(Ref.parse(words), session.library) for words in refs] or None
    return hash_again(session.library, only, since_s, session.on_event)


def remove(*refs: str, dry_run: bool = False, session: Session | None = None) -> Removal:
    """Remove versions, and the blobs that only they need. Raise LibraryError, before any change, if one is pinned."""
    from preheat.core.ref import Ref
    from preheat.library.upkeep.sweep import Sweep
    from preheat.verbs.upkeep.remove import recorded
    from preheat.verbs.upkeep.remove import remove as forget

    session = session or Session()
    library = session.library
    versions = [recorded(Ref.parse(words), library) for words in refs]
    return forget(versions, library, Sweep(library.root, None), session.on_event, really=not dry_run)


def prune(*, old: bool = False, dry_run: bool = False, session: Session | None = None) -> Pruned:
    """Remove unneeded blobs and leftovers of killed processes; with `old`, also versions without a branch or tag."""
    from preheat.library.upkeep.sweep import Sweep
    from preheat.verbs.upkeep.prune import Shears
    from preheat.verbs.upkeep.prune import prune as cut

    session = session or Session()
    sweep = Sweep(session.library.root, None)
    return cut(session.library, sweep, Shears(old), session.on_event, really=not dry_run)
