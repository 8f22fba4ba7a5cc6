"""Probes: HTTP, TCP, output line or command; each reports whether an app is ready."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from typing import Mapping, NamedTuple, Protocol

from preheat.guard.model.tail import LineMatcher, Tail
from preheat.guard.probes.real_requests import KINDS, HangUp, OneRealRequest, RealRequest, listens, split_request

_TIMEOUT_S = 5.0
# Strings, not compiled patterns: re compiles and caches them on first use.
_URL = r"(https?)://(\[[0-9a-fA-F:.]+\]|[^/:?#\[\]@\s]+)(?::(\d+))?([/?]\S*)?"
_TCP = r"tcp:(?:(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]+):)?(\d+)"
_HERE = r"localhost|127\..*|0\.0\.0\.0|::1?"


class Probe(Protocol):
    """A check that can be repeated."""

    def ready(self) -> bool:
        """Return whether the app is ready; this may take some seconds."""


class HttpProbe(NamedTuple):
    """Ready when a GET returns 2xx or 3xx. It ignores proxies and does not verify certificates."""

    tls: bool
    host: str
    port: int
    target: str

    def ready(self) -> bool:
        """See Probe."""
        import socket

        try:
            connected = socket.create_connection((self.host, self.port), _TIMEOUT_S)
        except OSError:
            return False
        # Import here: http.client and ssl take longer to load than the rest of the guard, and an app that does not
        # listen yet imports too, and would wait for the core.
        from http.client import HTTPConnection, HTTPException

        connection = HTTPConnection(self.host, self.port, timeout=_TIMEOUT_S)
        connection.sock = connected
        # The socket timeout applies to each read: an app that sends one byte per second would never reach it.
        hanging_up = HangUp(connection, 2 * _TIMEOUT_S)
        try:
            if self.tls:
                import ssl

                # The probe sends no secrets, so an unverified certificate is harmless.
                trusting = ssl._create_unverified_context()  # noqa: S323
                connection.sock = trusting.wrap_socket(connected, server_hostname=self.host)
            connection.request("GET", self.target, headers={"User-Agent": "preheat-guard", "Connection": "close"})
            # http.client parses truncated headers as if they were complete.
            return 200 <= connection.getresponse().status < 400 and not hanging_up.done
        except (OSError, HTTPException):
            return False
        finally:
            hanging_up.cancel()
            connection.close()


class PortProbe(NamedTuple):
    """Ready when a connection is accepted."""

    host: str
    port: int

    def ready(self) -> bool:
        """See Probe."""
        return listens(self.host, self.port)


class LineProbe(NamedTuple):
    """Ready when a line of the app's output has matched a pattern."""

    matcher: LineMatcher

    def ready(self) -> bool:
        """See Probe."""
        return self.matcher.seen


class CommandProbe(NamedTuple):
    """Ready when a command ends with status 0."""

    command: tuple[str, ...]
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    within_s: float = _TIMEOUT_S

    def ready(self) -> bool:
        """See Probe."""
        import subprocess

        try:
            asking = subprocess.Popen(
                self.command,
                env=self.env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            return False
        try:
            return asking.wait(self.within_s) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            if asking.returncode is None:
                # Kill the whole process group, or a hanging child would remain.
                with suppress(OSError):
                    os.killpg(asking.pid, signal.SIGKILL)
                asking.wait()


def parse_probe(
    text: str, tail: Tail, *, env: Mapping[str, str] | None = None, cwd: str | None = None, each_time: bool = False
) -> Probe:
    """Parse `http://…`, `tcp:PORT`, `tcp:HOST:PORT`, `line:REGEX`, `exec:COMMAND` or a real request.

    A `line:` probe searches `tail`; an `exec:` command runs with `env` and `cwd`, usually the app's. A real request is
    sent until it succeeds once, or at each probe with `each_time`. Raise ValueError with a message for the user.
    """
    kind, _, rest = text.partition(":")
    if kind.partition("@")[0] in KINDS:
        what, within_s, url, body = split_request(text)
        _, host, port, target = _url(url)
        request = RealRequest(what, host, port, target, body, within_s)
        return request if each_time else OneRealRequest(request)
    if kind in ("http", "https"):
        tls, host, port, target = _url(text)
        return HttpProbe(tls, host, port, target)
    if kind == "tcp":
        return PortProbe(*_tcp(text))
    if kind == "line":
        if not rest:
            raise ValueError(f"{text} has no pattern: line:REGEX")
        try:
            return LineProbe(tail.watch(re.compile(rest)))
        except re.error as error:
            raise ValueError(f"{text} is not a regular expression: {error}") from error
    if kind == "exec":
        return CommandProbe(_command(text, rest, env), env, cwd)
    raise ValueError(
        f"{text} is not a probe: http://HOST:PORT/, tcp:PORT, tcp:HOST:PORT, line:REGEX, exec:COMMAND,"
        " gradio:URL [JSON], openai:URL or wav:URL"
    )


def port_of(text: str) -> int | None:
    """Return the local port that a probe connects to, or None. Raise ValueError for an invalid URL or port."""
    kind = text.partition(":")[0]
    if kind.partition("@")[0] in KINDS:
        _, host, port, _ = _url(split_request(text)[2])
    elif kind in ("http", "https"):
        _, host, port, _ = _url(text)
    elif kind == "tcp":
        host, port = _tcp(text)
    else:
        return None
    return port if re.fullmatch(_HERE, host) else None


def _url(text: str) -> tuple[bool, str, int, str]:
    found = re.fullmatch(_URL, text)
    if not found:
        raise ValueError(f"{text} is not a URL: http://HOST:PORT/PATH")
    scheme, host, port, target = found.groups()
    target = (target or "/").partition("#")[0]
    default = 443 if scheme == "https" else 80
    return (
        scheme == "https",
        host.strip("[]"),
        _port(text, port) if port else default,
        target if target.startswith("/") else f"/{target}",
    )


def _tcp(text: str) -> tuple[str, int]:
    found = re.fullmatch(_TCP, text)
    if not found:
        raise ValueError(f"{text} is not a port: tcp:PORT or tcp:HOST:PORT")
    return (found[1] or "127.0.0.1").strip("[]"), _port(text, found[2])


def _port(text: str, digits: str) -> int:
    port = int(digits)
    if not 1 <= port <= 65535:
        raise ValueError(f"{text}: a port must be between 1 and 65535")
    return port


def _command(text: str, words: str, env: Mapping[str, str] | None) -> tuple[str, ...]:
    import shlex
    import shutil

    try:
        command = tuple(shlex.split(words))
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error
    if not command:
        raise ValueError(f"{text} has no command: exec:COMMAND")
    path = None if env is None else env.get("PATH")
    if "/" not in command[0] and shutil.which(command[0], path=path) is None:
        raise ValueError(f"{text}: command not found: {command[0]}")
    return command
