"""Commands: what each verb's words mean; the only place that wires objects together."""

import argparse
import contextlib
import functools
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import IO

from preheat.cli.console import Both, Console, JsonLines, console
from preheat.cli.words import read_address, read_seconds, read_size, say_seconds, say_size
from preheat.config import Config, read_config
from preheat.errors import PreheatError, UsageError
from preheat.guard.app import App
from preheat.guard.lifecycle import Patience as Watchfulness
from preheat.hub import Hub
from preheat.hubs.folder import Folder
from preheat.hubs.huggingface import HuggingFace
from preheat.hubs.persistent import Persistent
from preheat.library.library import Library
from preheat.mirror.shelf import Shelf
from preheat.proof.report import table
from preheat.recipes.offline import offline
from preheat.recipes.recipe import FILE_NAME, Need, Recipe, read_recipe
from preheat.ref import Ref
from preheat.retry import Patience
from preheat.transfer.plan import Policy
from preheat.transport import Transport, Wires
from preheat.verbs.mirror import mirror
from preheat.verbs.prove import Terms, prove
from preheat.verbs.pull import Pulled, pull
from preheat.verbs.run import Watch
from preheat.verbs.run import run as run_app
from preheat.verbs.view import everything, place, place_needs
from preheat.views.huggingface import HuggingFaceCache
from preheat.views.view import View

_INTERRUPTED = 130


def run(options: argparse.Namespace) -> int:
    """Do what the words say, say what came of it; return the exit status (docs/exit-codes.md)."""
    with contextlib.ExitStack() as closing:
        # The app's stdout is its own.
        speaking = console(
            json=options.json, loud=options.loud, out=sys.stderr if options.verb == "run" else sys.stdout
        )
        try:
            if options.events:
                speaking = Both(speaking, JsonLines(closing.enter_context(_open_events(options.events))))
            closing.callback(speaking.close)
            return Commands(options, speaking).run()
        except PreheatError as error:
            speaking.error(error)
            return error.exit_status
        except KeyboardInterrupt:
            speaking.error(PreheatError("interrupted", hint="what arrived is kept: run it again to go on"))
            return _INTERRUPTED
        except BrokenPipeError:
            return 1


class Commands:
    """One command line, and the objects that it takes."""

    def __init__(self, options: argparse.Namespace, speaking: Console) -> None:
        self._options = options
        self._console = speaking
        self._config: Config = read_config()

    def run(self) -> int:
        """Do what the words say; return the exit status."""
        match self._options.verb:
            case "pull":
                return self._pull()
            case "run":
                return self._run()
            case "mirror":
                return self._mirror()
            case "prove":
                return self._prove()
            case verb:
                raise AssertionError(verb)

    # ---- the objects

    @functools.cached_property
    def _library(self) -> Library:
        return Library(Path(self._options.library).absolute() if self._options.library else self._config.library)

    @functools.cached_property
    def _transport(self) -> Transport:
        return Transport(Wires(self._config.proxies, self._config.ca_file, connections=self._options.connections))

    @functools.cached_property
    def _endpoints(self) -> dict[str, str]:
        endpoints = {hub: urls[0] for hub, urls in self._config.endpoints.items()}
        for words in reversed(self._options.endpoint):
            hub, equals, url = words.partition("=")
            if not equals or hub not in endpoints or not url.startswith(("http://", "https://")):
                raise UsageError(f"{words!r} is not an endpoint", hint="--endpoint hf=https://hf-mirror.com")
            endpoints[hub] = url
        return endpoints

    @functools.cached_property
    def _policy(self) -> Policy:
        if not 1 <= self._options.connections <= 1024:
            raise UsageError(f"{self._options.connections} connections cannot be had", hint="--connections 1 to 1024")
        return Policy(self._options.connections)

    def _hub(self, ref: Ref) -> Hub:
        match ref.hub:
            case "hf":
                hub = HuggingFace(self._endpoints["hf"], self._transport, self._config.tokens.get("hf", ""))
                return Persistent(hub, Patience(), self._console)
            case _:
                return Folder()

    def _view(self, kind: str) -> View:
        match kind:
            case "hf-cache":
                return HuggingFaceCache()
            case _:
                raise UsageError(f"{kind!r} is not a view", hint="hf-cache")

    def _recipe(self, words: str | None) -> Recipe:
        return read_recipe(Path(words or FILE_NAME))

    # ---- the verbs

    def _pull(self) -> int:
        options = self._options
        views = [self._view_words(words) for words in options.view]
        pulled: list[Pulled] = []
        for words in options.what:
            if words.endswith(".toml") or (Path(words) / FILE_NAME).is_file():
                recipe = self._recipe(words)
                pulled += [self._pull_need(need) for need in recipe.needs]
                place_needs(recipe, self._library, self._view, self._console)
            else:
                pulled.append(self._pull_need(Need(Ref.parse(words), tuple(options.files))))
        for view, at in views:
            for one in pulled:
                place(one.snapshot, self._library, view, at, self._console)
        size, fetched = sum(one.snapshot.size for one in pulled), sum(one.fetched for one in pulled)
        figures = {
            "snapshots": [{"ref": str(one.snapshot.ref), "commit": one.snapshot.commit} for one in pulled],
            "size": size,
            "fetched": fetched,
            "received": self._transport.received,
            "library": str(self._library.root),
        }
        self._console.done(
            figures, f"{say_size(size)} in {self._library.root}, {say_size(fetched)} of it new" if options.loud else ""
        )
        return 0

    def _pull_need(self, need: Need) -> Pulled:
        return pull(need.ref, self._hub(need.ref), self._library, self._policy, self._console, need.files)

    def _view_words(self, words: str) -> tuple[View, Path]:
        kind, equals, folder = words.partition("=")
        if not equals or not folder:
            raise UsageError(f"{words!r} names no view and folder", hint="--view hf-cache=DIR")
        return self._view(kind), Path(folder).absolute()

    def _run(self) -> int:
        options = self._options
        recipe = self._app_to_run()
        if options.pull:
            for need in recipe.needs:
                self._pull_need(need)
        environ = offline(self._config.environ)
        if recipe.needs:
            environ |= place_needs(recipe, self._library, self._view, self._console)
        else:
            at = self._library.root / "views" / recipe.name
            for snapshot in everything(self._library):
                environ |= place(snapshot, self._library, self._view("hf-cache"), at / "hf-cache", self._console)
        app = App(recipe.command, environ | recipe.env, str(recipe.folder), options.ready or recipe.ready)
        patience = Watchfulness(
            ready_within_s=read_seconds(options.ready_within),
            stop_within_s=read_seconds(options.stop_within),
            max_restarts=options.max_restarts,
        )
        status = run_app(app, Watch(patience, network=options.network == "watch"), self._console)
        self._console.done({"status": status}, "")
        return status

    def _app_to_run(self) -> Recipe:
        """Find what to start: a recipe, a command, or a recipe with another command."""
        options = self._options
        if options.command and not options.app and not Path(FILE_NAME).is_file():
            return Recipe(Path(options.command[0]).name, Path.cwd(), tuple(options.command))
        recipe = self._recipe(options.app)
        command = tuple(options.command) or recipe.command
        if not command:
            raise UsageError(f"{recipe.name} has no command", hint="command = […] in [app], or preheat run APP -- CMD")
        return replace(recipe, command=command)

    def _mirror(self) -> int:
        options = self._options
        folders = dict(self._folder_words(words) for words in options.folder)
        pace = read_size(options.pace) if options.pace else None
        server = mirror(read_address(options.listen), self._library, Shelf(folders), self._console, pace)
        signal.signal(signal.SIGTERM, _interrupt)
        with server, contextlib.suppress(KeyboardInterrupt):
            server.wait()
        self._console.done({"url": server.url}, "")
        return 0

    def _prove(self) -> int:
        options = self._options
        recipe = self._recipe(options.app)
        if options.runs < 1:
            raise UsageError(f"{options.runs} rounds prove nothing", hint="--runs 3")

        def pull_all(library: Library) -> int:
            before = self._transport.received
            for need in recipe.needs:
                pull(need.ref, self._hub(need.ref), library, self._policy, self._console, need.files)
            return self._transport.received - before

        self._library.prepare(0)
        terms = Terms(
            options.runs,
            read_seconds(options.ready_within),
            self._config.environ,
            self._endpoints["hf"],
            self._library.root,
            pull_all,
        )
        report = prove(recipe, terms, self._view, self._console)
        self._console.done(report.figures(), table(report, say_size, say_seconds))
        return 0

    @staticmethod
    def _folder_words(words: str) -> tuple[str, Path]:
        name, equals, folder = words.partition("=")
        if not equals or not Path(folder).is_dir():
            raise UsageError(f"{words!r} names no repository and folder", hint="--folder owner/name=DIR")
        return name, Path(folder).absolute()


def _open_events(path: str) -> IO[str]:
    try:
        return open(path, "w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written", hint="--events FILE") from error


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal.signal gives them
    raise KeyboardInterrupt
