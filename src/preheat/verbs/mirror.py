"""Mirror: serve the library, and plain folders, in the hubs' own APIs; with upstreams, fetch what they lack."""

from collections.abc import Sequence

from preheat.events import Listener
from preheat.library.library import Library
from preheat.mirror.fetches import Fetches
from preheat.mirror.forms import Answer, Request, Slice, bearer
from preheat.mirror.pull_through import PullThrough, kept
from preheat.mirror.routes import answer
from preheat.mirror.server import Server
from preheat.mirror.shelf import Found, Shelf
from preheat.mirror.upstream import Upstream, Upstreams
from preheat.ref import Ref
from preheat.retry import Patience
from preheat.transfer.fetch import Policy

# Clients wait, and ask again themselves.
_PATIENCE = Patience(attempts=5, first_wait_s=0.25, longest_wait_s=4.0)


def mirror(
    address: tuple[str, int],
    library: Library,
    shelf: Shelf,
    on_event: Listener,
    pace: int | None = None,
    upstreams: Sequence[Upstream] = (),
) -> Server:
    """Return a server, to be started, of what lies in `shelf`, else in `library`, else with one of `upstreams`."""
    fetches = Fetches(library, Policy(connections=64, patience=_PATIENCE), on_event)
    through = PullThrough(library, Upstreams(upstreams), fetches) if upstreams else None

    def reply(request: Request) -> Answer:
        def find(ref: Ref) -> Found | None:
            found = shelf.find(ref)
            if found is None and through is not None:
                return through.find(ref, bearer(request))
            return found or kept(library, ref)

        full = answer(request, find)
        if isinstance(full.body, Slice):
            fetches.hit()
        return full

    return Server(address, reply, on_event, pace)
