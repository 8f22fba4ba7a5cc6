"""Tracing: start an app once, observe it, and write its recipe and lock."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from preheat.api.addresses.upstreams import CONNECTIONS, read_upstreams
from preheat.core.errors import HubError, UsageError
from preheat.core.values.replace import replace
from preheat.guard.model.app import App
from preheat.mirror.api.folders import Shelf
from preheat.proof.start.trial import read_first
from preheat.recipes.app_port import at_port
from preheat.recipes.recipe import FILE_NAME, Need, is_app_name
from preheat.verbs.mirror import WHILE_CLIENTS_WAIT, MirrorOptions, mirror
from preheat.verbs.pull_sources import resolve
from preheat.verbs.tracing.lost_hub import HubFailures
from preheat.verbs.tracing.readiness import TraceWatch, Wanted
from preheat.verbs.tracing.replaying.replay_again import replay_again
from preheat.verbs.tracing.trace import Traced, TraceOptions, trace
from preheat.verbs.upkeep.noted_apps import note_recipe

if TYPE_CHECKING:
    from preheat.api.session import Session
    from preheat.core.events import Listener
    from preheat.core.ref import Ref
    from preheat.core.snapshot import Snapshot
    from preheat.mirror.http.server import Server
    from preheat.recipes.recipe import Recipe
    from preheat.verbs.tracing.replaying.replay import ReplayVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceTerms:
    """Options of a trace; see docs/trace.md.

    `output`: the recipe, in the current folder; `force` overwrites one that exists. `name`: the app's, default the
    folder's. `watch`: when the app is ready, what to do then, and for how many seconds to watch it. `wanted`: whether
    the user wants the app stopped by now. `keep_unread`: keep needs that the app downloaded and did not read.
    `overlay`: this process may move to a mount namespace, and stays there until it ends; the app then writes to
    overlays, and what it writes is dropped. Without it, or where the system does not permit it, the app writes to its
    own folder. `replay`: start the app from its recipe again, without a network. `intercept`: lead the app's programs
    through a proxy that sees their HTTPS requests, for those that are no Python.
    """

    output: Path = Path(FILE_NAME)
    force: bool = False
    name: str = ""
    watch: TraceWatch = field(default_factory=lambda: TraceWatch("", "", 5.0, 1800.0, ""))
    wanted: Wanted = field(default_factory=Wanted)
    keep_unread: bool = False
    overlay: bool = False
    replay: bool = True
    intercept: bool = False

    def __post_init__(self) -> None:
        if self.output.suffix != ".toml":
            raise UsageError(f"{self.output} would not be recognized as a recipe", hint="-o preheat.toml")
        if self.output.exists() and not self.force:
            raise UsageError(f"{self.output} exists already", hint="-o FILE names another, --force overwrites it")
        if self.output.absolute().parent != Path.cwd():
            # An app is started in its recipe's folder, where relative paths of its command would not be the same.
            hint = f"cd {self.output.parent}, and trace there"
            raise UsageError(f"{self.output} is not in the current folder", hint=hint)
        if self.name and not is_app_name(self.name):
            raise UsageError(f"{self.name!r} is not an app's name", hint="letters, digits and dashes")
        if self.watch.first:
            read_first(self.watch.first)


def trace_app(command: tuple[str, ...], session: Session, terms: TraceTerms) -> Traced:
    """Start the command, observe what it downloads and reads, and write the recipe and the lock.

    Raise UsageError for an empty command, AppError for an app that could not be started.
    """
    if not command or not command[0]:
        raise UsageError("there is nothing to trace", hint="preheat trace -- python webui.py")

    failures = HubFailures()

    def serve(on_event: Listener) -> Server:
        words = [f"{hub}={url}" for hub in ("hf", "ms") for url in session.endpoints[hub]]
        behind = [*map(failures.watched, read_upstreams(words, {}, session.network_settings(CONNECTIONS)))]
        # What the app downloads is its user's, as if pulled by hand: no mirror evicts it.
        patience = replace(WHILE_CLIENTS_WAIT, lasting_s=session.patience.lasting_s)
        options = MirrorOptions(patience=patience, by="", unsafe=session.settings.unsafe_files)
        return mirror(("127.0.0.1", 0), session.library, Shelf({}), on_event, None, behind, options)

    def ask(ref: Ref) -> Snapshot | None:
        try:
            return resolve(session.sources(Need(ref)), session.on_event, session.patience)[1]
        except HubError:
            return None

    app = App(command, {**session.own_tokens, **session.config.environ}, str(Path.cwd()))
    home = session.config.home
    options = TraceOptions(terms.output, terms.watch, serve, ask, terms.wanted, terms.keep_unread, session.secrets)
    options = replace(
        options,
        home=home,
        overlay=terms.overlay,
        replay=terms.replay,
        unsafe=session.settings.unsafe_files,
        failures=failures,
        state=session.config.state,
    )
    options = replace(options, intercept=session.transport if terms.intercept else None)
    name = terms.name or terms.output.absolute().parent.name.strip(".") or "app"
    try:
        return trace(app, name, session.library, options, session.on_event)
    finally:
        note_recipe(terms.output.absolute(), session.library)


def replay_app(recipe: Recipe, session: Session, *, overlay: bool = False) -> ReplayVerdict:
    """Start the app of a recipe whose needs are pinned, from the library alone, without a network; once.

    `overlay`: see TraceTerms. Raise UsageError if the recipe has no command.
    """
    config = session.config
    return replay_again(
        at_port(recipe, None), session.library, config.environ, config.home, session.on_event, overlay=overlay
    )
