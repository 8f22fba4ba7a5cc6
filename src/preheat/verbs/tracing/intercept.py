"""Intercept: the proxy, its authority and its log, for one traced start; and the variables that lead clients there."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.errors import UsageError
from preheat.core.installation import how_to_install, is_installed
from preheat.guard.kernel import namespaces
from preheat.guard.shim.response_log import ResponseLog
from preheat.mirror.access.authority import SiteAuthority
from preheat.mirror.access.certificate import trusted_beside
from preheat.net.http import Transport
from preheat.recipes.inference.trace_log import BY_PROXY
from preheat.verbs.local_hub import authorities_of, proxied

_LOG = "intercept.trace"
_MOST_LINES = 200_000
# Where programs that read no variable look for authorities: Debian, Fedora, Alpine; GnuTLS' and OpenSSL's own files.
SYSTEM_AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@dataclass(frozen=True, slots=True)
class Intercepted:
    """The variables for the app, and the hosts whose clients rejected the authority (filled during the start)."""

    environ: Mapping[str, str] = field(default_factory=dict)
    rejected: Mapping[str, None] = field(default_factory=dict)


@contextlib.contextmanager
def intercept(
    transport: Transport | None, environ: Mapping[str, str], workplace: Path, *, own_mounts: bool
) -> Iterator[Intercepted]:
    """Run the proxy, unless `transport` is None; its log is one of the app's, below `workplace`.

    `transport` forwards the requests, through the user's own proxy. `own_mounts`: this process has a mount namespace of
    its own, where the authority is also mounted over the system's file of them, for programs that read no variable; the
    system itself stays as it is. Raise UsageError without `cryptography`.
    """
    if transport is None:
        yield Intercepted()
        return
    if not is_installed("cryptography"):
        raise UsageError(
            "--intercept cannot create certificates: cryptography is not installed", hint=how_to_install("cryptography")
        )
    from preheat.mirror.intercept.intercepting_proxy import InterceptingProxy

    folder, notes = workplace / "intercept", workplace / "notes"
    for place in (folder, notes):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = SiteAuthority(folder, "preheat trace")
    bundle, known = folder / "bundle.pem", authorities_of(environ)
    trusted_beside(authority.certificate, Path(known) if known else authority.certificate, bundle)
    if own_mounts:
        for place in filter(Path.is_file, map(Path, SYSTEM_AUTHORITIES)):
            with contextlib.suppress(OSError):
                namespaces.mount(str(bundle), str(place.resolve()), namespaces.BIND)
    log = ResponseLog(str(notes), _Log(notes / _LOG).note, lambda: ["a program"])
    with InterceptingProxy(authority, transport.pass_on, log, tunnels=True) as proxy:
        yield Intercepted(proxied(proxy.url, bundle, environ), proxy.rejected)


class _Log:
    """The proxy's log, in the tracer's format; bounded, and written by many threads."""

    def __init__(self, path: Path) -> None:
        self._path, self._turn, self._left = path, threading.Lock(), _MOST_LINES
        self.note(BY_PROXY)

    def note(self, kind: str, *words: object) -> None:
        """Append a line."""
        line = json.dumps([kind, time.time(), *words], default=str)
        with self._turn:
            self._left -= 1
            if self._left >= 0:
                with open(self._path, "a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(f"{line}\n")
