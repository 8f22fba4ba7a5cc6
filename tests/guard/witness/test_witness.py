"""The witness counts exactly the connections that real programs attempt."""

import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.guard.model.app import App
from preheat.guard.process.process import Process
from preheat.guard.witness.connections import Attempt, Witness
from preheat.guard.witness.sockaddr import Address, read_sockaddr
from tests.guard.apps import SILENT, free_port, python

pytestmark = pytest.mark.skipif(not (can := Witness.available()), reason=can.reason or "available")


@pytest.fixture
def witness() -> Iterator[Witness]:
    witness = Witness(own_ports=(7860,))
    yield witness
    began = time.monotonic()
    witness.close(10)
    assert time.monotonic() - began < 5, "the witness does not see that all have ended"


def watch(witness: Witness, app: App, status: int = 0) -> list[tuple[str, int, int]]:
    """Run an app until it ends; return its destinations, and how often."""
    process = Process(app, output=SILENT, witness=witness)
    assert process.wait(30)
    process.stop(1)
    assert process.status == status, process.tail.lines()
    assert witness.blind_spots == ()
    return [(attempt.address, attempt.port, attempt.count) for attempt in witness.attempts]


def test_an_app_without_connections_counts_nothing(witness: Witness) -> None:
    code = "import socket; a, b = socket.socketpair(); a.sendmsg([b'x']); a.send(b'y'); b.sendall(b'z'); print('hi')"
    assert watch(witness, python(code)) == []
    assert watch(witness, App(("bash", "-c", "ls / >/dev/null; id"))) == []
    assert (witness.outbound, witness.lookups) == (0, 0)


def test_each_connect_counts_whatever_its_result(witness: Witness) -> None:
    code = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
for _ in range(123):
    with socket.create_connection(listener.getsockname()): listener.accept()[0].close()
for _ in range(77):
    with socket.socket() as refused: assert refused.connect_ex(("127.0.0.1", 9)) != 0
"""
    counts = watch(witness, python(code))
    assert sorted(count for _, _, count in counts) == [77, 123]
    assert witness.outbound == 200


def test_ipv6_counts(witness: Witness) -> None:
    code = """
import socket
with socket.socket(socket.AF_INET6) as s: s.connect_ex(("::1", 9))
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s: s.connect_ex(("::ffff:192.0.2.1", 443))
"""
    assert watch(witness, python(code)) == [("::1", 9, 1), ("::ffff:192.0.2.1", 443, 1)]
    assert [attempt.loopback for attempt in witness.attempts] == [True, False]


def test_datagrams_sent_without_connect_count(witness: Witness) -> None:
    code = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    for _ in range(5): s.sendto(b"x", ("127.0.0.1", 9999))
    for _ in range(3): s.sendmsg([b"x"], [], 0, ("127.0.0.1", 9998))
"""
    assert watch(witness, python(code)) == [("127.0.0.1", 9999, 5), ("127.0.0.1", 9998, 3)]


def test_each_message_of_a_sendmmsg_counts(witness: Witness) -> None:
    code = """
import ctypes, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
to = [ctypes.create_string_buffer(struct.pack("=H", 2) + struct.pack("!H", port) + bytes([127, 0, 0, 1]) + bytes(8), 16)
      for port in (9991, 9992, 9992)]
part = ctypes.create_string_buffer(b"x", 1)
vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(part), 1), 16)
header = lambda at: struct.pack("=QIIQQQQIIII", at, 16 if at else 0, 0, ctypes.addressof(vector), 1, 0, 0, 0, 0, 0, 0)
headers = b"".join(header(ctypes.addressof(name)) for name in to)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    assert libc.sendmmsg(s.fileno(), headers, 3, 0) == 3
    s.connect(("127.0.0.1", 9993))
    assert libc.sendmmsg(s.fileno(), header(0) * 2, 2, 0) > 0
"""
    assert watch(witness, python(code)) == [("127.0.0.1", 9991, 1), ("127.0.0.1", 9992, 2), ("127.0.0.1", 9993, 1)]


def test_a_name_lookup_counts_as_a_lookup(witness: Witness) -> None:
    code = "import socket\ntry: socket.getaddrinfo('nowhere.example', 443)\nexcept OSError: pass"
    watch(witness, python(code))
    assert witness.lookups >= 1
    assert all(attempt.lookup and attempt.port == 53 for attempt in witness.attempts)


def test_names_and_ports_of_this_machine_do_not_count(witness: Witness) -> None:
    code = """
import socket
for port in (None, 7860): socket.getaddrinfo("localhost", port)
for host in ("127.0.0.1", "127.0.0.2", "0.0.0.0"):
    with socket.socket() as s: s.connect_ex((host, 7860))
with socket.socket(socket.AF_INET6) as s: s.connect_ex(("::1", 7860))
with socket.socket(socket.AF_INET6) as s: s.connect_ex(("::ffff:127.0.0.1", 7860))
"""
    assert watch(witness, python(code)) == []


def test_the_same_port_on_another_machine_counts(witness: Witness) -> None:
    code = "import socket; s = socket.socket(2, 2); s.connect_ex(('192.0.2.1', 7860)); s.close()"
    assert watch(witness, python(code)) == [("192.0.2.1", 7860, 1)]


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_a_program_other_than_python_counts_and_is_named(witness: Witness) -> None:
    assert watch(witness, App(("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9")), status=1) == [("127.0.0.1", 9, 1)]
    assert witness.attempts[0].program == "bash"
    assert abs(witness.attempts[0].at - time.time()) < 30


def test_each_descendant_counts_under_its_own_pid(witness: Witness) -> None:
    code = """
import os, socket, subprocess, sys
deep = "import socket; s = socket.socket(); s.connect_ex(('127.0.0.1', 9))"
subprocess.run(["sh", "-c", '"$0" -I -S -c "$1"; true', sys.executable, deep], start_new_session=True)
if os.fork() == 0:
    with socket.socket() as s: s.connect_ex(("127.0.0.1", 9))
    os._exit(0)
os.wait()
"""
    assert watch(witness, python(code)) == [("127.0.0.1", 9, 1), ("127.0.0.1", 9, 1)]
    assert len({attempt.pid for attempt in witness.attempts}) == 2


def test_threads_that_connect_at_once_are_each_counted(witness: Witness) -> None:
    code = """
import socket, threading
def go():
    for _ in range(100):
        with socket.socket() as s: s.connect_ex(("127.0.0.1", 9))
threads = [threading.Thread(target=go) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
"""
    assert watch(witness, python(code)) == [("127.0.0.1", 9, 800)]


def test_signals_that_interrupt_a_connect_do_not_count_it_twice(witness: Witness) -> None:
    # Datagrams: the kernel itself restarts an interrupted TCP connect, and strace counts two as well.
    code = """
import signal, socket
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, False)  # calls begin anew, as most runtimes have it
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for _ in range(500):
    with socket.socket(type=socket.SOCK_DGRAM) as s: s.connect_ex(("127.0.0.1", 9))
signal.setitimer(signal.ITIMER_REAL, 0)
"""
    watch(witness, python(code))
    assert witness.outbound == 500


def test_processes_that_die_while_they_connect_do_no_harm(witness: Witness) -> None:
    code = """
import os, signal, socket, time
for _ in range(30):
    child = os.fork()
    if child == 0:
        while True:
            with socket.socket() as s: s.connect_ex(("127.0.0.1", 9))
    time.sleep(0.003)
    os.kill(child, signal.SIGKILL)
    os.wait()
with socket.socket() as s: s.connect_ex(("127.0.0.1", 10))
"""
    assert watch(witness, python(code))[-1] == ("127.0.0.1", 10, 1)


def test_one_witness_observes_several_starts(witness: Witness) -> None:
    app = python("import socket; s = socket.socket(); s.connect_ex(('127.0.0.1', 9)); s.close()")
    watch(witness, app)
    watch(witness, app)
    assert witness.outbound == 2


def test_two_witnesses_each_count_their_own_app(witness: Witness) -> None:
    other = Witness()
    one = Process(python("import socket; socket.socket().connect_ex(('127.0.0.1', 9))"), output=SILENT, witness=witness)
    two = Process(python("import socket; socket.socket().connect_ex(('127.0.0.1', 10))"), output=SILENT, witness=other)
    for process in (one, two):
        process.wait(10)
        process.stop(1)
    other.close()
    assert [(a.port, a.count) for a in witness.attempts] == [(9, 1)]
    assert [(a.port, a.count) for a in other.attempts] == [(10, 1)]


def test_connections_of_this_process_are_not_counted(witness: Witness) -> None:
    process = Process(python("import time; time.sleep(0.3)"), output=SILENT, witness=witness)
    with socket.socket() as ours:
        ours.connect_ex(("127.0.0.1", free_port()))
    process.wait(10)
    process.stop(1)
    assert witness.outbound == 0


def test_an_invalid_address_does_not_count(witness: Witness) -> None:
    code = """
import ctypes, socket
libc = ctypes.CDLL(None)
with socket.socket() as s:
    for place in (0, 16, 2**63, 2**64 - 8): assert libc.connect(s.fileno(), ctypes.c_void_p(place), 16) == -1
"""
    assert watch(witness, python(code)) == []


def test_the_socket_file_of_an_app_is_not_the_network(witness: Witness) -> None:
    code = "import socket; s = socket.socket(socket.AF_UNIX); s.connect_ex('/run/preheat-nobody'); s.close()"
    assert watch(witness, python(code)) == []


def test_io_uring_is_reported_as_a_blind_spot() -> None:
    witness = Witness()
    process = Process(python("import ctypes; ctypes.CDLL(None).syscall(425, 1, 0)"), output=SILENT, witness=witness)
    process.wait(10)
    process.stop(1)
    witness.close()
    assert len(witness.blind_spots) == 1
    assert f"(pid {process.pid}) opened an io_uring" in witness.blind_spots[0]


def test_an_app_starts_as_fast_as_without_a_witness(witness: Witness) -> None:
    def start(witness: Witness | None) -> float:
        began = time.perf_counter()
        process = Process(python("pass"), output=SILENT, witness=witness)
        process.wait(10)
        took = time.perf_counter() - began
        process.stop(1)
        return took

    alone, watched = [start(None) for _ in range(7)], [start(witness) for _ in range(7)]
    # On a busy machine, few starts are as fast as they can be.
    while min(watched) >= min(alone) + 0.05 and len(watched) < 60:
        alone.append(start(None))
        watched.append(start(witness))
    assert min(watched) < min(alone) + 0.05


def test_an_attempt_has_all_its_fields(witness: Witness) -> None:
    watch(witness, python("import socket; socket.socket().connect_ex(('127.0.0.1', 9))"))
    attempt = witness.attempts[0]
    assert attempt == Attempt("127.0.0.1", 9, attempt.pid, attempt.program, attempt.at, lookup=False, loopback=True)
    assert attempt.program == Path(sys.executable).name[:15]


@pytest.mark.parametrize(
    ("address", "loopback", "lookup"),
    [
        (Address("127.0.0.53", 53), True, True),
        (Address("192.0.2.1", 853), False, True),
        (Address("192.0.2.1", 443), False, False),
        (Address("::ffff:127.0.0.1", 443), True, False),
        (Address("::", 443), True, False),
        (Address("/run/systemd/resolve/io.systemd.Resolve", 0), True, True),
        (Address("/var/run/nscd/socket", 0), True, True),
        (Address("/run/docker.sock", 0), True, False),
    ],
)
def test_an_address_knows_whether_it_is_local_and_a_resolver(address: Address, loopback: bool, lookup: bool) -> None:
    assert (address.loopback, address.lookup) == (loopback, lookup)


@pytest.mark.parametrize(
    "raw", [b"", b"\2", b"\2\0\0\x50\x7f", b"\n\0\0\x50" + bytes(4), b"\1\0\0abstract", b"\x10\0" * 6]
)
def test_an_address_of_another_family_is_ignored(raw: bytes) -> None:
    assert read_sockaddr(raw) is None
