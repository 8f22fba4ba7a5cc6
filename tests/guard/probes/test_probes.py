"""Probes of real servers, output lines and commands."""

import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from preheat.guard.kernel.ports import port_taken
from preheat.guard.model.tail import Tail
from preheat.guard.probes.probe_loop import ProbeLoop
from preheat.guard.probes.probes import HttpProbe, parse_probe, port_of
from preheat.guard.process.process import Process
from tests.guard.apps import SILENT, free_port, python, until


class Answer(BaseHTTPRequestHandler):
    """A server that responds to GET /NNN with status NNN."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/?") or 200))
        self.send_header("Location", "http://192.0.2.1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has it so
        pass


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Answer)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ready(text: str) -> bool:
    return parse_probe(text, Tail()).ready()


def test_a_url_is_ready_exactly_when_it_responds_with_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving() as port:
        url = f"http://127.0.0.1:{port}"
        assert all(ready(f"{url}{path}") for path in ("", "/", "/204", "/302", "?"))
        assert not any(ready(f"{url}/{status}") for status in (401, 404, 500, 503))
        assert ready(f"http://localhost:{port}/")
    assert not ready(url)


def test_a_url_is_not_ready_if_the_server_does_not_speak_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close()).start()
        assert not ready(f"http://127.0.0.1:{server.getsockname()[1]}/")


def test_https_is_ready_with_an_untrusted_certificate(tmp_path: Path) -> None:
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", "k", "-out", "c"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip("no openssl to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c", tmp_path / "k")
    with serving(context) as port:
        assert ready(f"https://127.0.0.1:{port}/")


def test_a_port_is_ready_when_it_accepts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert ready(f"tcp:{port}")
        assert ready(f"tcp:localhost:{port}")
    assert not ready(f"tcp:{port}")


def test_a_line_is_ready_when_it_was_printed() -> None:
    tail = Tail()
    probe = parse_probe(r"line:Running on .*:\d+", tail)
    assert not probe.ready()
    tail.feed(1, b"* Running on local URL: http://127.0.0.1:7860\n")
    assert probe.ready()


def test_a_command_is_ready_when_it_succeeds(tmp_path: Path) -> None:
    probe = parse_probe("exec:sh -c 'test -e \"$MARK\"'", Tail(), env={"MARK": "mark"}, cwd=str(tmp_path))
    assert not probe.ready()
    (tmp_path / "mark").touch()
    assert probe.ready()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a probe"),
        ("ftp://x/", "is not a probe"),
        ("7860", "is not a probe"),
        ("http://", "is not a URL"),
        ("http:///x", "is not a URL"),
        ("http://a b/", "is not a URL"),
        ("http://h:99999/", "a port must be between 1 and 65535"),
        ("tcp:", "is not a port"),
        ("tcp:web", "is not a port"),
        ("tcp:0", "a port must be between 1 and 65535"),
        ("line:", "has no pattern"),
        ("line:(", "is not a regular expression"),
        ("exec:", "has no command"),
        ("exec:'", "No closing quotation"),
        ("exec:nowhere-to-be-found", "command not found: nowhere-to-be-found"),
    ],
)
def test_an_invalid_probe_is_rejected_with_a_clear_message(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_probe(text, Tail())


def test_a_url_is_parsed_into_its_parts() -> None:
    assert parse_probe("http://[::1]:80/a?b#c", Tail()) == HttpProbe(tls=False, host="::1", port=80, target="/a?b")
    assert parse_probe("https://h?q=1", Tail()) == HttpProbe(tls=True, host="h", port=443, target="/?q=1")


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("http://127.0.0.1:7860/", 7860),
        ("https://localhost/", 443),
        ("http://[::]:81/", 81),
        ("tcp:9000", 9000),
        ("tcp:0.0.0.0:9000", 9000),
        ("tcp:elsewhere:9000", None),
        ("http://example.org/", None),
        ("line:7860", None),
        ("exec:true", None),
        ("", None),
    ],
)
def test_a_probe_knows_its_local_port(text: str, port: int | None) -> None:
    assert port_of(text) == port


def test_a_free_port_is_not_taken() -> None:
    assert port_taken(free_port()) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_taken_port_is_found_with_its_owner(host: str) -> None:
    family = "AF_INET6" if ":" in host else "AF_INET"
    code = f"""
import socket, time
server = socket.create_server(({host!r}, 0), family=socket.{family})
print(server.getsockname()[1])
time.sleep(60)
"""
    process = Process(python(code), output=SILENT)
    assert until(process.tail.lines)
    port = int(process.tail.lines()[0])
    holder = port_taken(port)
    process.stop(1)
    assert str(holder) == f"port {port} is taken by {Path(sys.executable).name[:15]} (pid {process.pid})"
    assert port_taken(port) is None


def test_a_probe_loop_stores_the_time_of_the_first_success() -> None:
    tail = Tail()
    lookout = ProbeLoop(parse_probe("line:up", tail), every_s=0.01)
    time.sleep(0.05)
    assert not lookout.ready()
    before = time.monotonic()
    tail.feed(1, b"up\n")
    assert until(lookout.ready)
    assert lookout.ready_at is not None
    assert before <= lookout.ready_at <= time.monotonic()
    lookout.close()


@pytest.mark.parametrize("text", ["http://127.0.0.1:{}/", "https://127.0.0.1:{}/", "openai:http://127.0.0.1:{}/v1"])
def test_a_probe_loads_its_client_only_once_the_app_listens(text: str) -> None:
    """Until then the app imports, and would wait for the core."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    code = f"""
import sys
from preheat.guard.model.tail import Tail
from preheat.guard.probes.probes import parse_probe
print(parse_probe({text.format(port)!r}, Tail()).ready(), *({{"http.client", "ssl", "email"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
