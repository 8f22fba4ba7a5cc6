"""Registry: authenticated requests to one registry (OCI distribution specification 1.1)."""

import hashlib
import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from preheat.core.digest import Digest
from preheat.core.errors import HubError, HubUnavailable, ImageError
from preheat.core.events import Listener
from preheat.net.http import HttpDocument as Reply
from preheat.net.http import Transport
from preheat.net.redirects import same_origin
from preheat.net.response import Stream
from preheat.net.retry import USUAL, Answer, RetryPolicy, persist
from preheat.oci.model.descriptor import DOCKER_LIST, DOCKER_MANIFEST, INDEX, MANIFEST
from preheat.oci.model.image import ImageDocument, media_type_of
from preheat.oci.model.image_name import DOCKER_HUB, Name
from preheat.oci.registry.auth import Auth
from preheat.oci.registry.credentials import Login
from preheat.oci.registry.response_parsing import LATER, header, later, read_challenge, read_errors

_DOCUMENTS = ", ".join((INDEX, MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))
_HUB_HOST = "registry-1.docker.io"
_UNAUTHORISED = 401
_CHUNK = 256 << 20


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """How to contact a registry. `plain` disables TLS.

    `end` is the registry's role in the build, `source` or `target`; an ImageError contains it. `plain_http` are the
    hosts that may receive a login without TLS, as HOST or HOST:PORT. `patience` is the retry policy. `on_event`
    receives an event for each retry.
    """

    plain: bool = False
    end: str = ""
    patience: RetryPolicy = USUAL
    on_event: Listener = lambda _: None
    plain_http: Collection[str] = ()


class Registry:
    """A registry. Thread-safe. Methods raise ImageError after temporary failures were retried.

    `chunk`: the most bytes to upload in one request. Uploads lower it if the registry or a proxy rejects them.
    """

    def __init__(self, transport: Transport, name: Name, login: Login | None, options: RegistryOptions) -> None:
        self.name = name
        self.end = options.end
        self.chunk = _CHUNK
        self._transport = transport
        self._patience = options.patience
        self._on_event = options.on_event
        host = _HUB_HOST if name.host == DOCKER_HUB else name.host
        self.base = f"{'http' if options.plain else 'https'}://{host}/v2/"
        self._auth = Auth(transport, name.host, login, plain_http=options.plain_http, end=options.end)

    def url(self, *parts: str) -> str:
        """Return the URL of a part of the repository."""
        return self.base + "/".join((self.name.repository, *parts))

    def scope(self, *, push: bool, also: str = "") -> str:
        """Return the scope to request: this repository, and read access to `also`."""
        mine = f"repository:{self.name.repository}:pull{',push' if push else ''}"
        return f"{mine} repository:{also}:pull" if also else mine

    def document(self, reference: str) -> ImageDocument:
        """Return a manifest or index by its tag or digest. Raise ImageError if it does not match the digest."""
        url = self.url("manifests", reference)
        reply = self.ask(lambda shown: self._transport.get(url, {"Accept": _DOCUMENTS, **shown}), url, push=False)
        self.expect(reply, {200}, f"{self.name.host}/{self.name.repository} at {reference}")
        if reference.startswith("sha256:") and hashlib.sha256(reply.body).hexdigest() != reference[7:]:
            raise ImageError(
                f"{self.name.host} responded with a document that does not match {reference}", end=self.end
            )
        return ImageDocument(
            media_type_of(reply.body, header(reply.headers, "Content-Type"), str(self.name)), reply.body
        )

    def blob(self, digest: Digest, start: int) -> Stream:
        """Open a stream of a blob from byte `start`. Raise HubUnavailable for temporary failures."""
        url = self.url("blobs", str(digest))
        span = {"Range": f"bytes={start}-"} if start else {}
        stream = self.stream(url, span)
        if stream.status == (206 if start else 200):
            return stream
        status, headers = stream.status, stream.headers
        stream.close()
        if start and status == 200:
            raise HubUnavailable(f"{self.name.host} does not support range requests for blobs")
        if status in LATER:
            raise later(self.name.host, status, headers)
        hint = "check that the image is complete: pull it with another client, or push it again"
        if status in (401, 403):
            hint = f"docker login {self.name.host}, or podman login; or request access"
        raise ImageError(
            f"{self.name.host}/{self.name.repository} cannot serve {digest}: status {status}", hint=hint, end=self.end
        )

    def stream(self, url: str, headers: Mapping[str, str]) -> Stream:
        """GET an address of the registry, or one that it redirects to; return the response, whatever its status.

        Only the registry receives credentials. Raise HubUnavailable if there is no response.
        """
        return self._send_authorized(
            lambda shown: self._transport.stream(url, {**headers, **shown}), url, self.scope(push=False)
        )

    def has(self, digest: Digest) -> bool:
        """Return whether the repository has a blob. Requests push access."""
        url = self.url("blobs", str(digest))
        reply = self.ask(lambda shown: self._transport.send("HEAD", url, shown), url, push=True)
        return reply.status == 200

    def ask(self, send: Callable[[dict[str, str]], Reply], url: str, *, push: bool, also: str = "") -> Reply:
        """Send a request with authorization headers, retry temporary failures, and return the response."""
        scope = self.scope(push=push, also=also)

        def once() -> Reply:
            reply = self._send_authorized(send, url, scope)
            if reply.status in LATER:
                raise later(self.name.host, reply.status, reply.headers)
            return reply

        return self.persist(once)

    def ask_once(self, send: Callable[[dict[str, str]], Reply], url: str) -> Reply:
        """Send a request that must not be repeated blindly. Raise HubUnavailable for temporary failures."""
        reply = self._send_authorized(send, url, self.scope(push=True))
        if reply.status in LATER:
            raise later(self.name.host, reply.status, reply.headers)
        return reply

    def persist(self, ask: Callable[[], Answer]) -> Answer:
        """Call `ask` until it succeeds or the retry policy gives up. HubError becomes ImageError."""
        try:
            return persist(ask, self._patience, self.name.host, self._on_event)
        except HubError as error:
            # Without any HTTP response it may be a registry that speaks no TLS.
            answered = not isinstance(error, HubUnavailable) or error.status or error.seen or error.answered
            if isinstance(error, HubUnavailable) and error.unresolved:
                hint = "check the name, and that this machine is online; through a proxy: HTTPS_PROXY=http://HOST:PORT"
            elif answered:
                hint = "try again later"
            else:
                hint = f"check that the registry is running; without TLS: --plain-http {self.name.host}"
            raise ImageError(self._auth.hide(error.message), hint=hint, end=self.end) from error

    def wait(self, error: HubUnavailable, failures: int) -> None:
        """Wait before a retry: as long as the registry requested, or the back-off of the retry policy."""
        time.sleep(self._patience.wait_s(failures, error.wait_s, random.random()))  # noqa: S311 - jitter, not a secret

    def expect(self, reply: Reply, statuses: set[int], what: str) -> None:
        """Raise ImageError if a response has none of `statuses`. `what` is the start of the message."""
        if reply.status in statuses:
            return
        why = self._auth.hide(read_errors(reply.body)) or f"status {reply.status}"
        match reply.status:
            case 401 | 403:
                hint = f"docker login {self.name.host}, or podman login; or request access"
            case 404:
                hint = "check the name and the tag"
            case 413:
                hint = (
                    "it is too large for the registry, or a proxy before it: use --max-layer-size, or raise its limit"
                )
            case _:
                hint = "see the registry's log"
        raise ImageError(f"{what}: {why}", hint=hint, end=self.end)

    def _send_authorized(self, send: Callable[[dict[str, str]], Answer], url: str, scope: str) -> Answer:
        """Send a request, and retry once with credentials on 401. Other hosts never receive credentials."""
        ours = same_origin(url, self.base)
        shown = self._auth.headers(scope) if ours else {}
        answer = send(shown)
        status, headers = _status(answer)
        if status != _UNAUTHORISED or not ours:
            return answer
        challenge = read_challenge(header(headers, "WWW-Authenticate"))
        if challenge is None or not self._auth.answer(challenge, scope, shown):
            return answer
        if isinstance(answer, Stream):
            answer.close()
        return send(self._auth.headers(scope))


def _status(answer: object) -> tuple[int, Mapping[str, str]]:
    assert isinstance(answer, Reply | Stream), "a transport returns only these"
    return answer.status, answer.headers
