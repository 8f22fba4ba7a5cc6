"""Status routes: the mirror's own URLs (page, metrics, liveness, login), matched before the hubs' routes."""

import re
from collections.abc import Callable

from preheat.core.errors import PreheatError
from preheat.core.translations import ENGLISH, LANGUAGES
from preheat.mirror.access.ms_login import login
from preheat.mirror.access.token_auth import TokenAuth
from preheat.mirror.http.messages import Answer, Refused, Request, refuse, scheme_of
from preheat.mirror.status.metrics import TYPE, write_metrics
from preheat.mirror.status.mirror_status import Standing, write_standing
from preheat.mirror.status.status_page import POLICY, write_page, write_words

_HTML, _TEXT, _JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json; charset=utf-8"
_OWN = frozenset(("/", "/index.html", "/livez", "/status.json", "/metrics"))
_LOGIN = 16_384  # maximum bytes of a login request's body
# Allowed characters of a Host; mirror/http/request_head.py has already rejected all others.
_HOST = re.compile(r"[A-Za-z0-9._~:\[\]%-]+")


def is_own(request: Request) -> bool:
    """Return whether a request is for one of the mirror's own pages, which are short and cost little."""
    return request.target.partition("?")[0] in _OWN


def reception(
    answer: Callable[[Request], Answer],
    look: Callable[[], Standing],
    door: Callable[[], TokenAuth],
    url: Callable[[], str],
    foreign: Callable[[str], bool] = lambda _host: False,
) -> Callable[[Request], Answer]:
    """Return a handler for the mirror's own URLs, which passes other requests to `answer`; both require the token.

    `url` returns the server's URL, for requests without a valid Host; a `foreign` Host is refused. /livez and login
    need no token.
    """

    def received(request: Request) -> Answer:
        path = request.target.partition("?")[0]
        if foreign(request.headers.get("host", "")):
            return refuse(421, "this mirror does not accept that Host; allow it with --host NAME")
        if path == "/livez":
            return _written(_TEXT, "ok\n", request)
        if path == "/api/v1/login" and request.method == "POST" and door().tokens:
            return login(request, door())
        try:
            request = door().enter(request)
            match path:
                case "/" | "/index.html" | "/status.json" | "/metrics" if request.method not in ("GET", "HEAD"):
                    return refuse(405, f"{request.method} is not allowed", Allow="GET, HEAD")
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
    """Return a function that limits a request's body before it is read: 0 bytes for routes without a body.

    Requests without the mirror's token get an error response.
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


def preferred(accept_language: str) -> str:
    """Return the language that Accept-Language prefers (RFC 9110 section 12.5.4), English by default."""
    best, chosen = 0.0, ENGLISH
    for wish in accept_language.split(",")[:20]:
        tag, _, rest = wish.strip().partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", rest)
        quality = float(weight[1]) if weight else 0.0 if rest else 1.0
        language = tag.strip().lower().partition("-")[0]
        if language in LANGUAGES and quality > best:
            best, chosen = quality, language
    return chosen


def _front(request: Request, standing: Standing, url: str) -> Answer:
    # Browsers list text/html; curl and the hubs' clients accept anything.
    if "text/html" not in request.headers.get("accept", ""):
        return _written(_TEXT, write_words(standing, url), request)
    return _written(_HTML, write_page(standing, url, preferred(request.headers.get("accept-language", ""))), request)


def _reached(request: Request, url: str) -> str:
    """Return the URL by which the client reached the mirror, perhaps through a proxy."""
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
