"""Mirror, end to end: the library of one machine is the hub of another."""

import contextlib
import http.client
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.mirror.rooms import ask
from tests.mirroring import mirroring
from tests.stories.kept import contents


@pytest.fixture
def other(preheat: Preheat) -> Iterator[Preheat]:
    """Another machine: its own folder and library, and no hub."""
    folder = preheat.folder / "other"
    folder.mkdir()
    other = Preheat(folder, "http://127.0.0.1:1")
    yield other
    other.close()


def test_from_library_to_mirror_to_library_all_bytes_are_the_same(
    preheat: Preheat, other: Preheat, model: Path
) -> None:
    assert preheat("pull", "acme/tiny", "hf:datasets/acme/rows").status == 0
    mirror, url = mirroring(preheat)
    told = other("pull", "acme/tiny", "hf:datasets/acme/rows", "--view", "hf-cache=cache", HF_ENDPOINT=url)
    assert told.status == 0, told.err
    for room in ("blobs", "records"):
        assert contents(other.library / room) == contents(preheat.library / room)
    (snapshot,) = (other.folder / "cache/models--acme--tiny/snapshots").iterdir()
    assert contents(snapshot) == contents(model)
    told = mirror.kill(signal.SIGTERM)
    assert told.status == 0
    assert told.last == {"event": "done", "url": url}
    assert told.err == ""


def test_a_commit_is_served_by_its_name(preheat: Preheat, other: Preheat) -> None:
    commit = preheat("pull", "acme/tiny", "--json").last["snapshots"][0]["commit"]
    _, url = mirroring(preheat)
    assert other("pull", f"acme/tiny@{commit}", "--json", HF_ENDPOINT=url).last["size"] > 12_000_000
    told = other("pull", "acme/tiny@v9", HF_ENDPOINT=url)
    assert told.status == 3
    assert "no such revision" in told.err


def test_a_model_pulled_while_the_mirror_runs_is_served_at_once(
    preheat: Preheat, other: Preheat, hub: FlakyHub
) -> None:
    _, url = mirroring(preheat)
    assert other("pull", "acme/tiny", "--files", "*.json", HF_ENDPOINT=url).status == 3
    assert preheat("pull", "acme/tiny", "--files", "*.json").status == 0
    told = other("pull", "acme/tiny", "--files", "*.json", HF_ENDPOINT=url)
    assert told.status == 0, told.err


def test_a_folder_is_served_as_a_repository(preheat: Preheat, other: Preheat, model: Path) -> None:
    mirror, url = mirroring(preheat, "--folder", f"me/voice={model}", "--folder", f"datasets/me/rows={model}/voices")
    assert other("pull", "me/voice", "hf:datasets/me/rows", HF_ENDPOINT=url).status == 0
    mirror.until(lambda mirror: '"event":"answered"' in mirror.out)
    answered = mirror.event("answered")
    assert (answered["method"], answered["status"]) == ("GET", 200)
    assert mirror.kill(signal.SIGINT).status == 0


def test_an_empty_mirror_serves_nothing(preheat: Preheat, other: Preheat) -> None:
    _, url = mirroring(preheat)
    told = other("pull", "acme/tiny", HF_ENDPOINT=url)
    assert told.status == 3
    assert "no such repository" in told.err


def test_the_pace_limits_the_rate_and_is_described_as_a_test_aid(
    preheat: Preheat, other: Preheat, tmp_path: Path
) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow/weights.bin").write_bytes(os.urandom(1_000_000))
    _, url = mirroring(preheat, "--folder", f"me/slow={tmp_path}/slow", "--pace", "1M")
    began = time.monotonic()
    assert other("pull", "me/slow", HF_ENDPOINT=url).status == 0
    assert time.monotonic() - began > 0.5
    assert "for tests" in preheat("mirror", "--help").out


def test_a_taken_port_is_reported(preheat: Preheat) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        told = preheat("mirror", "--listen", f"127.0.0.1:{port}")
    assert told.status == 1
    assert f"port {port} of 127.0.0.1 is already in use" in told.err
    assert "hint:" in told.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--listen", "somewhere"], "is not an address"),
        (["--listen", "127.0.0.1:99999"], "is not an address"),
        (["--listen", "192.0.2.1:0"], "cannot listen on"),
        (["--folder", "voice"], "is not a repository and an existing folder"),
        (["--folder", "me/voice=nowhere"], "is not a repository and an existing folder"),
        (["--folder", "me voice=."], "is not a model's name"),
        (["--pace", "fast"], "is not a size"),
        (["--pace", "0"], "pace"),
        (["--upstream", "hf"], "is not a valid upstream"),
        (["--upstream", "hub=http://a"], "is not a valid upstream"),
        (["--upstream", "hf=ftp://a"], "is not a valid upstream"),
        (["--upstream", "hf=http://"], "is not a valid upstream"),
    ],
)
def test_invalid_options_are_reported(preheat: Preheat, words: list[str], said: str) -> None:
    listen = [] if "--listen" in words else ["--listen", "127.0.0.1:0"]
    told = preheat("mirror", *listen, *words)
    assert told.status in (1, 2)
    assert said in told.err
    assert "hint:" in told.err
    assert "Traceback" not in told.err


def test_a_missing_file_is_downloaded_once_for_all_clients(
    preheat: Preheat, other: Preheat, hub: FlakyHub, model: Path
) -> None:
    _, url = mirroring(preheat, "--upstream", f"hf={hub.url}")
    told = other("pull", "acme/tiny", "hf:datasets/acme/rows", "--view", "hf-cache=cache", HF_ENDPOINT=url)
    assert told.status == 0, told.err
    (snapshot,) = (other.folder / "cache/models--acme--tiny/snapshots").iterdir()
    assert contents(snapshot) == contents(model)
    # All but the empty file, which needs no request.
    assert contents(preheat.library / "blobs").items() <= contents(other.library / "blobs").items()
    # Two files are equal, and the dataset has the same files as the model.
    assert hub.sent("/resolve/") < 1.5 * 12_000_000
    hub.__exit__()
    third = Preheat(other.folder / "cache", "http://127.0.0.1:1")
    told = third("pull", "acme/tiny", HF_ENDPOINT=url)
    assert told.status == 0, told.err


def test_a_read_only_mirror_downloads_nothing(preheat: Preheat, other: Preheat, hub: FlakyHub) -> None:
    _, url = mirroring(preheat, "--upstream", f"hf={hub.url}", "--read-only")
    assert other("pull", "acme/tiny", HF_ENDPOINT=url).status == 3
    assert hub.asked() == []


def test_a_mirror_can_be_the_upstream_of_another(preheat: Preheat, other: Preheat, hub: FlakyHub, model: Path) -> None:
    _, first = mirroring(preheat, "--upstream", f"hf={hub.url}")
    _, second = mirroring(preheat, "--upstream", f"hf={first}", "--library", str(preheat.folder / "second"))
    told = other("pull", "acme/tiny", "--endpoint", f"hf={second}", "--endpoint", f"hf={first}", "--view", "flat=here")
    assert told.status == 0, told.err
    assert contents(other.folder / "here") == contents(model)
    assert hub.sent("/resolve/") < 1.5 * 12_000_000


@pytest.mark.slow
def test_a_killed_mirror_resumes_its_downloads(preheat: Preheat, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large/weights.bin").write_bytes(os.urandom(20_000_000))
    with FlakyHub({"acme/large": tmp_path / "large"}, pace=300_000) as hub:
        mirror, url = mirroring(preheat, "--upstream", f"hf={hub.url}")
        client = threading.Thread(target=ask_anyway, args=(url, "/acme/large/resolve/main/weights.bin"))
        client.start()
        mirror.until(lambda _: hub.asked("/resolve/") and arrived(preheat) > 6_000_000)
        mirror.kill()
        client.join()
        _, url = mirroring(preheat, "--upstream", f"hf={hub.url}")
        told = ask(url, "/acme/large/resolve/main/weights.bin")
        assert told.body == (tmp_path / "large/weights.bin").read_bytes()
        assert hub.sent("/resolve/") < 1.5 * 20_000_000


def test_two_mirrors_of_one_library_download_a_file_once(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    urls = [mirroring(preheat, "--upstream", f"hf={hub.url}")[1] for _ in range(2)]
    with ThreadPoolExecutor(4) as clients:
        told = list(clients.map(lambda url: ask(url, "/acme/tiny/resolve/main/model.safetensors"), urls * 2))
    assert [one.body == (model / "model.safetensors").read_bytes() for one in told] == [True] * 4
    assert hub.sent("/resolve/") < 1.5 * 9_000_000


def arrived(preheat: Preheat) -> int:
    """Return the bytes of the partials in a library on disk."""
    return sum(path.stat().st_blocks * 512 for path in preheat.library.glob("partial/*.part"))


def ask_anyway(url: str, target: str) -> None:
    """Send a request to a mirror that may be killed meanwhile."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        ask(url, target)
