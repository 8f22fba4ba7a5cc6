"""Mirror: serve the library, and plain folders, in the hubs' own APIs."""

from pathlib import Path

from preheat.events import Listener
from preheat.library.library import Library
from preheat.mirror.forms import Answer, Request
from preheat.mirror.routes import answer
from preheat.mirror.server import Server
from preheat.mirror.shelf import Found, Shelf
from preheat.ref import Ref
from preheat.snapshot import File


def mirror(
    address: tuple[str, int], library: Library, shelf: Shelf, on_event: Listener, pace: int | None = None
) -> Server:
    """Return a server, to be started, of what lies in `shelf` and else in `library`."""

    def find(ref: Ref) -> Found | None:
        return shelf.find(ref) or _kept(library, ref)

    def reply(request: Request) -> Answer:
        return answer(request, find)

    return Server(address, reply, on_event, pace)


def _kept(library: Library, ref: Ref) -> Found | None:
    snapshot = library.find(ref)
    if snapshot is None:
        return None

    def locate(file: File) -> Path | None:
        return library.path(file.digest) if library.has(file.digest) else None

    return Found(snapshot, locate)
