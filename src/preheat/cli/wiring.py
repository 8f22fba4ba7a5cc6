"""Wiring: the objects that a command line takes, made when first wanted; the only place that wires them together."""

import argparse
import functools
from pathlib import Path

from preheat.cli.console import Console
from preheat.config import Config, read_config
from preheat.errors import UsageError
from preheat.hub import Hub
from preheat.hubs.folder import Folder
from preheat.hubs.huggingface import HuggingFace
from preheat.hubs.persistent import Persistent
from preheat.library.library import Library
from preheat.recipes.recipe import FILE_NAME, Recipe, read_recipe
from preheat.ref import Ref
from preheat.retry import Patience
from preheat.transfer.plan import Policy
from preheat.transport import Transport, Wires
from preheat.views.huggingface import HuggingFaceCache
from preheat.views.view import View


class Wiring:
    """One command line's options, and the objects that they mean."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self._options = options
        self.console = console
        self.config: Config = read_config()

    @functools.cached_property
    def library(self) -> Library:
        """Open the library that --library names, else the user's own."""
        return Library(Path(self._options.library).absolute() if self._options.library else self.config.library)

    @functools.cached_property
    def transport(self) -> Transport:
        """Make the connections, through the environment's proxies and CA."""
        if self.config.ca_file is not None and not self.config.ca_file.is_file():
            raise UsageError(f"there is no file {self.config.ca_file}", hint="check SSL_CERT_FILE")
        return Transport(Wires(self.config.proxies, self.config.ca_file, connections=self._options.connections))

    @functools.cached_property
    def endpoints(self) -> dict[str, str]:
        """Say whom to ask for each hub."""
        endpoints = {hub: urls[0] for hub, urls in self.config.endpoints.items()}
        given = [f"{hub}={url}" for hub, url in endpoints.items()]
        for words in (*given, *reversed(self._options.endpoint)):
            hub, equals, url = words.partition("=")
            if not equals or hub not in endpoints or not url.startswith(("http://", "https://")):
                raise UsageError(
                    f"{words!r} is not an endpoint",
                    hint="--endpoint hf=https://hf-mirror.com, or HF_ENDPOINT=https://hf-mirror.com",
                )
            endpoints[hub] = url
        return endpoints

    @functools.cached_property
    def policy(self) -> Policy:
        """Say how hard to pull."""
        if not 1 <= self._options.connections <= 1024:
            raise UsageError(f"{self._options.connections} connections cannot be had", hint="--connections 1 to 1024")
        return Policy(self._options.connections)

    def hub(self, ref: Ref) -> Hub:
        """Choose the hub that a ref names."""
        match ref.hub:
            case "hf":
                hub = HuggingFace(self.endpoints["hf"], self.transport, self.config.tokens.get("hf", ""))
                return Persistent(hub, Patience(), self.console)
            case _:
                return Folder()

    def view(self, kind: str) -> View:
        """Choose a layout by its name."""
        match kind:
            case "hf-cache":
                return HuggingFaceCache()
            case _:
                raise UsageError(f"{kind!r} is not a view", hint="hf-cache")

    def recipe(self, words: str | None) -> Recipe:
        """Read the recipe that APP names, else the one in this folder."""
        recipe = read_recipe(Path(words or FILE_NAME))
        for need in recipe.needs:
            self.view(need.view)  # said now, and not when gigabytes have come for it
        return recipe
