"""Published port: an app on loopback is reachable at the machine's other addresses, as in a container."""

import os
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from preheat.guard.net.published_port import addresses
from tests.guard.apps import free_port, until
from tests.guard.supervise.test_instances import WEB
from tests.guard.zipped import guard_zip


def get(host: str, port: int, path: str = "/") -> bytes:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=10) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        return str(error.code).encode()
    except OSError:
        return b""


def start(port: int, *words: str, web: str = WEB) -> "subprocess.Popen[bytes]":
    app = [sys.executable, "-I", "-S", "-u", "-c", web, str(port)]
    ready = f"http://127.0.0.1:{port}/"
    return subprocess.Popen(
        [sys.executable, guard_zip(), "--publish", "--ready", ready, *words, "--", *app],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LOADS_S": "0"},
    )


@pytest.fixture
def outside() -> str:
    """An address of this machine that is not loopback."""
    found = [one for one in addresses() if ":" not in one]
    if not found:
        pytest.skip("this machine has only loopback")
    return found[0]


def test_an_app_on_loopback_is_reachable_at_other_addresses_also_after_a_crash(outside: str) -> None:
    port = free_port()
    with start(port) as guard:
        try:
            assert until(lambda: get(outside, port) not in (b"", b"503"), 20)
            first = get(outside, port)
            assert get("127.0.0.1", port) == first
            get(outside, port, "/die")
            assert until(lambda: get(outside, port) not in (first, b"", b"503"), 30)
        finally:
            guard.terminate()
            guard.communicate(timeout=20)
    assert guard.returncode == 143
    assert get(outside, port) == b""


def test_an_app_that_listens_on_all_addresses_is_left_alone(outside: str) -> None:
    port = free_port()
    with start(port, web=WEB.replace("127.0.0.1", "0.0.0.0")) as guard:
        try:
            assert until(lambda: get(outside, port) not in (b"", b"503"), 20)
            assert get(outside, port) == get("127.0.0.1", port)
        finally:
            guard.terminate()
            _, said = guard.communicate(timeout=20)
    assert guard.returncode == 143, said


@pytest.mark.parametrize("words", [("--ready", "line:up"), ("--front", "127.0.0.1:1")])
def test_a_port_that_cannot_be_published_is_an_error_before_the_start(words: tuple[str, ...]) -> None:
    with start(free_port(), *words) as guard:
        _, said = guard.communicate(timeout=20)
    assert (guard.returncode, b"--publish" in said) == (2, True)
