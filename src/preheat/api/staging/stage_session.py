"""Stage session: a session whose library is a stage, and whose sources are the nearest ones first."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from preheat.api.addresses.endpoints import origin
from preheat.api.session import Session
from preheat.core.errors import UsageError
from preheat.core.ref import FOLDER, URL
from preheat.core.values.replace import replace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from preheat.core.errors import HubUnavailable
    from preheat.net.http import NetworkSettings
    from preheat.recipes.recipe import Need
    from preheat.verbs.pull_sources import PullSource


class StageSession(Session):
    """The session of a stage in the folder `to`, with the settings of another one, whose library is copied from.

    The sources are `mirrors`, in order, then that library, then the hubs. Files in other programs' caches are left
    alone: a user's caches are often on the shared filesystem that a stage spares.
    """

    def __init__(self, session: Session, to: Path, mirrors: Sequence[str]) -> None:
        for url in mirrors:
            if not url.startswith(("http://", "https://")) or not origin(url)[0]:
                raise UsageError(f"{url!r} is not the address of a mirror", hint="--mirror http://HOST:8000")
        super().__init__(replace(session.settings, library=to, adopt=False), session.on_event)
        self.config = session.config
        self._mirrors = tuple(mirrors)
        self._gone: dict[str, HubUnavailable] = {}
        shared = session.settings.library or session.config.library
        named = session.settings.library is not None or "PREHEAT_LIBRARY" in session.config.environ
        is_source = shared is not None and (named or shared.is_dir()) and not _same(shared, to)
        self._shared = shared.absolute() if shared is not None and is_source else None

    def sources(self, need: Need) -> list[PullSource]:
        """List the sources of a need: mirrors, the shared library, and then those of any session."""
        from preheat.net.retry import NEAR
        from preheat.verbs.pull_sources import PullSource
        from preheat.verbs.staging.near_mirror import NearMirror
        from preheat.verbs.staging.shared_library import SharedLibrary

        ref, near = need.stored, []
        if ref.hub not in (URL, FOLDER):  # a mirror has none of these
            for url in self._mirrors:
                mirror = NearMirror(url, self._near.hub(ref, url), self._gone)
                near.append(PullSource(url, mirror, ref, only=True, patience=NEAR))
        if self._shared is not None:
            near.append(PullSource(str(self._shared), SharedLibrary(self._shared), ref, only=True, local=True))
        return [*near, *super().sources(need)]

    @property
    def received(self) -> int:
        """Return the bytes received from the network so far."""
        return self.transport.received + self._near.transport.received

    @functools.cached_property
    def _near(self) -> Session:
        near = _NearSession(self.settings, self.on_event)
        near.config = self.config
        return near


class _NearSession(Session):
    """A session whose servers are near: a host that is gone is noticed within seconds."""

    def network_settings(self, connections: int) -> NetworkSettings:
        return super().network_settings(connections).near


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
