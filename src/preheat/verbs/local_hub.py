"""Local hub: a mirror on loopback in place of an app's hubs, and the variables that lead the app's clients to it."""

import contextlib
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from preheat.core.errors import UsageError
from preheat.core.events import Event, Listener, Noted
from preheat.guard.model.app import App
from preheat.library.library import Library
from preheat.mirror.access.certificate import own, place, trusted_beside
from preheat.mirror.api.folders import Shelf
from preheat.mirror.http.server import Server
from preheat.recipes.offline_env import asking_hubs, direct
from preheat.verbs.mirror import House, mirror

AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True)
class Lead:
    """URLs of the mirror that replaces the app's hubs: `plain`, and `secure` for clients that require TLS.

    `secure` may be empty. `trusted` is a CA file that includes the certificate of `secure`.
    """

    plain: str
    secure: str = ""
    trusted: str = ""

    @property
    def environ(self) -> dict[str, str]:
        """The variables by which the hubs' clients find the mirror."""
        led = {"HF_ENDPOINT": self.plain, "MODELSCOPE_ENDPOINT": self.plain, "HF_HUB_DISABLE_XET": "1"}
        if self.secure:
            # modelscope up to 1.37 always uses https (modelscope/hub/utils/utils.py).
            led |= {"MODELSCOPE_DOMAIN": self.secure.partition("://")[2], "REQUESTS_CA_BUNDLE": self.trusted}
        return led

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports on loopback where it listens."""
        return tuple(port for url in (self.plain, self.secure) if url and (port := urlsplit(url).port))

    def around(self, app: App) -> App:
        """Return the app with this mirror as its hub, also inside its own network namespace."""
        environ = direct(asking_hubs(app.env or {})) | self.environ
        return replace(app, env=environ, reaches=(*app.reaches, *self.ports))


def authorities_of(environ: Mapping[str, str]) -> str:
    """Return the CA file that the app's clients use, by its variables, else the system's; "" if there is none."""
    named = next((environ[name] for name in AUTHORITIES if environ.get(name)), ssl.get_default_verify_paths().cafile)
    return named if named and Path(named).is_file() else ""


@contextlib.contextmanager
def led(server: Server, environ: Mapping[str, str], folder: Path, on_event: Listener) -> Iterator[Lead]:
    """Run the mirror, over TLS too if a certificate can be created in `folder`; yield its addresses.

    The app's CA file then contains the mirror's certificate in addition to the usual ones.
    """
    known = authorities_of(environ)
    with server, contextlib.ExitStack() as stack:
        lead = Lead(server.url)
        if known:
            try:
                own_tls = own(folder, ("127.0.0.1",))
            except UsageError as error:
                on_event(Noted("tls", f"{error.message}: modelscope up to 1.37 will bypass the mirror; {error.hint}"))
            else:
                trusted = folder / "trusted.pem"
                trusted_beside(place(folder), Path(known), trusted)
                lead = replace(lead, secure=stack.enter_context(server.twin(own_tls)).url, trusted=str(trusted))
        yield lead


@contextlib.contextmanager
def library_hub(library: Library, environ: Mapping[str, str], unsafe: str, on_event: Listener) -> Iterator[Lead]:
    """Run a mirror that serves the library alone; yield its addresses. `unsafe`: see House."""

    def quiet(event: Event) -> None:
        """Ignore the mirror's events: each response is one."""

    server = mirror(("127.0.0.1", 0), library, Shelf({}), quiet, house=House(unsafe=unsafe))
    with (
        tempfile.TemporaryDirectory(prefix="preheat-hub-") as folder,
        led(server, environ, Path(folder), on_event) as lead,
    ):
        yield lead
