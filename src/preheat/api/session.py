"""Session: the settings and environment of API calls, and the objects created from them on first use.

Modules that only some verbs need are imported on use, to keep starts from a complete library fast.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from preheat.api.addresses.endpoints import origin, read_endpoints, read_tokens
from preheat.api.addresses.store_secrets import store_secrets
from preheat.api.settings import Settings
from preheat.config import Config, read_config
from preheat.core.errors import CheckFailed, UsageError, did_you_mean
from preheat.core.values.replace import replace

if TYPE_CHECKING:
    from preheat.api.carrying.object_stores import ObjectStores
    from preheat.api.image_stores import ImageStores
    from preheat.core.events import Event, Listener
    from preheat.core.ref import Ref
    from preheat.hubs.hub import Hub
    from preheat.library.adopt.known_caches import KnownCaches
    from preheat.library.library import Library
    from preheat.net.http import NetworkSettings, Transport
    from preheat.net.retry import RetryPolicy
    from preheat.recipes.recipe import Need, Recipe
    from preheat.transfer.fetch import Policy
    from preheat.verbs.placing.allowed_places import Permissions
    from preheat.verbs.pull_sources import FileSelection, PullSource
    from preheat.views.view_protocol import View

_ATTEMPTS, _PATIENCE_S = 6, 300.0


def silent(event: Event) -> None:
    """Ignore the event."""


class Session:
    """Settings, environment and shared objects of the verbs; `on_event` is called with their events.

    Not thread-safe: use one session per thread.
    """

    def __init__(self, settings: Settings | None = None, on_event: Listener = silent) -> None:
        self.settings = settings or Settings()
        self.on_event = on_event
        self.config: Config = read_config()

    @functools.cached_property
    def library(self) -> Library:
        """Return the library from the settings, else the user's default library. Raise UsageError if there is none."""
        from preheat.library.library import Library

        root = self.settings.library or self.config.library
        if root is None:
            raise UsageError("this user has no home folder for a library", hint="--library DIR, or set HOME")
        state = self.config.state
        return Library(root.absolute(), state / "views" if state is not None else None)

    @property
    def state(self) -> Path:
        """Return the folder for this user's state that is independent of a library."""
        if self.config.state is None:
            raise UsageError("this user has no home folder", hint="set HOME, or XDG_STATE_HOME")
        return self.config.state

    @property
    def set_aside(self) -> Path:
        """Return the folder with the journals of files that a proof has moved (proof.conditions.set_aside)."""
        return self.state / "set-aside"

    def put_back(self) -> None:
        """Put back the files of apps that a killed proof has left aside, and report each."""
        if self.config.state is not None and self.set_aside.is_dir():
            from preheat.verbs.proving import placed_files

            placed_files.tell_put_back(self.set_aside, self.on_event)

    @property
    def patience(self) -> RetryPolicy:
        """Return the retry policy: attempts, and how long to retry a server that has responded before."""
        from preheat.net.retry import RetryPolicy

        lasting_s = self.settings.patience_s
        return RetryPolicy(attempts=_ATTEMPTS, lasting_s=_PATIENCE_S if lasting_s is None else lasting_s)

    @functools.cached_property
    def transport(self) -> Transport:
        """Return the HTTP transport, with the environment's proxies and CA file, or raise UsageError."""
        from preheat.net.http import Transport

        return Transport(self.network_settings(self.settings.connections))

    def network_settings(self, connections: int) -> NetworkSettings:
        """Return what every connection needs: the environment's proxies and CA file, and the settings' timeouts."""
        from preheat.api.addresses.ca_file import read_ca_file
        from preheat.net.http import NetworkSettings

        settings, config = self.settings, self.config
        read_ca_file(config.ca_file)  # raises if it cannot be read
        return NetworkSettings(config.proxies, config.ca_file, settings.connect_s, settings.read_s, connections)

    @property
    def caches(self) -> KnownCaches | None:
        """Return where other programs of this user keep models; None if they are excluded, or without a home."""
        if not self.settings.adopt or self.config.home is None:
            return None
        from preheat.library.adopt.known_caches import known_caches

        return known_caches(self.config.environ, self.config.home)

    @property
    def own_tokens(self) -> dict[str, str]:
        """Return HF_TOKEN as an environment variable for an app with its own HF_HOME; empty without a token.

        In that HF_HOME, the app would not find the token that the user has stored.
        """
        return {"HF_TOKEN": self.config.tokens["hf"]} if "hf" in self.config.tokens else {}

    @functools.cached_property
    def endpoints(self) -> dict[str, tuple[str, ...]]:
        """Return the endpoints of each hub, in order of preference: from the settings, else from the environment."""
        return read_endpoints(self.settings.endpoints, self.config.endpoints)

    @functools.cached_property
    def policy(self) -> Policy:
        """Return the transfer policy: connections, rate limit and retries."""
        from preheat.transfer.fetch import Policy

        return Policy(self.settings.connections, self.settings.limit_rate, patience=self.patience)

    def sources(self, need: Need) -> list[PullSource]:
        """List the sources of a need: its hub's endpoints, then those of its alias repositories."""
        from preheat.api.addresses.pull_hubs import sources_of

        return sources_of(need, self)

    def selection(self, need: Need) -> FileSelection:
        """Return the files to pull for a need."""
        from preheat.verbs.pull_sources import FileSelection

        return FileSelection(
            need.files, self.settings.unsafe_files, need.locked, need.partly, need.unpack, need.archive_size
        )

    def hub(self, ref: Ref, endpoint: str) -> Hub:
        """Return the hub of a ref, at one of its endpoints."""
        from preheat.api.addresses.pull_hubs import hub_of

        return hub_of(ref, endpoint, self.token(ref.hub if ref.hub == "ms" else "hf", endpoint), self)

    @functools.cached_property
    def object_stores(self) -> ObjectStores:
        """Return what opens object stores."""
        from preheat.api.carrying.object_stores import ObjectStores

        return ObjectStores(self)

    @functools.cached_property
    def image_stores(self) -> ImageStores:
        """Return what opens the images that are sources of files."""
        from preheat.api.image_stores import ImageStores

        return ImageStores(self, self.settings.plain_http)

    def token(self, hub: str, endpoint: str) -> str:
        """Return the token for an endpoint: its own, else the hub's token if it has the origin of the first endpoint.

        HF_TOKEN is never sent to other origins: it was issued for the preferred endpoint.
        """
        own = self._tokens.get(origin(endpoint))
        first = self.endpoints.get(hub, (endpoint,))[0]
        return own if own is not None else self.config.tokens.get(hub, "") if origin(first) == origin(endpoint) else ""

    @functools.cached_property
    def _tokens(self) -> dict[tuple[str, str, int], str]:
        """Return the tokens from the settings, by origin."""
        return read_tokens(self.settings.tokens_for, self.config.environ)

    @property
    def secrets(self) -> tuple[str, ...]:
        """List all tokens of this session; they must not appear in any output."""
        return (*self.config.tokens.values(), *self._tokens.values(), *store_secrets(self.config.environ))

    @functools.cached_property
    def permissions(self) -> Permissions:
        """Return the user's permissions for views outside the library."""
        from preheat.core.ref import read_path
        from preheat.verbs.placing.allowed_places import Permissions

        settings = self.settings
        places = tuple(read_path(str(place)) for place in settings.allowed_places)
        return Permissions(settings.replace, settings.keep, places)

    def app_view(self, kind: str) -> View:
        """Return the layout `kind` for an app, with link types that let `run` make the library read-only for the app.

        `pull` and `run` must use the same link types: replacing a link would make its blob look modified.
        """
        from preheat.guard.kernel.read_only import can_shield
        from preheat.views.links import AUTO, SHIELDED

        return self.view(kind, SHIELDED if can_shield() else AUTO)

    def image_view(self, kind: str) -> View:
        """Return the layout `kind` for an image: with symlinks, and without timestamps."""
        from preheat.views.layouts.local_dir import LocalDir
        from preheat.views.links import SYMLINK

        return LocalDir((SYMLINK,), lambda: 0.0) if kind == LocalDir.kind else self.view(kind, (SYMLINK,))

    def view(self, kind: str, auto: tuple[str, ...] | None = None) -> View:
        """Return the layout `kind`; `auto` are the link types to try if the setting `link` is `auto`."""
        from preheat.views.links import AUTO, read_ways
        from preheat.views.view_names import choose_view

        link = self.settings.link
        return choose_view(kind, (auto or AUTO) if link == "auto" else read_ways(link))

    def recipe(self, words: str | None) -> Recipe:
        """Read the recipe of APP, by default the one in this folder, with its needs pinned by its lock.

        If the lock is missing or stale, raise CheckFailed with the setting `locked`; else only report a stale lock.
        """
        from preheat.core.events import Noted
        from preheat.recipes.builtin_recipes import is_built_in, shipped_lock
        from preheat.recipes.lock_file import lock_path, read_lock

        recipe = self.unlocked_recipe(words)
        path = lock_path(recipe)
        lock = read_lock(path)
        strict = self.settings.locked
        if lock is None:
            if strict:
                raise CheckFailed(f"{recipe.name} has no lock at {path}", hint=_lock_command(words))
            return shipped_lock(words, recipe.folder).apply(recipe) if words and is_built_in(words) else recipe
        if stale := lock.stale(recipe):
            if strict:
                raise CheckFailed(f"{path} is stale: {'; '.join(stale)}", hint=_lock_command(words))
            again = _lock_command(words)
            note = f"stale, used only for the needs that it covers: {'; '.join(stale)}; to update it: {again}"
            self.on_event(Noted(str(path), note))
        recipe = lock.apply(recipe)
        return self._pinned_only(recipe) if strict else recipe

    def _pinned_only(self, recipe: Recipe) -> Recipe:
        """Return the recipe without the needs that its lock lacks: optional ones that no hub had when it was locked."""
        from preheat.core.events import OptionalMissing

        for need in recipe.needs:
            if need.locked is None:
                self.on_event(OptionalMissing(str(need.ref), "it is not in the lock"))
        return replace(recipe, needs=tuple(need for need in recipe.needs if need.locked is not None))

    def names_app(self, words: str) -> bool:
        """Return whether `words` name an app (built-in or a path), not a model."""
        from preheat.recipes.builtin_recipes import is_built_in
        from preheat.recipes.recipe import names_recipe

        return is_built_in(words) or names_recipe(words)

    def unlocked_recipe(self, words: str | None) -> Recipe:
        """Read the recipe of APP, by default the one in this folder, without applying its lock."""
        from preheat.recipes.builtin_recipes import built_in, is_built_in, names
        from preheat.recipes.recipe import FILE_NAME, located, read_recipe
        from preheat.verbs.view import require_names

        if words is not None and is_built_in(words):
            recipe = built_in(words, Path(self.settings.folder or "").absolute())
        elif self.settings.folder is not None and words is not None:
            hint = f"{did_you_mean(words, names())}--dir requires one; to list them: preheat recipes"
            raise UsageError(f"{words} is not a built-in recipe", hint=hint)
        else:
            try:
                recipe = read_recipe(Path(words or FILE_NAME))
            except UsageError as error:
                if words is None:
                    raise
                from preheat.api.naming.named_app import named_app  # other starts need not wait for it

                recipe = named_app(words, self, error)
        for index, need in enumerate(recipe.needs):
            try:
                require_names(self.view(need.view), need.to)  # raises now, before the download
            except UsageError as error:
                raise located(recipe, error, ("needs", index, "view")) from error
        return recipe.at_places(self.config.environ)


def _lock_command(words: str | None) -> str:
    from shlex import quote

    return f"preheat lock {quote(words)}" if words else "preheat lock"
