"""The resources that one client can hold are bounded: connections, bodies, downloads, names; see docs/limits.md."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.events import Event
from preheat.core.ref import Ref
from preheat.core.snapshot import File
from preheat.library.library import Library
from preheat.mirror.access.host_check import is_foreign, is_loopback
from preheat.mirror.access.token_auth import TokenAuth
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Answer, Request, Slice
from preheat.mirror.http.receive_budget import Budget
from preheat.mirror.http.server import Server
from preheat.mirror.status.status_routes import greeting
from preheat.mirror.upstream import arriving_blob, fetches
from preheat.mirror.upstream.arriving_blob import Arrival
from preheat.net.retry import RetryPolicy
from tests.authority import trust
from tests.flaky_hub import FlakyHub, flips_a_byte_at, hangs_up_after
from tests.mirror.rooms import Room

TOKEN = "mirror-token-123456"
PATHS = "/api/models/acme/tiny/paths-info/main"


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def served(answer: Callable[[Request], Answer], limits: ServerLimits, door: TokenAuth = TokenAuth()) -> Server:  # noqa: B008 - frozen
    events: list[Event] = []
    greet = greeting(lambda: door, limits.body_size)
    return Server(("127.0.0.1", 0), answer, events.append, limits=limits, greet=greet)


def well(request: Request) -> Answer:
    return Answer(200, {"Content-Length": str(len(request.body))}, request.body)


def first_line(port: int, words: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(words)
        return raw.recv(65536).partition(b"\r\n")[0]


def announced(path: str, *fields: str, size: int = 4_000_000) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {size}", *fields, "", "")
    return "\r\n".join(lines).encode()


def test_no_body_is_read_before_the_token_is_checked() -> None:
    with served(well, ServerLimits(), TokenAuth((TOKEN,))) as server:
        port = port_of(server)
        assert first_line(port, announced(PATHS)) == b"HTTP/1.1 401 Unauthorized"
        shown = announced(PATHS, f"Authorization: Bearer {TOKEN}", "Expect: 100-continue")
        assert first_line(port, shown) == b"HTTP/1.1 100 Continue"
        assert first_line(port, announced("/api/v1/login", size=20_000)) == b"HTTP/1.1 413 Content Too Large"


@pytest.mark.parametrize("path", ["/", "/acme/tiny/resolve/main/config.json", "/api/models/acme/tiny", "/api/v1/login"])
def test_no_body_is_read_for_routes_without_one(path: str) -> None:
    with served(well, ServerLimits()) as server:
        assert first_line(port_of(server), announced(path)) == b"HTTP/1.1 200 OK"


def test_slow_bodies_do_not_block_other_clients() -> None:
    with served(well, ServerLimits(connections=8)) as server, ExitStack() as open_ones:
        for _ in range(16):
            raw = open_ones.enter_context(socket.create_connection(("127.0.0.1", port_of(server)), timeout=10))
            raw.sendall(announced(PATHS))
        assert first_line(port_of(server), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == b"HTTP/1.1 200 OK"


def test_all_bodies_together_have_a_budget() -> None:
    with served(well, ServerLimits(bodies_size=5_000_000)) as server, ExitStack() as open_ones:
        raw = open_ones.enter_context(socket.create_connection(("127.0.0.1", port_of(server)), timeout=10))
        raw.sendall(announced(PATHS, "Expect: 100-continue"))
        assert raw.recv(100).startswith(b"HTTP/1.1 100 ")
        assert first_line(port_of(server), announced(PATHS)) == b"HTTP/1.1 503 Service Unavailable"
        small = announced(PATHS, size=2) + b"{}"
        assert first_line(port_of(server), small) == b"HTTP/1.1 200 OK"


@given(st.lists(st.tuples(st.integers(0, 300_000), st.booleans()), max_size=30))
def test_a_budget_is_never_exceeded_and_is_returned(takings: list[tuple[int, bool]]) -> None:
    budget = Budget(500_000)
    held: list[tuple[int, ExitStack]] = []
    for size, release in takings:
        stack = ExitStack()
        if stack.enter_context(budget.taking(size)):
            held.append((size, stack))
        assert sum(size for size, _ in held if size > 65_536) <= 500_000
        if release and held:
            held.pop()[1].close()
    for _, stack in held:
        stack.close()
    with budget.taking(500_000) as room:
        assert room


def test_a_client_that_receives_slowly_makes_room(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(200 << 20)

    def slice_of_it(request: Request) -> Answer:
        if request.target == "/":
            return well(request)
        return Answer(200, {"Content-Length": str(200 << 20)}, Slice(large, 0, 200 << 20))

    with served(slice_of_it, ServerLimits(connections=4)) as server, ExitStack() as open_ones:
        for _ in range(4):
            slow = open_ones.enter_context(socket.socket())
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", port_of(server)))
            slow.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        deadline = time.monotonic() + 20
        while first_line(port_of(server), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") != b"HTTP/1.1 200 OK":
            assert time.monotonic() < deadline
            time.sleep(0.1)


# ---- fetches


@pytest.fixture
def many(tmp_path: Path) -> Iterator[FlakyHub]:
    """A hub with more large files than parallel downloads, which sends a little of each and then pauses."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(fetches.MOST_FETCHES + 2):
        (folder / f"{number}.bin").write_bytes(number.to_bytes(2, "big") * 1_000_000)
    (folder / "small.txt").write_text("small")
    with FlakyHub({"acme/many": folder}, pace=20_000) as hub:
        yield hub


def test_a_client_with_all_downloads_makes_room_and_small_files_have_their_own_slots(
    many: FlakyHub, tmp_path: Path
) -> None:
    # Downloads outlive the mirror: here they are given up as soon as the hub is gone.
    room = Room(tmp_path / "library", many.url, patience=RetryPolicy(attempts=1, lasting_s=0.5)).open()
    try:
        left: list[http.client.HTTPConnection] = []
        last = f"{fetches.MOST_FETCHES}.bin"

        def ask_and_leave(number: int) -> None:
            host, port = room.url.rpartition("/")[2].split(":")
            connection = http.client.HTTPSConnection(
                host, int(port), timeout=30, source_address=("127.0.0.2", 0), context=trust()
            )
            connection.request("GET", f"/acme/many/resolve/main/{number}.bin")
            left.append(connection)

        def ask_for_it() -> None:
            # Its connection is cut when the mirror stops.
            with suppress(OSError, http.client.HTTPException):
                room.ask(f"/acme/many/resolve/main/{last}")

        reader = threading.Thread(target=ask_for_it)
        for number in range(fetches.MOST_FETCHES):
            ask_and_leave(number)
        deadline = time.monotonic() + 30
        while len(room.under_way()) < fetches.MOST_FETCHES:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert room.ask("/acme/many/resolve/main/small.txt").body == b"small"
        reader.start()
        deadline = time.monotonic() + 20
        while last not in [str(one["path"]) for one in room.under_way()]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        ask_and_leave(fetches.MOST_FETCHES + 1)  # the client that has most waits for one of its own downloads
        assert left[-1].getresponse().status == 503
        for connection in left:
            connection.close()
        room.server.stop(0.2)
        reader.join()
    finally:
        room.server.stop(0.2)


def test_a_file_that_is_repeatedly_wrong_is_refused_for_a_while(hub: FlakyHub, tmp_path: Path) -> None:
    weights = "/acme/tiny/resolve/main/model.safetensors"
    room = Room(tmp_path / "library", hub.url).open()
    try:
        hub.fails(r"model\.safetensors$", flips_a_byte_at(5_000_000))
        for _ in range(2):
            told = room.ask(weights)
            assert not told.whole or told.status == 502
            while room.under_way():
                time.sleep(0.01)
        sent = hub.sent(r"model\.safetensors$")
        assert room.ask(weights).status == 502
        assert hub.sent(r"model\.safetensors$") <= sent + 1
    finally:
        room.server.stop(0.2)


def test_a_file_with_wrong_bytes_is_not_resumed_even_after_a_restart(
    hub: FlakyHub, model: Path, tmp_path: Path
) -> None:
    weights, body = "/acme/tiny/resolve/main/model.safetensors", (model / "model.safetensors").read_bytes()
    rooms = [Room(tmp_path / "library", hub.url).open()]
    try:
        hub.fails(r"model\.safetensors$", flips_a_byte_at(5_000_000))
        assert not rooms[0].ask(weights).whole or rooms[0].ask(weights).status == 502
        while rooms[0].under_way():
            time.sleep(0.01)
        hub.recovers()
        rooms.append(Room(tmp_path / "library", hub.url).open())
        rooms[1].ask(weights)
        rooms.append(Room(tmp_path / "library").open())
        for room in rooms[1:]:
            resumed = room.ask(weights, range="bytes=8000000-")
            assert (resumed.status, resumed.body) == (200, body)
            part = room.ask(weights, range="bytes=10-19")
            assert (part.status, part.body) == (206, body[10:20])
    finally:
        for room in rooms:
            room.server.stop(0.2)


def test_an_interrupted_file_is_resumed(hub: FlakyHub, model: Path, tmp_path: Path) -> None:
    weights, body = "/acme/tiny/resolve/main/model.safetensors", (model / "model.safetensors").read_bytes()
    room = Room(tmp_path / "library", hub.url).open()
    try:
        hub.fails(r"model\.safetensors$", hangs_up_after(400_000), times=2)
        assert room.ask(weights).body == body
        resumed = room.ask(weights, range="bytes=8000000-")
        assert (resumed.status, resumed.body) == (206, body[8_000_000:])
    finally:
        room.server.stop(0.2)


# ---- names


@pytest.mark.parametrize(
    ("host", "foreign"),
    [
        ("127.0.0.1:8000", False), ("[::1]:8000", False), ("localhost:8000", False), ("x", False), ("", False),
        ("host.docker.internal:8000", False), ("nas.local", False), ("10.0.0.1", False), ("mirror.example.com", False),
        ("evil.example.org:8000", True), ("127.0.0.1.evil.org", True), ("localhost.evil.org.", True),
    ],
)  # fmt: skip
def test_a_mirror_on_loopback_rejects_public_host_names(host: str, foreign: bool) -> None:
    assert is_foreign(host, ("Mirror.example.com",)) is foreign


@pytest.mark.parametrize(
    ("address", "loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("", False)]
)
def test_loopback_addresses_are_recognized(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


def test_a_page_that_rebinds_its_name_reads_nothing(tmp_path: Path) -> None:
    Library(tmp_path / "library").prepare(0)
    room = Room(tmp_path / "library").open()
    try:
        for target in ("/", "/status.json", "/acme/tiny/resolve/main/config.json"):
            assert room.ask(target, host="evil.example.org").status == 421
        assert room.ask("/status.json", host="localhost:1").status == 200
    finally:
        room.server.stop(0.2)


def arrivals(clients: list[str]) -> list[Arrival]:
    ref = Ref.parse("hf:acme/many")
    return [
        Arrival(ref, File(str(at), 9, sha256(f"{at:064x}")), Path("nowhere"), client=client)
        for at, client in enumerate(clients)
    ]


def test_a_download_without_readers_stops_before_one_with_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving_blob, "LONELY_S", 0.0)
    lonely = arrivals(["b"])
    assert arriving_blob.dispensable(lonely, "b") is lonely[0]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=32), st.sampled_from("abc"))
def test_only_a_client_with_more_than_its_share_loses_a_download(clients: list[str], newcomer: str) -> None:
    going = arriving_blob.dispensable(arrivals(clients), newcomer)
    most = max(map(clients.count, clients))
    assert (going is None) == (most <= clients.count(newcomer) + 1)
    if going is not None:
        assert clients.count(going.client) == most
