"""Auth: request headers for a registry: anonymous, with a login, or with a bearer token.

distribution/distribution: docs/spec/auth/token.md and oauth.md. A login is sent only to the registry and to the token
server that it names, and only over TLS, from this machine to itself, or to hosts for which plain HTTP was requested.
"""

import json
import threading
from collections.abc import Collection
from urllib.parse import urlencode, urlsplit

from preheat.core.errors import ImageError
from preheat.core.secret_text import hide, one_line
from preheat.net.http import HttpDocument, Transport
from preheat.oci.registry.credentials import Login
from preheat.oci.registry.response_parsing import LATER, Challenge, later, read_errors, with_query

_CLIENT = "preheat"
_HERE = "localhost"


class Auth:
    """Authorization headers for one registry. Thread-safe."""

    def __init__(
        self, transport: Transport, host: str, login: Login | None, *, plain_http: Collection[str] = (), end: str
    ) -> None:
        self._transport = transport
        self._host = host
        self._login = login
        self._plain_http = plain_http
        self._end = end
        self._turn = threading.Lock()
        self._tokens: dict[str, str] = {}
        self._basic = False

    def headers(self, scope: str) -> dict[str, str]:
        """Return the headers for `scope`: a cached token, or the login if the registry uses basic authentication."""
        token = self._tokens.get(scope)
        if token:
            return {"Authorization": f"Bearer {token}"}
        return {"Authorization": self._login.basic} if self._basic and self._login else {}

    def answer(self, challenge: Challenge, scope: str, refused: dict[str, str]) -> bool:
        """Fulfil a challenge. Return whether `headers` now differ from the `refused` ones, so a retry may succeed.

        Raise ImageError if the token server refuses, HubUnavailable if it may issue a token later.
        """
        with self._turn:
            if self.headers(scope) != refused:
                return True  # another thread has fulfilled it already
            if challenge.scheme == "basic":
                self._basic = self._login is not None and bool(self._login.user)
            else:
                self._tokens[scope] = self._token(challenge, scope)
            return self.headers(scope) not in ({}, refused)

    def _token(self, challenge: Challenge, scope: str) -> str:
        login = self._login
        if login is not None:
            self._require_safe(challenge.realm)
        scopes = list(dict.fromkeys([*scope.split(" "), *challenge.scope.split(" ")]))
        wanted = [("scope", one) for one in scopes if one]
        if login is not None and login.identity_token:
            fields = [
                ("grant_type", "refresh_token"),
                ("refresh_token", login.identity_token),
                ("service", challenge.service),
                ("client_id", _CLIENT),
                ("scope", " ".join(one for one in scopes if one)),
            ]
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._transport.send("POST", challenge.realm, form, urlencode(fields).encode())
        else:
            service = [("service", challenge.service)] if challenge.service else []
            query = urlencode([*service, *wanted])
            url = with_query(challenge.realm) + ("&" if urlsplit(challenge.realm).query else "?") + query
            answer = self._transport.get(url, {"Authorization": login.basic} if login is not None else {})
        if answer.status in LATER:
            raise later(one_line(_place(challenge.realm)), answer.status, answer.headers)
        return self._read(answer)

    def _read(self, answer: HttpDocument) -> str:
        try:
            reply = json.loads(answer.body) if answer.status == 200 else {}
            token = reply.get("token") or reply.get("access_token") or ""
        except (ValueError, AttributeError, RecursionError):
            token = ""
        if not token or not str(token).isascii():
            why = self.hide(read_errors(answer.body)) or f"status {answer.status}"
            raise ImageError(
                f"{self._host} did not issue a token: {why}",
                hint=f"docker login {self._host}, or podman login",
                end=self._end,
            )
        return str(token)

    def hide(self, text: str) -> str:
        """Remove the login and the tokens from text of the registry."""
        login = self._login
        own = (login.password, login.identity_token, login.basic.partition(" ")[2]) if login is not None else ()
        return hide(text, [*own, *self._tokens.values()])

    def _require_safe(self, realm: str) -> None:
        parts = urlsplit(realm)
        place = _place(realm)
        # A token server on the registry's own host, at any port: on this machine, or if plain HTTP was requested.
        same = _host(place) == _host(self._host)
        asked_for = _host(self._host) == _HERE or self._host in self._plain_http
        if parts.scheme == "https" or (same and asked_for) or place in self._plain_http:
            return
        raise ImageError(
            f"{self._host} requests that the login be sent to {one_line(realm)} without TLS",
            hint=f"if you trust the network: --plain-http {one_line(place)}",
            end=self._end,
        )


def _place(url: str) -> str:
    """Return the host and the port of a URL."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _host(place: str) -> str:
    """Return the host without the port; the names and addresses of this machine all become the same."""
    host = urlsplit(f"//{place}").hostname or ""
    return _HERE if host in ("localhost", "127.0.0.1", "::1") else host
