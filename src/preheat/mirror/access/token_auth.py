"""Token auth: check the mirror's own token, which is never sent upstream."""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from preheat.core.errors import UsageError
from preheat.core.values.replace import replace
from preheat.mirror.http.messages import Refused, Request, refuse

_BEARER, _BASIC = re.compile(r"(?i:bearer)[ \t]+(\S+)"), re.compile(r"(?i:basic)[ \t]+(\S+)")
COOKIE = "m_session_id"  # ModelScope's clients send their token in it
# RFC 6750 section 2.1; excludes characters that separate tokens in headers and lists.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,512}")
_OTHER = re.compile(r"[A-Za-z0-9._~+/=-]{0,4096}")


@dataclass(frozen=True, slots=True)
class TokenAuth:
    """Accept clients with one of `tokens`; accept all clients if there are none.

    Clients can send only one token. If upstream requires one too, the client sends both, as `MIRROR:UPSTREAM`; the
    mirror's part is never sent upstream.
    """

    tokens: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for token in self.tokens:
            if not _TOKEN.fullmatch(token):
                # Without the token: it is a secret even if it is invalid.
                raise UsageError("invalid mirror token", hint="use 8 to 512 characters from A-Z a-z 0-9 . _ ~ + / = -")

    def enter(self, request: Request) -> Request:
        """Return the request with only upstream's token, if any, as bearer token, also if it came in a cookie.

        Raise Refused (401) if the mirror's token is missing or wrong.
        """
        if not self.tokens:
            carried = "" if "authorization" in request.headers else _cookie(request)
            return _with(request, carried) if carried else request
        for shown in _shown(request):
            own, _, other = shown.partition(":")
            if self._fits(own):
                return _with(request, other)
        asks = {"WWW_Authenticate": 'Bearer realm="preheat mirror"'}
        if "text/html" in request.headers.get("accept", ""):
            asks = {"WWW_Authenticate": 'Basic realm="preheat mirror: the token as the password", charset="UTF-8"'}
        raise Refused(
            refuse(401, "this mirror requires its own token: set it as HF_TOKEN or MODELSCOPE_API_TOKEN", **asks)
        )

    def opens(self, shown: str) -> bool:
        """Return whether `shown` is one of the mirror's tokens, alone or before upstream's, and valid in a cookie."""
        own, colon, other = shown.partition(":")
        return self._fits(own) and (not colon or _OTHER.fullmatch(other) is not None)

    def _fits(self, shown: str) -> bool:
        return any(hmac.compare_digest(shown.encode(), token.encode()) for token in self.tokens)


def _shown(request: Request) -> Iterable[str]:
    authorization = request.headers.get("authorization", "")
    if bearer := _BEARER.fullmatch(authorization):
        yield bearer[1]
    if basic := _BASIC.fullmatch(authorization):
        try:
            # The user name is ignored; browsers ask for one.
            yield base64.b64decode(basic[1], validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return
    if cookie := _cookie(request):
        yield cookie


def _cookie(request: Request) -> str:
    shown = request.headers.get("cookie")
    if not shown:
        return ""
    try:
        cookies = SimpleCookie(shown)
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _with(request: Request, token: str) -> Request:
    """Replace the request's credentials with `token`, or remove them."""
    fields = {name: value for name, value in request.headers.items() if name not in ("authorization", "cookie")}
    if token:
        fields["authorization"] = f"Bearer {token}"
    return replace(request, headers=fields)
