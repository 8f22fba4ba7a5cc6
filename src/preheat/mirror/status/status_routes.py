"""Status routes: the mirror's own addresses: page, figures, liveness; looked up before the hubs' routes."""

import re
from collections.abc import Callable

from preheat.core.errors import PreheatError
from preheat.mirror.access.ms_login import login
from preheat.mirror.access.token_auth import TokenAuth
from preheat.mirror.http.messages import Answer, Refused, Request, refuse, scheme_of
from preheat.mirror.status.metrics import TYPE, write_metrics
from preheat.mirror.status.mirror_status import Standing, write_standing
from preheat.mirror.status.page_phrases import preferred
from preheat.mirror.status.status_page import POLICY, write_page, write_words

_HTML, _TEXT, _JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json; charset=utf-8"
_LOGIN = 16_384  # bytes of a login's body
# What a Host may be; see mirror/http/request_head.py, which has refused all others by now.
_HOST = re.compile(r"[A-Za-z0-9._~:\[\]%-]+")


def reception(
    answer: Callable[[Request], Answer],
    look: Callable[[], Standing],
    door: Callable[[], TokenAuth],
    url: Callable[[], str],
    foreign: Callable[[str], bool] = lambda _host: False,
) -> Callable[[Request], Answer]:
    """Return what answers the mirror's own addresses, and asks `answer` for all others; both only past the door.

    `url` says where the server listens, for readers who did not say how they reached it; a `foreign` Host is refused.
    """

    def received(request: Request) -> Answer:
        path = request.target.partition("?")[0]
        if foreign(request.headers.get("host", "")):
            return refuse(421, "this mirror is not reached by that name; --host NAME allows it")
        if path == "/livez":
            return _written(_TEXT, "ok\n", request)
        if path == "/api/v1/login" and request.method == "POST" and door().tokens:
            return login(request, door())
        try:
            request = door().enter(request)
            match path:
                case "/" | "/index.html" | "/status.json" | "/metrics" if request.method not in ("GET", "HEAD"):
                    return refuse(405, f"{request.method} is not answered here", Allow="GET, HEAD")
                case "/" | "/index.html":
                    return _front(request, look(), _reached(request, url()))
                case "/status.json":
                    return _written(_JSON, write_standing(look()).decode(), request)
                case "/metrics":
                    return _written(TYPE, write_metrics(look()), request)
                case _:
                    return answer(request)
        except Refused as refused:
            return refused.answer
        except PreheatError as error:
            return refuse(500, error.message)

    return received


def greeting(door: Callable[[], TokenAuth], most: int) -> Callable[[Request], Answer | int]:
    """Return what says, before a body is read, how many bytes of it are: none where none is meant.

    A client without the mirror's token is refused first.
    """

    def greet(request: Request) -> Answer | int:
        path = request.target.partition("?")[0]
        if request.method != "POST":
            return 0
        if path == "/api/v1/login":
            return _LOGIN if door().tokens else 0
        try:
            door().enter(request)
        except Refused as refused:
            return refused.answer
        return most if path.startswith("/api/") and "/paths-info/" in path else 0

    return greet


def _front(request: Request, standing: Standing, url: str) -> Answer:
    # Browsers name text/html; curl and the hubs' clients take anything.
    if "text/html" not in request.headers.get("accept", ""):
        return _written(_TEXT, write_words(standing, url), request)
    return _written(_HTML, write_page(standing, url, preferred(request.headers.get("accept-language", ""))), request)


def _reached(request: Request, url: str) -> str:
    """Say how the reader reached the mirror, perhaps through another server."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        return url
    secure = request.secure or url.startswith("https:")
    return f"{'https' if secure else scheme_of(request)}://{host}"


def _written(kind: str, text: str, request: Request) -> Answer:
    body = text.encode()
    fields = {
        "Content-Type": kind,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Vary": "Accept, Accept-Language",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    if kind == _HTML:
        fields["Content-Security-Policy"] = POLICY
    return Answer(200, fields, b"" if request.method == "HEAD" else body)
