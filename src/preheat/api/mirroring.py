"""Mirroring: serve the library, and download missing files from upstreams, until the mirror is stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from preheat.api.addresses.upstreams import CONNECTIONS, read_upstreams
from preheat.core.errors import PreheatError, UsageError
from preheat.core.events import Noted
from preheat.core.values.replace import replace
from preheat.mirror.access.certificate import given, names_of, own, place
from preheat.mirror.access.reloadable import ReloadableSettings, Words
from preheat.mirror.api.folders import Shelf
from preheat.mirror.http.limits import ServerLimits, raise_descriptor_limit
from preheat.mirror.status.access_log import AccessLog
from preheat.mirror.upstream.pull_through import Remembering
from preheat.verbs.mirror import WHILE_CLIENTS_WAIT, MirrorOptions, mirror
from preheat.verbs.upkeep.running_notes import mirror_note

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from preheat.api.session import Session
    from preheat.core.events import Event
    from preheat.mirror.http.server import Server

_MOST_CONNECTIONS = 65_536
_LONGER_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorTerms:
    """Options of a mirror; see docs/mirror.md.

    `folders`: plain folders to serve, by repository name. `upstreams`: `HUB=URL`, where missing files are downloaded.
    `in_order`: from the first upstream that works, and from the next one only while it fails.
    `upstream_tokens`: by upstream URL, sent for clients without a token. `read_only`: download nothing.
    `remember_s`: seconds until a branch's commit is checked upstream again. `size_cap`: bytes that the library may take
    before versions are evicted, 0 for no limit. `pace`: bytes per second for each connection, None for no limit.

    `token_file`: the tokens that clients must send, one per line. `allow`, `deny`: patterns of repositories, or `@FILE`
    with one per line. `tls_cert`, `tls_key`: PEM files. `tls_self_signed`: generate a certificate, also for
    `tls_names`. `hosts`: more Host headers to accept on a loopback address. `max_connections`: of all clients together.
    `access_log`: a file for one JSON object per response, `-` for stdout, "" for none.

    Raise UsageError for invalid values.
    """

    folders: Mapping[str, Path] = field(default_factory=dict)
    upstreams: tuple[str, ...] = ()
    in_order: bool = False
    upstream_tokens: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False
    remember_s: float = 60.0
    size_cap: int = 0
    pace: int | None = None
    token_file: Path | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_self_signed: bool = False
    tls_names: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    max_connections: int = 512
    access_log: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.max_connections <= _MOST_CONNECTIONS:
            raise UsageError(
                f"--max-connections must be between 1 and {_MOST_CONNECTIONS}", hint="--max-connections 512"
            )
        if bool(self.tls_cert) != bool(self.tls_key) or (self.tls_cert and self.tls_self_signed):
            raise UsageError(
                "--tls-cert needs --tls-key, and excludes --tls-self-signed",
                hint="--tls-cert FILE --tls-key FILE, or --tls-self-signed",
            )
        for name, folder in self.folders.items():
            if not folder.is_dir():
                raise UsageError(f"{name}: {folder} is not an existing folder", hint="--folder owner/name=DIR")


class RunningMirror:
    """A mirror that serves between `start` and `stop`, or inside a `with`; any thread may call `reload` and `stop`."""

    def __init__(self, address: tuple[str, int], terms: MirrorTerms, session: Session) -> None:
        """See `preheat.api.mirror`."""
        self._terms, self._session = terms, session
        network = session.network_settings(CONNECTIONS)
        upstreams = read_upstreams(terms.upstreams, terms.upstream_tokens, network, in_order=terms.in_order)
        if terms.read_only:
            upstreams = []
        elif upstreams:
            session.library.prepare(0)
        self._log = AccessLog(terms.access_log) if terms.access_log else None
        self._settings = ReloadableSettings(
            Words(
                session.config.mirror_token, terms.token_file, terms.allow, terms.deny, _tls(address[0], terms, session)
            )
        )
        shelf = Shelf({name: folder.absolute() for name, folder in terms.folders.items()})
        self._server: Server = mirror(
            address, session.library, shelf, self._tell, terms.pace, upstreams, self._options(terms, session)
        )
        self._note = mirror_note(session.config.state, session.library.root, self._server.url)

    def _options(self, terms: MirrorTerms, session: Session) -> MirrorOptions:
        settings, patience = session.settings, WHILE_CLIENTS_WAIT
        if settings.patience_s is not None:
            patience = replace(patience, lasting_s=settings.patience_s)
        return MirrorOptions(
            self._settings,
            ServerLimits(connections=terms.max_connections, waiting=raise_descriptor_limit()),
            terms.size_cap,
            lambda error: session.on_event(Noted("cap", error.message)),
            Remembering(meaning_s=terms.remember_s),
            patience,
            # The download itself gives up earlier, unless another process is downloading the file.
            silence_s=max(patience.lasting_s, settings.connect_s + settings.read_s) + _LONGER_S,
            hosts=(*terms.hosts, *terms.tls_names),
            unsafe=settings.unsafe_files,
            in_order=terms.in_order,
        )

    @property
    def url(self) -> str:
        """The URL where it listens."""
        return self._server.url

    def start(self) -> None:
        """Start serving, in threads."""
        self._server.start()
        self._note.__enter__()
        if self._terms.tls_self_signed:
            self._session.on_event(Noted("clients trust", f"SSL_CERT_FILE={place(self._session.state)}"))

    def wait(self) -> None:
        """Return when the mirror has stopped."""
        self._server.wait()

    def reload(self) -> None:
        """Read tokens, patterns and certificate again, and reopen the access log; an event reports how it went."""
        try:
            self._settings.reload()
            if self._settings.tls is not None:
                self._server.secure(self._settings.tls)
            if self._log is not None:
                self._log.reopen()
            outcome = "tokens, rules and certificate reloaded, access log reopened"
        except PreheatError as error:
            outcome = f"failed, settings unchanged: {error.message}"
        self._session.on_event(Noted("reload", outcome))

    def stop(self, grace_s: float = 30.0) -> None:
        """Let running responses finish within `grace_s` seconds, then close all connections.

        Raise PreheatError if the mirror had stopped listening by itself.
        """
        try:
            self._server.stop(grace_s)
        finally:
            self._note.__exit__()
            if self._log is not None:
                self._log.close()
        if self._server.failed is not None:
            raise PreheatError(f"the mirror stopped listening on {self.url}: {self._server.failed}", hint="restart it")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _tell(self, event: Event) -> None:
        if self._log is not None:
            self._log(event)
        self._session.on_event(event)


def _tls(host: str, terms: MirrorTerms, session: Session) -> Callable[[], ssl.SSLContext] | None:
    if terms.tls_cert and terms.tls_key:
        return partial(given, terms.tls_cert, terms.tls_key)
    if terms.tls_self_signed:
        return partial(own, session.state, names_of(host, terms.tls_names))
    return None
