"""Intercepting proxy: it passes on what it gets, logs it, and lets clients alone that do not trust it."""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from preheat.core.errors import HubError
from preheat.guard.shim.response_log import ResponseLog
from preheat.mirror.access.authority import SiteAuthority
from preheat.mirror.intercept.intercepting_proxy import InterceptingProxy
from preheat.net.http import Transport
from preheat.net.response import PassedOn
from preheat.verbs.local_hub import proxied
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


NODE = """
const https = require("https");
function get(url) {
  return new Promise((done, failed) => https.get(url, (answer) => {
    const read = [];
    answer.on("data", (piece) => read.push(piece)).on("end", () => done(Buffer.concat(read).length));
  }).on("error", failed));
}
(async () => {
  const [, url, missing] = process.argv;
  const fetched = (await (await fetch(url)).arrayBuffer()).byteLength;
  const again = (await fetch(missing)).status;
  const posted = (await fetch(missing, { method: "POST", body: "x".repeat(300000) })).status;
  console.log(JSON.stringify([fetched, await get(url), again, posted, process.env.MINE]));
})();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node_is_led_to_the_proxy_and_ends_by_itself(hub: FlakyHub, tmp_path: Path) -> None:
    lines: list[tuple[object, ...]] = []
    said = ResponseLog(str(tmp_path / "notes"), lambda *words: lines.append(words), lambda: ["a program"])
    (tmp_path / "mine.cjs").write_text("process.env.MINE = 'kept';")
    # By another name than loopback's, which no proxy is asked for.
    url = hub.url.replace("127.0.0.1", "hub.example.org").replace("localhost", "hub.example.org")
    assert "hub.example.org" in url

    def pass_on(method: str, asked: str, headers: Mapping[str, str], body: bytes) -> PassedOn:
        return Transport(trusting()).pass_on(method, asked.replace("hub.example.org", "127.0.0.1"), headers, body)

    authority = SiteAuthority(tmp_path, "test")
    with InterceptingProxy(authority, pass_on, said) as proxy:
        own = {"PATH": os.environ["PATH"], "NODE_OPTIONS": f"--require={tmp_path}/mine.cjs"}
        environ = own | proxied(proxy.url, authority.certificate, own)
        words = ("node", "-e", NODE, f"{url}/acme/tiny/resolve/main/model.safetensors", f"{url}/none")
        done = subprocess.run(words, env=environ, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [9_000_000, 9_000_000, 404, 405, "kept"]
    assert [line[1] for line in lines if line[0] == "body" and line[4] == 9_000_000] == [words[3]] * 2
