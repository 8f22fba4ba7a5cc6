"""Token auth: check the mirror's own token, which is never sent upstream."""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from http.cookies import CookieError, SimpleCookie

from preheat.core.errors import UsageError
from preheat.mirror.http.messages import Refused, Request, refuse

_BEARER, _BASIC = re.compile(r"(?i:bearer)[ \t]+(\S+)"), re.compile(r"(?i:basic)[ \t]+(\S+)")
COOKIE = "m_session_id"  # where ModelScope's clients carry their token
# RFC 6750 section 2.1; nothing that parts words where a token stands among others.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,512}")
_OTHER = re.compile(r"[A-Za-z0-9._~+/=-]{0,4096}")


@dataclass(frozen=True, slots=True)
class TokenAuth:
    """Lets in whoever shows one of `tokens`, and everybody if there are none.

    Clients have one place for a token. A mirror whose upstream wants one of theirs takes both in it, `MIRROR:UPSTREAM`;
    what is left for upstream never holds the mirror's.
    """

    tokens: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for token in self.tokens:
            if not _TOKEN.fullmatch(token):
                # Not which: it is a secret even if it cannot be used.
                raise UsageError(
                    "a token of the mirror's cannot be one", hint="8 or more of A-Z a-z 0-9 - _ . and such"
                )

    def enter(self, request: Request) -> Request:
        """Return the request without the mirror's token; raise Refused (401) if there is none that fits.

        Upstream's token, if there is one, is then the bearer's, also where a client carried it in a cookie.
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
            refuse(401, "this mirror wants its own token: set it as HF_TOKEN or MODELSCOPE_API_TOKEN", **asks)
        )

    def opens(self, shown: str) -> bool:
        """Whether what is shown is one of the mirror's tokens, alone or before upstream's; and could be in a cookie."""
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
            # The user's name does not matter; a browser asks for one.
            yield base64.b64decode(basic[1], validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return
    if cookie := _cookie(request):
        yield cookie


def _cookie(request: Request) -> str:
    try:
        cookies = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _with(request: Request, token: str) -> Request:
    """Put what is left of a token in the place of the whole."""
    fields = {name: value for name, value in request.headers.items() if name not in ("authorization", "cookie")}
    if token:
        fields["authorization"] = f"Bearer {token}"
    return replace(request, headers=fields)
