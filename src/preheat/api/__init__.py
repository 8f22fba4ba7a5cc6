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

from preheat.api.plans import execute, plan_adopt, plan_build, plan_prune, plan_pull, plan_remove, plan_view
from preheat.api.session import Session
from preheat.api.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from preheat.api.building import ImageTerms
    from preheat.api.mirroring import MirrorTerms, RunningMirror
    from preheat.api.proving import Proof
    from preheat.api.pulling import Pulls
    from preheat.api.running import Guarding
    from preheat.api.tracing import TraceTerms
    from preheat.library.upkeep.usage import Survey
    from preheat.proof.report.report import Report
    from preheat.recipes.lock_file import Lock
    from preheat.verbs.building.build import Built
    from preheat.verbs.building.image_plan import ImagePlan
    from preheat.verbs.tracing.trace import Traced
    from preheat.verbs.upkeep.adopt import Adoption
    from preheat.verbs.upkeep.remove import Removal
    from preheat.verbs.upkeep.status import RecipeStatus, Status
    from preheat.verbs.upkeep.verify import VerifyResult

    Folder = str | PathLike[str]

__all__ = [
    "Session",
    "Settings",
    "adopt",
    "build",
    "execute",
    "lock",
    "ls",
    "mirror",
    "plan_adopt",
    "plan_build",
    "plan_prune",
    "plan_pull",
    "plan_remove",
    "plan_view",
    "prove",
    "prune",
    "pull",
    "remove",
    "run",
    "status",
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
    from preheat.api.pulling import pull_all

    session = session or Session()
    before = session.transport.received
    return pull_all(plan_pull(*what, files=files, views=views, session=session), session, before)


def lock(app: str | None = None, *, session: Session | None = None) -> Lock:
    """Pin an app's needs to commits, sizes and digests, and write the lock beside its recipe. Raise HubError."""
    from preheat.recipes.lock_file import lock_path, read_lock
    from preheat.verbs.lock import keep_lock, pin

    session = session or Session()
    recipe = session.unlocked_recipe(app)
    path = lock_path(recipe)
    pinned = pin(recipe, session.sources, session.on_event, session.patience, read_lock(path))
    keep_lock(path, pinned)
    return pinned


def view(
    kind: str, folder: Folder, *refs: str, files: Sequence[str] = (), session: Session | None = None
) -> dict[str, str]:
    """Place models from the library in a folder, in the layout `kind`; return the variables that point to it.

    Raise NotPreloaded for files that are not in the library, Occupied if other files are in the way.
    """
    session = session or Session()
    return execute(plan_view(kind, folder, *refs, files=files, session=session), session=session)


def trace(*command: str, terms: TraceTerms | None = None, session: Session | None = None) -> Traced:
    """Start an app once, observe what it downloads and reads, and write its recipe and lock to the current folder.

    Then start the app from them again, without a network, unless the terms say otherwise. Raise UsageError for a recipe
    that exists already, AppError for an app that could not be started, NotReplayed if it did not start from its recipe,
    which is written all the same.
    """
    from preheat.api.tracing import TraceTerms, trace_app

    terms = terms or TraceTerms()
    traced = trace_app(command, session or Session(), terms)
    traced.require_replayed(terms.output)
    return traced


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


def build(
    app: str | None, terms: ImageTerms, *, plan: ImagePlan | None = None, session: Session | None = None
) -> Built:
    """Build a container image with the app's weights, without a daemon; see `preheat.api.building.ImageTerms`.

    `plan`: the result of `plan_build` with the same arguments. Raise ImageError, whose `end` is the side that failed,
    and NotPreloaded.
    """
    from preheat.api.building import ImageBuilder

    builder = ImageBuilder(app, session or Session(), terms)
    return builder.build(plan or builder.plan())


def mirror(
    address: tuple[str, int] = ("127.0.0.1", 0), terms: MirrorTerms | None = None, *, session: Session | None = None
) -> RunningMirror:
    """Return a mirror, not yet started, that serves the library in the hubs' own APIs; see `MirrorTerms`.

        with api.mirror(("0.0.0.0", 8000), MirrorTerms(upstreams=("hf=https://huggingface.co",))) as running:
            running.wait()

    It serves between `start()` and `stop(grace_s)`, or inside the `with`, at `running.url`; port 0 selects a free port.
    The session's timeouts, patience (60 s if it has none) and proxies apply to upstreams; its `on_event` is called from
    many threads.

    Raise UsageError for invalid terms, for files in them that cannot be read, and if the pinned models exceed the size
    cap; LibraryError for a library that cannot be written; PreheatError for an address that is not available.
    """
    from preheat.api.mirroring import MirrorTerms, RunningMirror

    return RunningMirror(address, terms or MirrorTerms(), session or Session())


def prove(app: str | None = None, proof: Proof | None = None, *, session: Session | None = None) -> Report:
    """Start an app cold, preloaded, warm and after a crash, in each round; report the times and their parts.

    Raise CheckFailed for an invalid start, for example a cold start that did not download, AppError if the app does not
    start.
    """
    from preheat.api.proving import Proof, prove_app

    session = session or Session()
    return prove_app(session.recipe(app), session, proof or Proof())


def adopt(*folders: Folder, ref: str = "", copy: bool = False, session: Session | None = None) -> Adoption:
    """Add the models in other programs' caches to the library, without a download or a second copy.

    `ref`: the name of the model, for a plain folder with one model's files. `copy`: copy each file that cannot share
    extents with its original (reflink), instead of hard-linking it. Files on another filesystem can only be added with
    `copy`.

    A file that cannot be added raises no error: it is counted, and an event reports the reason. Raise NoSpace if the
    disk has no room for the copies. Raise CheckFailed if the session refuses unsafe files and a version contains one;
    that version is then not recorded in the library.
    """
    session = session or Session()
    return execute(plan_adopt(*folders, ref=ref, copy=copy, session=session), session=session)


def ls(*, session: Session | None = None) -> Survey:
    """List the versions in the library, with the disk space of each in bytes."""
    from preheat.library.upkeep.usage import survey

    library = (session or Session()).library
    return survey(library.records, library.root / "blobs", library.pins)


def status(*, session: Session | None = None) -> Status:
    """Return the state of the library, the app in this folder, what runs, what is stale, and what to do next.

    Sends no request and hashes nothing; reads the library's records and lists its folders.
    """
    from pathlib import Path

    from preheat.core.errors import PreheatError
    from preheat.recipes.lock_file import lock_path, read_lock
    from preheat.recipes.recipe import FILE_NAME
    from preheat.verbs.locked_needs import missing_needs
    from preheat.verbs.upkeep.running_notes import running
    from preheat.verbs.upkeep.status import app_status, broken_app
    from preheat.verbs.upkeep.status import status as look

    session = session or Session()
    path = Path(FILE_NAME).absolute()
    app: RecipeStatus | None = None
    if path.is_file():
        try:
            recipe = session.unlocked_recipe(None)
            lock = read_lock(lock_path(recipe))
            pinned = recipe if lock is None else lock.apply(recipe)
            app = app_status(recipe, lock, missing_needs(pinned, session.library))
        except PreheatError as error:
            app = broken_app(path, error)
    return look(session.library, app, tuple(running(session.config.state)), session.caches)


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


def remove(*refs: str, session: Session | None = None) -> Removal:
    """Remove versions, and the blobs that only they need. Raise LibraryError, before any change, if one is pinned."""
    session = session or Session()
    return execute(plan_remove(*refs, session=session), session=session)


def prune(*, old: bool = False, session: Session | None = None) -> Removal:
    """Remove unneeded blobs and leftovers of killed processes; with `old`, also versions without a branch or tag."""
    session = session or Session()
    return execute(plan_prune(old=old, session=session), session=session)
