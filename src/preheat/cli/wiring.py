"""Wiring: the objects that a command line takes, made when first wanted; the only place that wires them together.

What only some commands take is imported where it is made.
"""

import argparse
import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from preheat.cli.console import Console
from preheat.cli.tokens import origin, read_token
from preheat.cli.words import read_seconds, read_size
from preheat.config import CA_FILES, Config, read_config
from preheat.errors import CheckFailed, UsageError
from preheat.events import Noted
from preheat.fence import Fence
from preheat.guard.shield import can_shield
from preheat.hub import Hub
from preheat.hubs.folder import Folder
from preheat.hubs.huggingface import HuggingFace
from preheat.hubs.url import Url
from preheat.library.library import Library
from preheat.recipes.collection import built_in, is_built_in, shipped_lock
from preheat.recipes.lock import lock_path, read_lock
from preheat.recipes.recipe import FILE_NAME, Need, Recipe, names_recipe, read_recipe
from preheat.ref import Ref
from preheat.retry import Patience
from preheat.transfer.fetch import Policy
from preheat.transport.transport import Transport, Wires
from preheat.verbs.pull import Source, Wish
from preheat.views.links import AUTO, SHIELDED, SYMLINK, read_ways

if TYPE_CHECKING:
    from preheat.mirror.upstream import Upstream
    from preheat.views.view import View


class Wiring:
    """One command line's options, and the objects that they mean."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self._options = options
        self.console = console
        self.config: Config = read_config()
        console.hide(self.config.tokens.values())

    @functools.cached_property
    def library(self) -> Library:
        """Open the library that --library names, else the user's own."""
        root = Path(self._options.library) if self._options.library else self.config.library
        if root is None:
            raise UsageError("this user has no home folder to keep a library in", hint="--library DIR, or set HOME")
        state = self.config.state
        return Library(root.absolute(), state / "views" if state is not None else None)

    @property
    def state(self) -> Path:
        """Return the folder for what belongs to this user and to no library."""
        if self.config.state is None:
            raise UsageError("this user has no home folder", hint="set HOME, or XDG_STATE_HOME")
        return self.config.state

    @functools.cached_property
    def transport(self) -> Transport:
        """Make the connections, through the environment's proxies and CA."""
        if self.config.ca_file is not None and not self.config.ca_file.is_file():
            raise UsageError(f"there is no file {self.config.ca_file}", hint=f"check {' and '.join(CA_FILES)}")
        return Transport(
            Wires(
                self.config.proxies,
                self.config.ca_file,
                connect_s=read_seconds(self._options.connect_timeout),
                read_s=read_seconds(self._options.read_timeout),
                connections=self._options.connections,
            )
        )

    @property
    def own_tokens(self) -> dict[str, str]:
        """Say in variables what an app that is led to another HF_HOME would have found in the user's own."""
        tokens = self.config.tokens
        return {"HF_TOKEN": tokens["hf"]} if "hf" in tokens else {}

    @functools.cached_property
    def endpoints(self) -> dict[str, tuple[str, ...]]:
        """Say whom to ask for each hub, the preferred first: those that --endpoint names, else the environment's."""
        named: dict[str, list[str]] = {hub: [] for hub in self.config.endpoints}
        given = [f"{hub}={url}" for hub, urls in self.config.endpoints.items() for url in urls]
        for words in (*self._options.endpoint, *given):
            hub, equals, url = words.partition("=")
            if not equals or hub not in named or not url.startswith(("http://", "https://")):
                raise UsageError(
                    f"{words!r} is not an endpoint",
                    hint="--endpoint hf=https://hf-mirror.com, or HF_ENDPOINT=https://hf-mirror.com",
                )
            named[hub].append(url)
        # What was typed takes the place of what the environment says.
        typed = {words.partition("=")[0] for words in self._options.endpoint}
        for hub in typed:
            del named[hub][-len(self.config.endpoints[hub]) :]
        return {hub: tuple(urls) for hub, urls in named.items()}

    @functools.cached_property
    def policy(self) -> Policy:
        """Say how hard to pull."""
        if not 1 <= self._options.connections <= 1024:
            raise UsageError(f"{self._options.connections} connections cannot be had", hint="--connections 1 to 1024")
        return Policy(
            self._options.connections,
            read_size(self._options.limit_rate or "0"),
            patience=Patience(attempts=6, lasting_s=read_seconds(self._options.patience)),
        )

    def sources(self, need: Need) -> list[Source]:
        """List whom to ask for a need: its hub's endpoints, then those of the others that have the same."""
        return [
            Source(endpoint or ref.repo, self.hub(ref, endpoint), ref)
            for ref in (need.ref, *need.same)
            for endpoint in self.endpoints.get(ref.hub, ("",))
        ]

    def wish(self, need: Need) -> Wish:
        """Say what is wanted of a need."""
        return Wish(need.files, self._options.unsafe_files, need.locked, need.partly)

    def hub(self, ref: Ref, endpoint: str) -> Hub:
        """Choose the hub that a ref names, at one of its endpoints."""
        match ref.hub:
            case "hf":
                return HuggingFace(endpoint, self.transport, self._token("hf", endpoint))
            case "ms":
                from preheat.hubs.modelscope import ModelScope

                return ModelScope(endpoint, self.transport, self._token("ms", endpoint))
            case "url":
                return Url(self.transport)
            case _:
                return Folder()

    def _token(self, hub: str, endpoint: str) -> str:
        """Return the token for an endpoint: its own, else the hub's where it is the hub's first one.

        HF_TOKEN was given for the endpoint that is preferred; a helper at another origin is never shown it.
        """
        own = self._tokens.get(origin(endpoint))
        first = self.endpoints.get(hub, (endpoint,))[0]
        return own if own is not None else self.config.tokens.get(hub, "") if origin(first) == origin(endpoint) else ""

    @functools.cached_property
    def _tokens(self) -> dict[tuple[str, str, int], str]:
        """Read the tokens that --token-for names, by origin."""
        tokens = {}
        for words in vars(self._options).get("token_for", ()):
            url, _, place = words.rpartition("=")
            tokens[origin(url)] = read_token(words, url, place, self.config.environ)
        self.console.hide((*self.config.tokens.values(), *tokens.values()))
        return tokens

    def upstreams(self, words: Sequence[str]) -> "list[Upstream]":
        """Read whom a mirror asks for what it lacks, each behind a fence and with connections of its own.

        The tokens are the mirror's clients'. One who does not answer is soon given up, for the clients wait meanwhile.
        """
        return [self._upstream(one) for one in words]

    def _upstream(self, words: str) -> "Upstream":
        from preheat.hubs.modelscope import ModelScope
        from preheat.mirror.upstream import Upstream

        hub, _, url = words.partition("=")
        if hub not in ("hf", "ms") or not url.startswith(("http://", "https://")) or not urlsplit(url).hostname:
            raise UsageError(
                f"{words!r} is no upstream",
                hint="--upstream hf=https://huggingface.co, --upstream ms=https://modelscope.cn, or another mirror",
            )
        wires = Wires(self.config.proxies, self.config.ca_file, connect_s=3.0, connections=64, fence=Fence(url))
        # One mirror serves many, so nobody may fill its memory.
        transport = Transport(replace(wires, largest_document=48 << 20))
        make = HuggingFace if hub == "hf" else ModelScope
        return Upstream(hub, url, lambda token, headers: make(url, transport, token, headers))

    def app_view(self, kind: str) -> "View":
        """Choose a layout for an app that `run` is to keep from writing the library.

        The same whether `pull` or `run` places it: a link that goes and comes would make its blob look touched.
        """
        return self.view(kind, SHIELDED if can_shield() else AUTO)

    def image_view(self, kind: str) -> "View":
        """Choose a layout to be read into an image: as links, and without a time in it."""
        from preheat.views.local_dir import LocalDir

        return LocalDir((SYMLINK,), lambda: 0.0) if kind == LocalDir.kind else self.view(kind, (SYMLINK,))

    def view(self, kind: str, auto: tuple[str, ...] = AUTO) -> "View":
        """Choose a layout by its name; `auto` is what `--link auto` means."""
        from preheat.cli.views import choose_view

        link = vars(self._options).get("link", "auto")
        return choose_view(kind, auto if link == "auto" else read_ways(link))

    def recipe(self, words: str | None) -> Recipe:
        """Read the recipe that APP names, else the one in this folder, its needs pinned as its lock says.

        Where recipe and lock do not fit, raise CheckFailed if --locked is asked for, and say so if not.
        """
        recipe = self.unlocked_recipe(words)
        path = lock_path(recipe)
        lock = read_lock(path)
        strict = vars(self._options).get("locked", False)
        if lock is None:
            if strict:
                raise CheckFailed(f"{recipe.name} has no lock at {path}", hint=_lock_command(words))
            return shipped_lock(words, recipe.folder).apply(recipe) if words and is_built_in(words) else recipe
        if stale := lock.stale(recipe):
            if strict:
                raise CheckFailed(f"{path} is stale: {'; '.join(stale)}", hint=_lock_command(words))
            self.console(Noted(str(path), f"stale, and used as far as it goes: {'; '.join(stale)}"))
        return lock.apply(recipe)

    def names_app(self, words: str) -> bool:
        """Whether `words` name an app, built in or by a path, and not a model."""
        return is_built_in(words) or names_recipe(words)

    def unlocked_recipe(self, words: str | None) -> Recipe:
        """Read the recipe that APP names, else the one in this folder, as it was written."""
        folder = vars(self._options).get("dir")
        if words is not None and is_built_in(words):
            recipe = built_in(words, Path(folder or "").absolute())
        elif folder is not None and words is not None:
            raise UsageError(f"{words} is no built-in recipe", hint="--dir is for those: preheat recipes lists them")
        else:
            recipe = read_recipe(Path(words or FILE_NAME))
        from preheat.verbs.view import require_names

        for need in recipe.needs:
            view = self.view(need.view)  # said now, and not when gigabytes have come for it
            require_names(view, need.to)
        return recipe


def _lock_command(words: str | None) -> str:
    return f"preheat lock {words}" if words else "preheat lock"
