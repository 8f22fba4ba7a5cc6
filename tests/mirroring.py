"""Mirroring: `preheat mirror` as a process, over HTTPS with the certificate of tests.authority, or over HTTP."""

from tests.authority import authority
from tests.command import Preheat, Running


def mirroring(preheat: Preheat, *words: str, tls: bool = True, **env: str) -> tuple[Running, str]:
    """Start a mirror at a free port; return it and its URL. `tls=False`: HTTP, or other TLS options."""
    shown = ("--tls-cert", str(authority().certificate), "--tls-key", str(authority().key)) if tls else ()
    running = preheat.start("mirror", "--listen", "127.0.0.1:0", "--json", *shown, *words, inside=(), **env)
    return running, str(running.event("serving")["url"])
