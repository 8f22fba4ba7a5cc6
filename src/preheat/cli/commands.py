"""Commands: what each verb's words mean; the only place that wires objects together."""

import argparse
import functools
from pathlib import Path

from preheat.cli.console import Console, console
from preheat.cli.words import say_size
from preheat.config import Config, read_config
from preheat.errors import UsageError
from preheat.hub import Hub
from preheat.hubs.folder import Folder
from preheat.hubs.huggingface import HuggingFace
from preheat.hubs.persistent import Persistent
from preheat.library.library import Library
from preheat.recipes.recipe import FILE_NAME, Need, Recipe, read_recipe
from preheat.ref import Ref
from preheat.retry import Patience
from preheat.transfer.plan import Policy
from preheat.transport import Transport, Wires
from preheat.verbs.pull import Pulled, pull
from preheat.verbs.view import place, place_needs
from preheat.views.huggingface import HuggingFaceCache
from preheat.views.view import View


def run(options: argparse.Namespace) -> int:
    """Do what the words say; return the exit status."""
    return Commands(options).run()


class Commands:
    """One command line, and the objects that it takes."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._config: Config = read_config()
        self._console: Console = console(json=options.json, loud=options.loud)

    def run(self) -> int:
        """Do what the words say; return the exit status."""
        try:
            match self._options.verb:
                case "pull":
                    return self._pull()
                case verb:
                    raise AssertionError(verb)
        finally:
            self._console.close()

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
