"""Local hub: a mirror on loopback in place of an app's hubs, and the variables that lead the app's clients to it."""

import contextlib
import json
import ssl
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from preheat.core.errors import UsageError
from preheat.core.events import Event, Listener, Noted
from preheat.core.installation import is_installed
from preheat.core.ref import MODELSCOPE, hub_of_host
from preheat.core.values.replace import replace
from preheat.guard.model.app import App
from preheat.library.library import Library
from preheat.mirror import intercept
from preheat.mirror.access.authority import SiteAuthority
from preheat.mirror.access.certificate import own, place, trusted_beside
from preheat.mirror.api.folders import Shelf
from preheat.mirror.http.server import Server
from preheat.net.http import NetworkSettings, Transport
from preheat.net.response import PassedOn
from preheat.recipes.offline_env import asking_hubs, direct
from preheat.verbs.locked_needs import Required
from preheat.verbs.mirror import MirrorOptions, mirror

# Which programs read each: OpenSSL (and Go, Rust), requests, curl, node, git, pip, cargo, AWS' clients, gRPC, Nix.
TRUST_VARIABLES = (
    "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO", "PIP_CERT",
    "CARGO_HTTP_CAINFO", "AWS_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "NIX_SSL_CERT_FILE", "HTTPLIB2_CA_CERTS",
)  # fmt: skip
PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY")
AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True)
class Lead:
    """URLs of the mirror that replaces the app's hubs: `plain`, and `secure` for clients that require TLS.

    `secure` may be empty; `no_tls` is then the reason, if it is a missing package. `trusted` is a CA file that includes
    the certificate of `secure`. `proxied` are the variables of a proxy that answers for hosts which are written into an
    isolated app; empty for none. `refused` counts that proxy's refused requests, by host.
    """

    plain: str
    secure: str = ""
    trusted: str = ""
    proxied: Mapping[str, str] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    no_tls: str = ""

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
        urls = (self.plain, self.secure, self.proxied.get(PROXY_VARIABLES[0], ""))
        return tuple(port for url in urls if url and (port := urlsplit(url).port))

    def around(self, app: App) -> App:
        """Return the app with this mirror as its hub, also inside its own network namespace."""
        environ = direct(asking_hubs(app.env or {})) | self.environ
        if app.isolated:
            environ |= self.proxied
        return app._replace(env=environ, reaches=(*app.reaches, *self.ports))


def authorities_of(environ: Mapping[str, str]) -> str:
    """Return the CA file that the app's clients use, by its variables, else the system's; "" if there is none."""
    named = next((environ[name] for name in AUTHORITIES if environ.get(name)), ssl.get_default_verify_paths().cafile)
    return named if named and Path(named).is_file() else ""


@contextlib.contextmanager
def led(server: Server, environ: Mapping[str, str], folder: Path) -> Iterator[Lead]:
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
                lead = replace(lead, no_tls=f"{error.message}; {error.hint}")
            else:
                trusted = folder / "trusted.pem"
                trusted_beside(place(folder), Path(known), trusted)
                lead = replace(lead, secure=stack.enter_context(server.twin(own_tls)).url, trusted=str(trusted))
        yield lead


def needs_alone(needed: Required, library: Library, root: Path) -> Library:
    """Return a library at `root` with the files of an app's needs only, by the revisions that the app asks for.

    Its versions list all files. A pull of a locked recipe records commits without a branch's name.
    """
    alone = Library(root)
    alone.prepare(0)
    for _, snapshot in needed:
        for file in snapshot.files:
            blob = alone.path(file.digest)
            if not blob.is_symlink():
                blob.parent.mkdir(parents=True, exist_ok=True)
                blob.symlink_to(library.path(file.digest).absolute())
        known = library.find(snapshot.ref.at(snapshot.commit)) or snapshot
        # The needs are complete, so the app may see the list although the commit has other files.
        alone.record(replace(known.named(snapshot.ref), unlisted=None))
    return alone


@contextlib.contextmanager
def library_hub(library: Library, environ: Mapping[str, str], unsafe: str, on_event: Listener) -> Iterator[Lead]:
    """Run a mirror that serves the library alone; yield its addresses. `unsafe`: see MirrorOptions.

    A proxy answers for the hubs' own hosts, and refuses all others at once; an event reports each of these.
    """

    def quiet(event: Event) -> None:
        """Ignore the mirror's events: each response is one."""

    from_modelscope = any(one.ref.hub == MODELSCOPE for one in library.snapshots())
    server = mirror(("127.0.0.1", 0), library, Shelf({}), quiet, options=MirrorOptions(unsafe=unsafe))
    with (
        tempfile.TemporaryDirectory(prefix="preheat-hub-") as folder,
        led(server, environ, Path(folder)) as lead,
        _proxy(lead, environ, Path(folder), on_event) as proxy,
    ):
        if lead.no_tls and from_modelscope:
            on_event(bypassed(lead.no_tls))
        yield proxy


def bypassed(why: str) -> Noted:
    """Return the notice for an app of ModelScope's client, whose requests need TLS; `why` there is none."""
    return Noted("tls", f"modelscope up to 1.37 bypasses the mirror, as it insists on TLS: {why}")


@contextlib.contextmanager
def _proxy(lead: Lead, environ: Mapping[str, str], folder: Path, on_event: Listener) -> Iterator[Lead]:
    """Run the proxy for written-in hosts; yield the addresses with its variables."""
    from preheat.mirror.intercept.intercepting_proxy import InterceptingProxy

    transport, refused = Transport(NetworkSettings()), Counter[str]()

    def answer(method: str, url: str, headers: Mapping[str, str], body: bytes) -> PassedOn:
        parts = urlsplit(url)
        own = {name: value for name, value in headers.items() if name.lower() != "host"}
        return transport.pass_on(method, f"{lead.plain}{parts.path}{parts.query and '?'}{parts.query}", own, body)

    def refuses(host: str) -> bool:
        if hub_of_host(host):
            return False
        refused[host] += 1
        return True

    authority, bundle = None, folder / "proxied.pem"
    known = lead.trusted or authorities_of(environ)
    if known and is_installed("cryptography"):
        authority = SiteAuthority(folder, "preheat run")
        trusted_beside(authority.certificate, Path(known), bundle)
    with InterceptingProxy(authority, answer, refuses=refuses) as proxy:
        variables = proxied(proxy.url, bundle if authority is not None else None, environ)
        yield replace(lead, proxied=variables, refused=refused)
    for host, count in refused.most_common():
        on_event(Noted(host, f"requests refused, as this start has no network: {count}"))


def proxied(url: str, bundle: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that lead an app's clients to a proxy, and let them trust the authorities in `bundle`.

    `environ` is the app's environment.
    """
    # node reads the variables of a proxy only if it is told to, and before 22.21 not at all.
    script = json.dumps(str(Path(intercept.__file__).parent / "node_proxy.cjs"), ensure_ascii=False)
    options = " ".join(filter(None, (f"--require={script}", environ.get("NODE_OPTIONS", ""))))
    led = dict.fromkeys(PROXY_VARIABLES, url) | {"NODE_USE_ENV_PROXY": "1", "NODE_OPTIONS": options}
    return led if bundle is None else led | dict.fromkeys(TRUST_VARIABLES, str(bundle))
