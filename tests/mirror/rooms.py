"""Rooms: a mirror with a library of its own, in this process, and what a client is told by it."""

import http.client
import json
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
from preheat.net.http import Transport, Wires
from preheat.net.retry import RetryPolicy
from preheat.transfer.fetch import Policy
from preheat.verbs.mirror import WHILE_CLIENTS_WAIT, House, mirror
from preheat.verbs.pull import pull
from preheat.verbs.pull_sources import PullSource
from preheat.verbs.scan import ALLOW
from tests.authority import authority, connect, trusting

REMEMBERING = Remembering()


class Told:
    """An answer, as far as it came."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, *, whole: bool) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body
        self.whole = whole


def ask(url: str, target: str, method: str = "GET", **headers: str) -> Told:
    """Ask a mirror, and read what comes."""
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
    """A mirror, and whom it asks."""

    def __init__(
        self,
        folder: Path,
        *upstreams: str,
        remembering: Remembering = REMEMBERING,
        patience: RetryPolicy = WHILE_CLIENTS_WAIT,
        address: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self.library = Library(folder)
        self.events: list[Event] = []
        self._transport = Transport(trusting(Wires(connect_s=2.0, read_s=5.0)))
        behind = [self._upstream(url) for url in upstreams]
        settings = ReloadableSettings(Words(tls=lambda: authority().context))
        house = House(settings, remembering=remembering, patience=patience, unsafe=ALLOW)
        self.server = mirror(address, self.library, Shelf({}), self.events.append, upstreams=behind, house=house)
        self.url = self.server.url

    def open(self) -> Self:
        """Begin to answer."""
        self.server.start()
        return self

    def ask(self, target: str, method: str = "GET", **headers: str) -> Told:
        """Ask it."""
        return ask(self.url, target, method, **headers)

    def under_way(self) -> list[dict[str, object]]:
        """List what it fetches."""
        fetches: list[dict[str, object]] = json.loads(self.ask("/status.json").body)["fetches"]
        return fetches

    def pull(self, words: str, url: str) -> None:
        """Put a model into its library by hand."""
        ref = Ref.parse(words)
        source = PullSource(url, HuggingFace(url, self._transport), ref)
        pull([source], self.library, Policy(connections=4), self.events.append)

    def _upstream(self, url: str) -> Upstream:
        return Upstream("hf", url, lambda asker: HuggingFace(url, self._transport, asker.token, asker.headers))
