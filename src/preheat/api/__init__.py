"""The Python API: each verb of the command as a function, with the same words and the same results.

    from preheat import api

    session = api.Session(api.Settings(connections=64))
    api.pull("openai/whisper-tiny.en", session=session)
    api.run(command=["python", "webui.py"], session=session)

A `session` is settings and the environment; without one, each call makes its own of the defaults. It is told what
happens: `Session(on_event=print)` prints the events of `preheat.core.events`. Errors are those of
`preheat.core.errors`, each with a `message` and a `hint`. One session is not for several threads at once; several
sessions are, and so are several processes with one library.

An `app` is what the command takes: the path of a preheat.toml, the name of a recipe that comes with preheat, or None
for the preheat.toml in the current folder. A model is a name like `hf:OWNER/NAME@REVISION` (docs/recipes.md).
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
    """Download what is missing of models and of all that apps need, verify it and keep it; place what apps need.

    `files` are patterns: of a model, only the files that match one. `views` maps a layout (`hf-cache`, `flat`, …:
    docs/views.md) to the folder in which the models are placed so. Nothing is downloaded that is in the library, or
    lies in these places already.

    Raise HubError where no hub has it, IntegrityError for bytes that are not what was promised, LibraryError for a full
    disk and the like, Occupied where other files are in the way. What arrived by then is kept.
    """
    from pathlib import Path

    from preheat.api.pulling import pull_all

    session = session or Session()
    placed = [(session.view(kind), Path(folder).absolute()) for kind, folder in (views or {}).items()]
    return pull_all(what, session, files, placed)


def look_ahead(*what: str, files: Sequence[str] = (), session: Session | None = None) -> list[Outlook]:
    """Find out what `pull` would download, whether it fits and how long it would take; change nothing."""
    from preheat.api.pulling import look_ahead_all

    return look_ahead_all(what, session or Session(), files)


def lock(app: str | None = None, *, session: Session | None = None) -> Lock:
    """Pin what an app needs to commits, sizes and digests, and write them beside its recipe. Raise HubError."""
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
    """Place models of the library in a folder, as other programs look for them; return the variables that lead there.

    Raise NotPreloaded for what is not in the library, Occupied where other files are in the way.
    """
    from pathlib import Path

    from preheat.core.ref import Ref
    from preheat.verbs.locked_needs import look_over
    from preheat.verbs.placing.place import place_sites
    from preheat.verbs.view import site_at

    session = session or Session()
    snapshots = [session.library.require(Ref.parse(words), list(files)) for words in refs]
    look_over(session.library, snapshots, session.on_event)
    snapshots.sort(key=lambda one: not one.ref.pinned)
    at, layout = Path(folder).absolute(), session.view(kind)
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
    """Start an app offline on what the library has, watch it and start it again; return its exit status.

    `command` takes the place of the recipe's; with it alone and no recipe, the app has all that the library has. To be
    called from the main thread: SIGTERM and SIGINT end the app. Raise AppError when it could not be kept alive,
    NotPreloaded for what is not in the library.
    """
    from preheat.api.running import Guarding, app_to_run, run_app

    session = session or Session()
    return run_app(app_to_run(app, tuple(command), session), session, guarding or Guarding())


def build(app: str | None, terms: ImageTerms, *, session: Session | None = None) -> Built:
    """Build a container image with the app's weights in it, without a daemon; see `preheat.api.building.ImageTerms`.

    Raise ImageError, which says whether the base, the target or this machine failed, and NotPreloaded.
    """
    from preheat.api.building import build_image

    return build_image(app, session or Session(), terms)


def mirror(
    address: tuple[str, int] = ("127.0.0.1", 0), *, upstreams: Sequence[str] = (), session: Session | None = None
) -> Server:
    """Return a server of the library in the hubs' own APIs, that fetches what is missing from `upstreams` (`HUB=URL`).

    It is to be started and stopped: `server.start()`, `server.url`, `server.stop(grace_s)`. Port 0 is any free one.
    """
    from preheat.mirror.api.folders import Shelf
    from preheat.verbs.mirror import mirror as make

    session = session or Session()
    return make(address, session.library, Shelf({}), session.on_event, None, session.upstreams(upstreams))


def prove(app: str | None = None, proof: Proof | None = None, *, session: Session | None = None) -> Report:
    """Start an app cold, preloaded, warm and after a crash, in turns; report the times and what they consist of.

    Raise CheckFailed where preloading gained nothing, AppError where the app does not start.
    """
    from preheat.api.proving import Proof, prove_app

    session = session or Session()
    return prove_app(session.recipe(app), session, proof or Proof())


def adopt(folder: Folder, *, ref: str = "", copy: bool = False, session: Session | None = None) -> Adoption:
    """Take what another program's cache has into the library, without download and without a second copy.

    `ref` names the model of a folder with one model's files. `copy` allows copies, where nothing can be linked. Files
    that were left out are counted, not raised; each is an event with its reason.
    """
    from preheat.core.ref import Ref, read_path
    from preheat.verbs.upkeep.adopt import adopt as take

    session = session or Session()
    named = Ref.parse(ref) if ref else None
    return take(read_path(str(folder)), session.library, session.on_event, named, copy=copy)


def ls(*, session: Session | None = None) -> Survey:
    """List the versions in the library, with what each really costs on disk, in bytes."""
    from preheat.library.upkeep.usage import survey

    library = (session or Session()).library
    return survey(library.records, library.root / "blobs", library.pins)


def verify(*refs: str, since_s: float = 0.0, session: Session | None = None) -> VerifyResult:
    """Hash what the library has again, or what the models `refs` need; quarantine what is not what its name says.

    What was found right in the last `since_s` seconds and is untouched is left out.
    """
    from preheat.core.ref import Ref
    from preheat.verbs.upkeep.remove import recorded
    from preheat.verbs.upkeep.verify import verify as hash_again

    session = session or Session()
    only = [recorded(Ref.parse(words), session.library) for words in refs] or None
    return hash_again(session.library, only, since_s, session.on_event)


def remove(*refs: str, dry_run: bool = False, session: Session | None = None) -> Removal:
    """Forget versions, and free what only they needed. Raise LibraryError for a pinned one, before anything goes."""
    from preheat.core.ref import Ref
    from preheat.library.upkeep.sweep import Sweep
    from preheat.verbs.upkeep.remove import recorded
    from preheat.verbs.upkeep.remove import remove as forget

    session = session or Session()
    library = session.library
    versions = [recorded(Ref.parse(words), library) for words in refs]
    return forget(versions, library, Sweep(library.root, None), session.on_event, really=not dry_run)


def prune(*, old: bool = False, dry_run: bool = False, session: Session | None = None) -> Pruned:
    """Free what no record needs, and what killed processes left; with `old`, versions that no branch is at any more."""
    from preheat.library.upkeep.sweep import Sweep
    from preheat.verbs.upkeep.prune import Shears
    from preheat.verbs.upkeep.prune import prune as cut

    session = session or Session()
    sweep = Sweep(session.library.root, None)
    return cut(session.library, sweep, Shears(old), session.on_event, really=not dry_run)
