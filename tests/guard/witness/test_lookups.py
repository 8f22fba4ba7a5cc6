"""The witness reads the names that an app looks up, whichever way it does."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.guard.model.app import App
from preheat.guard.process.process import Process
from preheat.guard.witness.connection_counts import MORE_NAMES
from preheat.guard.witness.connections import Attempt, Witness
from preheat.guard.witness.name_lookups import NameLookup, asked_of, dns_questions
from preheat.verbs.run import network_seen
from tests.guard.apps import SILENT, python

watched = pytest.mark.skipif(not (can := Witness.available()), reason=can.reason or "available")

# In the app: a DNS query as bytes, and a socket connected to a resolver.
ASKING = """
import ctypes, os, socket, struct, sys

def question(name, kind=1):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack(">HH", kind, 1)

def connected(kind=socket.SOCK_DGRAM, address=("127.0.0.1", 53)):
    line = socket.socket(socket.AF_INET, kind)
    line.connect_ex(address)
    return line

def tried(call, *words):
    try:
        return call(*words)
    except OSError:  # nobody listens there
        return None

"""


def looked_up(code: str) -> list[tuple[str, int]]:
    """Run an app until it ends; return the names that it looked up, and how often."""
    return [(attempt.name, attempt.count) for attempt in attempts(code) if attempt.lookup]


def attempts(code: str) -> tuple[Attempt, ...]:
    witness = Witness()
    process = Process(python(ASKING + code), output=SILENT, witness=witness)
    assert process.wait(30)
    process.stop(1)
    witness.close(5)
    assert process.status == 0, process.tail.lines()
    assert witness.outbound == sum(attempt.count for attempt in witness.attempts)
    return witness.attempts


@watched
@pytest.mark.parametrize(
    "sends",
    [
        "tried(connected().send, question('name.example'))",
        "line = connected(); tried(os.write, line.fileno(), question('name.example'))",
        "asked = question('name.example'); line = connected(); tried(os.writev, line.fileno(), [asked[:9], asked[9:]])",
        "tried(connected().sendmsg, [question('name.example')])",
        "socket.socket(2, 2).sendto(question('name.example'), ('127.0.0.1', 53))",
        "socket.socket(2, 2).sendmsg([question('name.example')], [], 0, ('127.0.0.1', 53))",
        "line = socket.socket(10, 2); tried(line.connect, ('::1', 53)); tried(line.send, question('name.example'))",
    ],
    ids=["send", "write", "writev", "sendmsg", "sendto", "sendmsg-to", "ipv6"],
)
def test_a_name_is_read_from_each_call_that_can_send_it(sends: str) -> None:
    assert looked_up(sends) == [("name.example", 1)]


@watched
def test_a_name_is_read_from_sendmmsg() -> None:
    code = """
def header(asked):
    part = ctypes.create_string_buffer(asked, len(asked))
    vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(part), len(asked)), 16)
    kept.extend((part, vector))
    return struct.pack("=QIIQQQQIIII", 0, 0, 0, ctypes.addressof(vector), 1, 0, 0, 0, 0, 0, 0)
kept = []
headers = header(question("both.example", 1)) + header(question("both.example", 28)) + header(question("other.example"))
line = connected()
ctypes.CDLL(None).sendmmsg(line.fileno(), headers, 3, 0)
"""
    assert looked_up(code) == [("both.example", 1), ("other.example", 1)]


@watched
@pytest.mark.parametrize(
    "sends",
    [
        "line.sendall(length + asked)",
        "line.sendall(length); line.sendall(asked)",
        "os.writev(line.fileno(), [length, asked])",
        "line.sendmsg([length, asked])",
    ],
)
def test_a_name_is_read_from_a_stream(sends: str) -> None:
    try:  # the port of a resolver that needs no root
        listener = socket.create_server(("127.0.0.1", 5355))
    except OSError:
        pytest.skip("port 5355 is taken")
    with listener:
        code = "asked = question('stream.example'); length = struct.pack('>H', len(asked))\n"
        code += f"line = connected(socket.SOCK_STREAM, ('127.0.0.1', 5355)); {sends}"
        assert looked_up(code) == [("stream.example", 1)]


@watched
def test_queries_of_the_system_resolver_library_are_read() -> None:
    code = "try: socket.getaddrinfo('nowhere.example', 443)\nexcept OSError: pass"
    names = dict(looked_up(code))
    assert "nowhere.example" in names
    assert "" not in names


@watched
@pytest.mark.skipif(not shutil.which("node"), reason="no node")
def test_queries_of_another_resolver_library_are_read() -> None:
    witness = Witness()
    words = ("node", "-e", "require('dns').resolve4('nowhere.example', () => process.exit())")
    process = Process(App(words), output=SILENT, witness=witness)
    process.wait(5)
    process.stop(1)
    witness.close(5)
    assert {attempt.name for attempt in witness.attempts} == {"nowhere.example"}


@watched
def test_both_addresses_of_a_name_are_one_lookup_and_a_repetition_is_another() -> None:
    code = """
for _ in range(3):
    line = connected()
    for kind in (1, 28): tried(line.send, question("name.example", kind))
"""
    assert looked_up(code) == [("name.example", 3)]


@watched
def test_a_lookup_with_an_unreadable_name_is_counted_without_it() -> None:
    code = "tried(connected().send, b'x' * 40); connected(address=('127.0.0.1', 853))"
    found = attempts(code)
    assert [(one.port, one.name, one.count) for one in found] == [(53, "", 1), (853, "", 1)]


@watched
def test_data_sent_elsewhere_is_not_a_query() -> None:
    code = """
a, b = socket.socketpair(); a.send(question("pair.example"))
file = os.open("/dev/null", os.O_WRONLY); os.write(file, question("file.example"))
line = connected()
line.connect(("127.0.0.1", 9999)); tried(line.send, question("moved.example"))
"""
    assert [(one.port, one.name) for one in attempts(code)] == [(53, ""), (9999, "")]


@watched
def test_a_connection_has_the_name_that_its_thread_looked_up() -> None:
    code = """
tried(connected().send, question("telemetry.example"))
line = socket.socket(2, 2); line.connect(("192.0.2.1", 443))
"""
    found = attempts(code)
    assert [(one.lookup, one.address, one.name) for one in found] == [
        (True, "127.0.0.1", "telemetry.example"),
        (False, "192.0.2.1", "telemetry.example"),
    ]


@watched
def test_the_number_of_stored_names_is_bounded() -> None:
    code = "line = connected()\nfor number in range(1000): tried(line.send, question(f'n{number}.example'))"
    found = attempts(code)
    assert len(found) < 300
    assert sum(one.count for one in found) == 1000
    assert found[-1].name == MORE_NAMES


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[Path]:
    """A socket like that of systemd-resolved, below another folder; it reads a query and closes."""
    path = tmp_path / "systemd" / "resolve" / "io.systemd.Resolve"
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=_hang_up, args=(listener,), daemon=True)
        thread.start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _hang_up(listener: socket.socket) -> None:
    while True:
        try:
            line, _ = listener.accept()
        except OSError:
            return
        with line:
            line.recv(4096)


@watched
def test_a_name_is_read_from_a_query_to_systemd_resolved(resolver: Path) -> None:
    asked = _varlink("telemetry.example")
    code = f"line = socket.socket(1); line.connect({str(resolver)!r}); line.send({asked!r})"
    [attempt] = attempts(code)
    assert (attempt.address, attempt.name, attempt.count) == (str(resolver), "telemetry.example", 1)


@watched
@pytest.mark.parametrize(
    "asked", [b'{"method":"io.systemd.Resolve.Monitor.SubscribeQueryResults"}\0', None], ids=["other", "localhost"]
)
def test_a_query_that_stays_on_this_machine_is_no_lookup(resolver: Path, asked: bytes | None) -> None:
    asked = asked or _varlink("localhost")
    assert attempts(f"line = socket.socket(1); line.connect({str(resolver)!r}); line.send({asked!r})") == ()


def _varlink(name: str) -> bytes:
    """Return the bytes that nss-resolve of systemd 252 sends."""
    asked = {"method": "io.systemd.Resolve.ResolveHostname", "parameters": {"name": name, "flags": 0}}
    return json.dumps(asked, separators=(",", ":")).encode() + b"\0"


@watched
def test_attempts_are_described_with_their_names() -> None:
    witness = Witness()
    code = "tried(connected().send, question('t.example')); socket.socket(2, 2).connect(('192.0.2.1', 443))"
    process = Process(python(ASKING + code), output=SILENT, witness=witness)
    process.wait(10)
    process.stop(1)
    witness.close(5)
    program = Path(sys.executable).name[:15]
    assert network_seen(witness).places == (
        f"lookup of t.example at 127.0.0.1:53 by {program} (1)",
        f"t.example:443 at 192.0.2.1:443 by {program} (1)",
    )


NSCD = (2).to_bytes(4, sys.byteorder)


def _nscd(kind: int, key: bytes) -> bytes:
    return NSCD + kind.to_bytes(4, sys.byteorder) + len(key).to_bytes(4, sys.byteorder) + key


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        (_nscd(14, b"name.example\0"), [NameLookup("name.example", 0)]),
        (_nscd(4, b"name.example\0"), [NameLookup("name.example", 4)]),
        (_nscd(6, bytes([192, 0, 2, 1])), [NameLookup("192.0.2.1")]),
        (_nscd(1, b"1000\0"), None),  # a user, not a host
        (_nscd(13, b"hosts\0"), None),
        (b"\1\0\0\0" * 4, []),
        (b"short", []),
    ],
)
def test_nscd_is_queried_for_hosts_and_for_others(sent: bytes, asked: list[NameLookup] | None) -> None:
    assert asked_of("/run/nscd/socket", sent) == asked


def test_avahi_is_queried_for_hosts() -> None:
    assert asked_of("/run/avahi-daemon/socket", b"RESOLVE-HOSTNAME-IPV4 printer.local\n") == [
        NameLookup("printer.local")
    ]


@pytest.mark.parametrize("length", [0, 1, 11, 12, 13, 30])
def test_a_truncated_or_invalid_message_has_no_question(length: int) -> None:
    whole = b"\0\7\1\0\0\1\0\0\0\0\0\0\4name\7example\0\0\1\0\1"
    assert dns_questions(whole) == [NameLookup("name.example", 1)]
    assert dns_questions(whole[:-1]) == []
    assert dns_questions(os.urandom(length)[:length].replace(b"\0", b"\1")) == []
    assert dns_questions(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n") == []


# ---- the filter


FILTER = "from preheat.guard.kernel.seccomp import filter_this_thread; print(filter_this_thread() >= 0)"


@watched
@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
@pytest.mark.parametrize(
    ("refused", "flags"),
    [
        ("", "NEW_LISTENER|SECCOMP_FILTER_FLAG_SPEC_ALLOW"),
        ("-e inject=seccomp:error=EINVAL:when=1..2", "NEW_LISTENER"),
    ],
)
def test_the_filter_keeps_speculation_settings_and_works_where_the_kernel_refuses_the_flag(
    refused: str, flags: str
) -> None:
    words = ["strace", "-e", "trace=seccomp", *refused.split(), sys.executable, "-c", FILTER]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "True\n", done.stderr
    calls = [line for line in done.stderr.splitlines() if line.startswith("seccomp(")]
    said = set(calls[-1].replace("SECCOMP_FILTER_FLAG_NEW_LISTENER", "NEW_LISTENER").split(", ")[1].split("|"))
    assert set(flags.split("|")) <= said
    assert ("SECCOMP_FILTER_FLAG_SPEC_ALLOW" in said) == ("SPEC_ALLOW" in flags)


@watched
def test_the_app_has_the_same_speculation_settings_as_without_a_witness() -> None:
    def told(witness: Witness | None) -> list[str]:
        code = "print([line for line in open('/proc/self/status') if line.startswith('Speculation')])"
        process = Process(python(code), output=SILENT, witness=witness)
        process.wait(10)
        process.stop(1)
        return list(process.tail.lines())

    watched, unwatched = told(Witness()), told(None)
    if "Speculation_Store_Bypass" not in unwatched[0]:
        pytest.skip("this kernel does not tell")
    assert watched == unwatched
