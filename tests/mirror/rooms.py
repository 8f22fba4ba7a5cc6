"""Rooms: a mirror with its own library, in this process, and a client of it."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

from preheat.core.events import Event
from preheat.core.ref import Ref
from preheat.hubs.huggingface import HuggingFace
from preheat.library.library import Library
from preheat.mirror.access.reloadable import ReloadableSettings, Words
from preheat.mirror.api.folders import Shelf
from preheat.mirror.upstream.pull_through import Remembering
from preheat.mirror.upstream.upstream import Upstream
from preheat.net.http import NetworkSettings, Transport
from preheat.net.retry import RetryPolicy
from preheat.transfer.fetch import Policy
from preheat.verbs.mirror import WHILE_CLIENTS_WAIT, MirrorOptions, mirror
from preheat.verbs.pull import pull
from preheat.verbs.pull_sources import PullSource
from preheat.verbs.scan import ALLOW
from tests.authority import authority, connect, trusting

REMEMBERING = Remembering()
# A download goes on when its mirror stops. That of a test whose hub is gone ends before long, and not in a later test.
PATIENCE = replace(WHILE_CLIENTS_WAIT, lasting_s=10.0)


class Told:
    """A response, as far as it arrived."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, *, whole: bool) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body
        self.whole = whole


def ask(url: str, target: str, method: str = "GET", **headers: str) -> Told:
    """Send a request to a mirror, and read the response."""
    connection = connect(url)
    connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    try:
        body, whole = response.read(), True
    except http.client.IncompleteRead as error:
        body, whole = error.partial, False
    except ConnectionResetError:
        body, whole = b"", False
    connection.close()
    return Told(response.status, dict(response.getheaders()), body, whole=whole)


class Room:
    """A mirror, its library and its upstreams."""

    def __init__(
        self,
        folder: Path,
        *upstreams: str,
        remembering: Remembering = REMEMBERING,
        patience: RetryPolicy = PATIENCE,
        address: tuple[str, int] = ("127.0.0.1", 0),
        in_order: bool = False,
    ) -> None:
        self.library = Library(folder)
        self.events: list[Event] = []
        self._transport = Transport(trusting(NetworkSettings(connect_s=2.0, read_s=5.0)))
        behind = [self._upstream(url) for url in upstreams]
        settings = ReloadableSettings(Words(tls=lambda: authority().context))
        options = MirrorOptions(settings, remembering=remembering, patience=patience, unsafe=ALLOW, in_order=in_order)
        self.server = mirror(address, self.library, Shelf({}), self.events.append, upstreams=behind, options=options)
        self.url = self.server.url

    def open(self) -> Self:
        """Start serving."""
        self.server.start()
        return self

    def ask(self, target: str, method: str = "GET", **headers: str) -> Told:
        """Send it a request."""
        return ask(self.url, target, method, **headers)

    @contextlib.contextmanager
    def asking(self, target: str) -> Iterator[http.client.HTTPResponse]:
        """Send it a request; yield the response, to be read as it arrives."""
        with contextlib.closing(connect(self.url)) as connection:
            connection.request("GET", target)
            with connection.getresponse() as response:
                yield response

    def under_way(self) -> list[dict[str, object]]:
        """List its running downloads."""
        fetches: list[dict[str, object]] = json.loads(self.ask("/status.json").body)["fetches"]
        return fetches

    def pull(self, words: str, url: str) -> None:
        """Pull a model into its library, as a user does."""
        ref = Ref.parse(words)
        source = PullSource(url, HuggingFace(url, self._transport), ref)
        pull([source], self.library, Policy(connections=4), self.events.append)

    def _upstream(self, url: str) -> Upstream:
        return Upstream("hf", url, lambda asker: HuggingFace(url, self._transport, asker.token, asker.headers))
