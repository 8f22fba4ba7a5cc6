"""A mirror under load: fifty clients cause one download, and thousands of requests leave no leftovers."""

import contextlib
import hashlib
import http.client
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.authority import connect
from tests.command import Preheat, Running
from tests.flaky_hub import FlakyHub, flips_a_byte_at, hangs_up_after, knows_no_ranges, refuses
from tests.mirror.rooms import ask
from tests.mirroring import mirroring

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LARGE = 500_000_000
LEAST_MEMORY = 200_000_000


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Path]:
    """A folder with one large incompressible file."""
    folder = tmp_path / "large"
    folder.mkdir()
    block = os.urandom(5_000_000)
    with open(folder / "weights.bin", "wb") as file:
        for number in range(LARGE // len(block)):
            file.write(number.to_bytes(8, "big") + block[8:])
    yield folder
    (folder / "weights.bin").unlink()


def peak(running: Running) -> int:
    """Return the peak memory of a process in bytes."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_fifty_clients_of_one_uncached_file_cause_one_download(preheat: Preheat, large: Path) -> None:
    with FlakyHub({"acme/large": large}) as hub:
        mirror, url = mirroring(preheat, "--upstream", f"hf={hub.url}")
        wanted = hashlib.sha256((large / "weights.bin").read_bytes()).hexdigest()
        starts = random.Random(1)
        waits = [0.0] + [starts.random() for _ in range(49)]

        def client(number: int) -> tuple[int, str]:
            time.sleep(waits[number])
            connection = connect(url, 120)
            connection.request("GET", "/acme/large/resolve/main/weights.bin")
            response = connection.getresponse()
            buffer, size = memoryview(bytearray(1 << 20)), 0
            naming = hashlib.sha256() if number < 3 else None
            while count := response.readinto(buffer):
                size += count
                if naming is not None:
                    naming.update(buffer[:count])
            connection.close()
            return size, naming.hexdigest() if naming is not None else wanted

        with ThreadPoolExecutor(50) as clients:
            told = list(clients.map(client, range(50)))
        assert set(told) == {(LARGE, wanted)}
        # A byte more, as the proof that upstream gives it to all; and on a busy machine what was under way on lines
        # that were taken over from. `make bench-mirror` says how much it is on an idle one.
        assert LARGE <= hub.sent("/resolve/") <= LARGE * 1.05
        assert peak(mirror) < LEAST_MEMORY
        assert mirror.err == ""


def test_thousands_of_requests_leave_nothing_behind(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    mirror, url = mirroring(preheat, "--upstream", f"hf={hub.url}", "--remember", "500ms")
    files = {path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()}
    ask(url, "/acme/tiny/resolve/main/note.txt")
    threads, files_open = _threads(mirror), _open_files(mirror)
    wrong: list[str] = []
    ended = threading.Event()

    def weather() -> None:
        """Give the hub one fault after another."""
        # Few wrong bytes at a time: a file that was wrong twice in a row is refused for a minute.
        faults = (
            (refuses(503), 30), (hangs_up_after(50_000), 30), (flips_a_byte_at(100_000), 3), (knows_no_ranges, 30),
            (refuses(404), 30),
        )  # fmt: skip
        for number in range(1_000_000):
            hub.recovers()
            if number % 2:
                fault, times = faults[number // 2 % len(faults)]
                hub.fails(r"/resolve/|blobs=true", fault, times=times)
            if ended.wait(0.5):
                hub.recovers()
                return

    def client(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(200):
            name = chance.choice(list(files))
            target = (
                f"/{chance.choice(['', 'datasets/'])}acme/{chance.choice(['tiny', 'rows'])}/resolve/main/{quote(name)}"
            )
            if chance.random() < 0.05:
                _leave_midway(url, target)
                continue
            if chance.random() < 0.05:
                for place in preheat.library.glob("blobs/*/*/*"):
                    if chance.random() < 0.3:
                        place.unlink(missing_ok=True)  # as an eviction does
            start = chance.randrange(len(files[name]) or 1)
            headers = {"range": f"bytes={start}-{start + chance.randrange(1_000_000)}"} if chance.random() < 0.5 else {}
            try:
                told = ask(url, target, chance.choice(["GET", "GET", "GET", "HEAD"]), **headers)
            except (OSError, http.client.HTTPException):
                continue  # interrupted before the response's head
            body = files[name]
            if told.status == 206 and told.body and "x-preheat-unverified" not in told.headers:
                right = body[start:].startswith(told.body)
            else:
                right = told.status != 200 or not told.body or not told.whole or told.body == body
            if not right:
                wrong.append(f"{target} {headers} {told.status} {len(told.body)}")

    storm = threading.Thread(target=weather)
    storm.start()
    with ThreadPoolExecutor(16) as clients:
        list(clients.map(client, range(16)))
    ended.set()
    storm.join()
    assert wrong == []
    assert "Traceback" not in mirror.err
    assert peak(mirror) < LEAST_MEMORY
    _settles(lambda: _threads(mirror) <= threads + 2)
    # A download of a small file leaves some until the garbage collector runs.
    _settles(lambda: _open_files(mirror) <= files_open + 20)
    # Connections to upstream stay open for the next fetch, up to a number.
    _settles(lambda: len(_open(mirror)) < files_open + 64 + 20)
    for name, body in files.items():
        _settles(lambda name=name, body=body: ask(url, f"/acme/tiny/resolve/main/{quote(name)}").body == body)  # type: ignore[misc]
    assert list(preheat.library.glob("partial/*.part")) == []


def _leave_midway(url: str, target: str) -> None:
    connection = connect(url)
    connection.request("GET", target)
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection.getresponse().read(1)
    connection.close()


def _threads(running: Running) -> int:
    return len(list(Path(f"/proc/{running.process.pid}/task").iterdir()))


def _open_files(running: Running) -> int:
    return len([link for link in _open(running) if link.startswith("/")])


def _open(running: Running) -> list[str]:
    links = []
    for entry in Path(f"/proc/{running.process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(entry.readlink()))
    return links


def _settles(happens: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.2)
