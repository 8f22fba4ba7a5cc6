"""Intercepting proxy: it passes on what it gets, logs it, and lets clients alone that do not trust it."""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from preheat.core.errors import HubError
from preheat.guard.shim.response_log import ResponseLog
from preheat.mirror.access.authority import SiteAuthority
from preheat.mirror.intercept.intercepting_proxy import InterceptingProxy
from preheat.net.http import Transport
from preheat.net.response import PassedOn
from tests.authority import authority as hubs_authority
from tests.authority import trusting
from tests.flaky_hub import FlakyHub, hangs_up_after
from tests.test_strange_words import strange

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@needs_curl
def test_the_proxy_passes_on_what_it_gets_and_logs_it(hub: FlakyHub, tmp_path: Path) -> None:
    lines: list[tuple[object, ...]] = []
    said = ResponseLog(str(tmp_path / "notes"), lambda *words: lines.append(words), lambda: ["a program"])
    folder = tmp_path / "authority"
    folder.mkdir()
    authority = SiteAuthority(folder, "test")
    with InterceptingProxy(authority, Transport(trusting()).pass_on, said, tunnels=True) as proxy:

        def curl(*words: str, trusted: Path = authority.certificate) -> subprocess.CompletedProcess[bytes]:
            environ = {"PATH": os.environ["PATH"], "https_proxy": proxy.url, "CURL_CA_BUNDLE": str(trusted)}
            return subprocess.run(("curl", "-sS", *words), env=environ, capture_output=True, check=False, timeout=30)

        authority_of_the_hub = hubs_authority().ca_file
        url = f"{hub.url}/acme/tiny/resolve/main/model.safetensors"
        whole = curl("-f", url).stdout
        assert len(whole) == 9_000_000
        assert curl("-f", "-r", "5-9", url).stdout == whole[5:10]
        assert [words[1] for words in lines if words[0] == "body"] == [url, url]
        assert [words[3:5] for words in lines if words[0] == "body"] == [(0, 9_000_000), (5, 5)]
        assert curl("-f", f"{hub.url}/acme/none/resolve/main/model.bin").returncode == 22
        hub.fails("model.safetensors", hangs_up_after(1000), times=1)
        assert curl("-f", url).returncode in (18, 56), "a part is not taken for the whole"
        assert curl("-f", url, trusted=authority_of_the_hub).returncode == 60
        assert curl("-f", url, trusted=authority_of_the_hub).stdout == whole, (
            "passed through, once it is known to refuse"
        )
    assert [one.name for one in folder.iterdir()] == ["ca.pem"], "no key stays on the disk"
    assert json.dumps(lines, default=str).count("model.bin") == 1


def test_without_tunnels_a_client_that_rejects_the_certificate_reaches_nobody(tmp_path: Path) -> None:
    def pass_on(*_request: object) -> PassedOn:
        raise AssertionError("no request is made")

    with (
        socket.create_server(("127.0.0.1", 0)) as elsewhere,
        InterceptingProxy(SiteAuthority(tmp_path, "test"), pass_on) as proxy,
    ):
        elsewhere.settimeout(0.3)
        place = f"127.0.0.1:{elsewhere.getsockname()[1]}"
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), 10) as client:
                client.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
                assert client.recv(100).startswith(b"HTTP/1.1 200")
                client.sendall(b"\x15\x03\x03\x00\x02\x02\x30")  # alert: unknown authority
                with contextlib.suppress(ConnectionResetError):
                    while client.recv(1000):
                        pass
            with pytest.raises(TimeoutError):
                elsewhere.accept()
        assert not proxy.rejected


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 268435457\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 5x\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n10000001\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
    ],
)
def test_a_request_whose_body_is_too_large_or_malformed_is_refused(head: bytes) -> None:
    passed: list[object] = []

    def pass_on(*request: object) -> PassedOn:
        passed.append(request)
        raise HubError("not expected")

    with (
        InterceptingProxy(None, pass_on) as proxy,
        socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), 10) as client,
    ):
        client.sendall(b"POST http://h/ HTTP/1.1\r\nHost: h\r\n" + head)
        assert client.recv(100).startswith(b"HTTP/1.1 502")
    assert not passed


def test_no_request_makes_the_proxy_print_a_traceback(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def pass_on(*_request: object) -> PassedOn:
        raise HubError("refused")

    honest = b"GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\nCONNECT h:443 HTTP/1.1\r\n\r\n"
    chance = random.Random(5)
    with InterceptingProxy(SiteAuthority(tmp_path, "test"), pass_on) as proxy:
        for _ in range(300):
            place = ("127.0.0.1", int(proxy.url.rpartition(":")[2]))
            with socket.create_connection(place, 10) as client, contextlib.suppress(OSError):
                client.sendall(strange(chance, honest))
                client.shutdown(socket.SHUT_WR)
                while client.recv(65_536):
                    pass
    assert capfd.readouterr().err == ""
