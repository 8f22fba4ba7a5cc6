"""Mirror: serve the library and plain folders in the hubs' own APIs; with upstreams, download what is missing."""

import functools
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from preheat.core.errors import PreheatError
from preheat.core.events import Event, Listener, Noted
from preheat.core.ref import ARCHIVES, HUGGING_FACE, MADE, MODELSCOPE, Ref
from preheat.core.snapshot import File
from preheat.core.values.replace import replace
from preheat.library.library import Library
from preheat.library.records.records import MIRROR
from preheat.mirror.access.allow_deny import ruled
from preheat.mirror.access.host_check import is_foreign, is_loopback
from preheat.mirror.access.reloadable import ReloadableSettings, Words
from preheat.mirror.api.folders import ServedSnapshot, Shelf
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.evict import Evictor, require_cap
from preheat.mirror.file_checks import ChecksBehind, FileChecks
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Answer, Request, Slice, bearer
from preheat.mirror.http.server import Companion, Server
from preheat.mirror.last_used import Uses
from preheat.mirror.status.counters import RequestCounter
from preheat.mirror.status.mirror_status import Sources, StatusReader
from preheat.mirror.status.status_routes import greeting, is_own, reception
from preheat.mirror.upstream.fetches import Fetches
from preheat.mirror.upstream.pull_through import PullThrough, Remembering
from preheat.mirror.upstream.recorded_find import Kept
from preheat.mirror.upstream.requester import read_asker
from preheat.mirror.upstream.upstream import Upstream, Upstreams
from preheat.mirror.upstream.visibility import CLOSED
from preheat.net.retry import RetryPolicy
from preheat.transfer.fetch import Policy
from preheat.verbs.scan import ALLOW, REFUSE, WARN, scan_and_report

# Clients wait about as long before they time out, and retry themselves.
WHILE_CLIENTS_WAIT = RetryPolicy(attempts=5, first_wait_s=0.25, longest_wait_s=4.0, lasting_s=60.0)


@dataclass(frozen=True, slots=True)
class MirrorOptions:
    """Options of a mirror: access rules, request limits, library size cap and upstream behaviour.

    `cap`: size cap of the library in bytes, 0 for no cap; `on_trouble` is called with each error that prevents
    eviction below it. `remembering`: how long upstream responses are cached. `patience`: how upstream requests are
    retried. `by`: the name under which the library records downloaded files. `silence_s`: close a client's connection
    after this many seconds without data for its file. `hosts`: additional host names that are accepted when the mirror
    listens on loopback. `unsafe`: how to treat files of the library that can run untrusted code when they are loaded
    (REFUSE, WARN or ALLOW). `in_order`: see Upstreams.
    """

    settings: ReloadableSettings = field(default_factory=lambda: ReloadableSettings(Words()))
    limits: ServerLimits = field(default_factory=ServerLimits)
    cap: int = 0
    on_trouble: Callable[[PreheatError], None] = lambda _error: None
    remembering: Remembering = field(default_factory=Remembering)
    patience: RetryPolicy = WHILE_CLIENTS_WAIT
    by: str = MIRROR
    silence_s: float = 75.0
    hosts: tuple[str, ...] = ()
    unsafe: str = WARN
    in_order: bool = False


def mirror(
    address: tuple[str, int],
    library: Library,
    shelf: Shelf,
    on_event: Listener,
    pace: int | None = None,
    upstreams: Sequence[Upstream] = (),
    options: MirrorOptions | None = None,
) -> Server:
    """Return a server, not yet started, that looks for files in `shelf`, then in `library`, then at the `upstreams`.

    Raise UsageError if the pinned models exceed the cap.
    """
    options = options or MirrorOptions()
    if options.cap:
        require_cap(library, options.cap, on_event)
    kept = Kept(library)
    settings, tally, uses = options.settings, RequestCounter(), Uses(library.records)
    check = _checks(library, options.unsafe, on_event)
    policy = Policy(connections=64, patience=options.patience)
    fetches = Fetches(library, policy, on_event, options.silence_s, check)
    through = None
    if upstreams:
        behind = Upstreams(upstreams, options.in_order)
        through = PullThrough(library, behind, fetches, options.remembering, options.by)

    name = f"preheat-{secrets.token_hex(6)}"

    def reply(request: Request) -> Answer:
        def find(ref: Ref) -> ServedSnapshot | None:
            found = shelf.find(ref)
            if found is not None:
                return found
            # None if the request has already passed through this mirror (a cycle of upstreams) or too many mirrors.
            asker = read_asker(request, name)
            if ref.hub in (MADE, *ARCHIVES):
                found = kept.find(ref)  # no upstream has it
            elif through is not None and asker is not None:
                found = through.find(ref, asker)
            else:
                found = kept.find(ref, bearer(request) if asker is not None else "")
            if found is not None:
                uses.note(found.snapshot)
                if options.unsafe == REFUSE:
                    found = replace(found, prove=_both(found.prove, lambda file: check(file, request.client)))
            return found

        full = answer(request, ruled(find, lambda: settings.rules))
        if isinstance(full.body, Slice):
            fetches.hit()
        return full

    def shown(ref: Ref) -> bool:
        # The status page must not reveal access-controlled models or local folder paths.
        return ref.hub in (HUGGING_FACE, MODELSCOPE) and settings.rules.admit(ref) and kept.gate.state(ref) != CLOSED

    def tell(event: Event) -> None:
        tally(event)
        on_event(event)

    look = StatusReader(Sources(library, tally, fetches, shown, options.cap))
    beside: list[Companion] = [Evictor(library, options.cap, tell, options.on_trouble)] if options.cap else []
    if isinstance(check, ChecksBehind):
        beside.append(check)

    @functools.lru_cache(maxsize=64)
    def foreign(host: str) -> bool:
        return is_loopback(address[0]) and is_foreign(host, (*options.hosts, socket.gethostname()))

    received = reception(reply, look, lambda: settings.door, lambda: server.url, foreign)
    greet = greeting(lambda: settings.door, options.limits.body_size)
    server = Server(
        address,
        received,
        tell,
        pace,
        limits=options.limits,
        tls=settings.tls,
        beside=beside,
        greet=greet,
        spared=is_own,
    )
    look.crowd = server.crowd
    return server


def _checks(library: Library, unsafe: str, on_event: Listener) -> Callable[[File, str], None]:
    """Return a function that scans a file for a client, each once; with REFUSE, it raises CheckFailed if unsafe."""

    def check(file: File) -> None:
        scan_and_report([file], library, unsafe, on_event)

    def skipped(file: File, why: str) -> None:
        on_event(Noted(file.path, f"not scanned: {why}"))

    if unsafe == ALLOW:
        return lambda _file, _client: None
    return FileChecks(check) if unsafe == REFUSE else ChecksBehind(check, skipped)


def _both(first: Callable[[File], None], second: Callable[[File], None]) -> Callable[[File], None]:
    def prove(file: File) -> None:
        first(file)
        second(file)

    return prove
