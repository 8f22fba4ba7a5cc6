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

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from preheat.api.building import ImageTerms
    from preheat.api.carrying.bundling import export, import_bundle, plan_export
    from preheat.api.carrying.pushing import plan_push, push
    from preheat.api.locking import LockChanges
    from preheat.api.mirroring import MirrorTerms, RunningMirror
    from preheat.api.plans import (
        execute,
        plan_adopt,
        plan_build,
        plan_fold,
        plan_prune,
        plan_pull,
        plan_remove,
        plan_view,
    )
    from preheat.api.proving import Proof
    from preheat.api.pulling import Pulls
    from preheat.api.running import Guarding
    from preheat.api.session import Session
    from preheat.api.settings import Settings
    from preheat.api.staging.stage import Staged, StageTerms
    from preheat.api.tracing import TraceTerms
    from preheat.api.upkeep import adopt, fold, ls, pin, prune, remove, status, unfold, unpin, verify, watch_fold
    from preheat.proof.report.report import Report
    from preheat.recipes.lock_file import Lock
    from preheat.verbs.building.build import Built
    from preheat.verbs.building.image_plan import ImagePlan
    from preheat.verbs.staging.make_room import Removed
    from preheat.verbs.tracing.replaying.replay import ReplayVerdict
    from preheat.verbs.tracing.trace import Traced

    Folder = str | PathLike[str]

__all__ = [
    "Session",
    "Settings",
    "adopt",
    "build",
    "check_lock",
    "execute",
    "export",
    "fold",
    "import_bundle",
    "lock",
    "ls",
    "mirror",
    "pin",
    "plan_adopt",
    "plan_build",
    "plan_export",
    "plan_fold",
    "plan_prune",
    "plan_pull",
    "plan_push",
    "plan_remove",
    "plan_view",
    "prove",
    "prune",
    "pull",
    "push",
    "release",
    "remove",
    "replay",
    "run",
    "stage",
    "status",
    "trace",
    "unfold",
    "unpin",
    "verify",
    "view",
    "watch_fold",
]

# Imported on first use: the command imports this package for each verb, and an app's start would wait for all of them.
_PLACES = {
    "carrying.bundling": ("export", "import_bundle", "plan_export"),
    "carrying.pushing": ("plan_push", "push"),
    "session": ("Session",),
    "settings": ("Settings",),
    "plans": (
        "execute",
        "plan_adopt",
        "plan_build",
        "plan_fold",
        "plan_prune",
        "plan_pull",
        "plan_remove",
        "plan_view",
    ),
    "upkeep": ("adopt", "fold", "ls", "pin", "prune", "remove", "status", "unfold", "unpin", "verify", "watch_fold"),
}


def __getattr__(name: str) -> object:
    place = next((place for place, names in _PLACES.items() if name in names), None)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{place}"), name)


def __dir__() -> list[str]:
    return __all__


def _given(session: Session | None) -> Session:
    from preheat.api.session import Session

    return session or Session()


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
    from preheat.api.plans import plan_pull
    from preheat.api.pulling import pull_all

    session = _given(session)
    before = session.transport.received
    return pull_all(plan_pull(*what, files=files, views=views, session=session), session, before)


def stage(*what: str, terms: StageTerms, files: Sequence[str] = (), session: Session | None = None) -> Staged:
    """Fill the folder `terms.to` on a node's own disk with apps and models; see `preheat.api.staging.stage.StageTerms`.

    The sources are the mirrors in the terms, then the session's library, then the hubs. Nothing is requested if all is
    there and the refs are commits or locked. Raise as `pull` does.
    """
    from preheat.api.staging.stage import stage as fill

    return fill(what, files, terms, _given(session))


def release(job: str, terms: StageTerms, *, session: Session | None = None) -> Removed:
    """Release what `job` holds in the stage `terms.to`, and remove what the terms' limits no longer allow."""
    from preheat.api.staging.stage import release as let_go

    return let_go(job, terms, _given(session))


def lock(app: str | None = None, *, session: Session | None = None) -> Lock:
    """Pin an app's needs to commits, sizes and digests, and write the lock beside its recipe. Raise HubError."""
    from preheat.api.locking import lock_app

    return lock_app(app, _given(session)).now


def check_lock(app: str | None = None, *, session: Session | None = None) -> LockChanges:
    """Compare an app's lock with its recipe and with what the hubs list now; change nothing.

    Raise CheckFailed if there is no lock, HubError if no hub has a need.
    """
    from preheat.api.locking import check_app_lock

    return check_app_lock(app, _given(session))


def replay(app: str | None = None, *, session: Session | None = None) -> ReplayVerdict:
    """Start an app from its lock and the library alone, without a network; return how that went.

    Raise CheckFailed if the lock is missing or stale, UsageError if the recipe has no command.
    """
    from preheat.api.locking import replay_locked

    return replay_locked(app, _given(session))[1]


def view(
    kind: str, folder: Folder, *refs: str, files: Sequence[str] = (), session: Session | None = None
) -> dict[str, str]:
    """Place models from the library in a folder, in the layout `kind`; return the variables that point to it.

    Raise NotPreloaded for files that are not in the library, Occupied if other files are in the way.
    """
    from preheat.api.plans import execute, plan_view

    session = _given(session)
    return execute(plan_view(kind, folder, *refs, files=files, session=session), session=session)


def trace(*command: str, terms: TraceTerms | None = None, session: Session | None = None) -> Traced:
    """Start an app once, observe what it downloads and reads, and write its recipe and lock to the current folder.

    Then start the app from them again, without a network, unless the terms say otherwise. Raise UsageError for a recipe
    that exists already, AppError for an app that could not be started, NotReplayed if it did not start from its recipe,
    which is written all the same.
    """
    from preheat.api.tracing import TraceTerms, trace_app

    terms = terms or TraceTerms()
    traced = trace_app(command, _given(session), terms)
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

    session = _given(session)
    return run_app(app_to_run(app, tuple(command), session), session, guarding or Guarding())


def build(
    app: str | None, terms: ImageTerms, *, plan: ImagePlan | None = None, session: Session | None = None
) -> Built:
    """Build a container image with the app's weights, without a daemon; see `preheat.api.building.ImageTerms`.

    `plan`: the result of `plan_build` with the same arguments. Raise ImageError, whose `end` is the side that failed,
    and NotPreloaded.
    """
    from preheat.api.building import ImageBuilder

    builder = ImageBuilder(app, _given(session), terms)
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

    return RunningMirror(address, terms or MirrorTerms(), _given(session))


def prove(app: str | None = None, proof: Proof | None = None, *, session: Session | None = None) -> Report:
    """Start an app cold, preloaded, warm and after a crash, in each round; report the times and their parts.

    Raise CheckFailed for an invalid start, for example a cold start that did not download, AppError if the app does not
    start.
    """
    from preheat.api.proving import Proof, prove_app

    session = _given(session)
    return prove_app(session.recipe(app), session, proof or Proof())
