"""Pull while the hub restarts or the connection is lost: it waits with a countdown, and resumes."""

import os
import pty
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat, Running
from tests.flaky_hub import FlakyHub
from tests.line import Line
from tests.stories.kept import blobs

PACE = 3_000_000
SIZE = 12_000_000


@pytest.fixture
def line(model: Path) -> Iterator[Line]:
    """A relay to a hub with the model, slow enough to be cut in the middle."""
    with FlakyHub({"acme/tiny": model}, pace=PACE) as hub, Line(hub.url) as line:
        yield line


def pulling(preheat: Preheat, line: Line, *words: str) -> Running:
    """Start a pull; return when a quarter has arrived."""
    running = preheat.start("pull", "acme/tiny", "--json", "--connections", "2", "--endpoint", f"hf={line.url}", *words)
    running.until(lambda _: line.sent > SIZE / 4)
    return running


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["refused", "silent"])
def test_a_lost_connection_that_returns_is_waited_for(preheat: Preheat, line: Line, model: Path, gone: str) -> None:
    running = pulling(preheat, line)
    line.cut() if gone == "refused" else line.freeze()
    first = running.event("away")
    running.until(lambda told: told.out.count('{"event":"away"') > 2)
    line.restore() if gone == "refused" else line.thaw()
    told = running.ended()
    assert told.status == 0, told.out
    assert (model / "model.safetensors").read_bytes() in blobs(preheat.library).values()
    left = [event["left_s"] for event in told.events if event["event"] == "away"]
    assert left == sorted(left, reverse=True)
    assert 0 < left[-1] < first["left_s"] <= 300
    assert line.url in first["reason"]
    assert line.sent < 1.1 * SIZE


def test_a_lost_connection_that_stays_away_is_given_up_and_the_next_pull_resumes(
    preheat: Preheat, line: Line, model: Path
) -> None:
    running = pulling(preheat, line, "--patience", "2s")
    line.cut()
    told = running.ended()
    assert told.status == 3
    assert "gave up after 2 s" in told.last["message"]
    assert "--patience" in told.last["hint"]
    line.restore()
    assert preheat("pull", "acme/tiny", "--endpoint", f"hf={line.url}").status == 0
    assert (model / "model.safetensors").read_bytes() in blobs(preheat.library).values()
    assert line.sent < 1.1 * SIZE


@pytest.mark.slow
def test_an_unreachable_hub_is_tried_with_one_connection(preheat: Preheat, line: Line) -> None:
    words = ("--json", "--connect-timeout", "1s", "--endpoint", f"hf={line.url}")
    running = preheat.start("pull", "acme/tiny", *words)
    running.until(lambda _: line.sent > SIZE / 4)
    line.freeze()
    line.hang_up()
    # Each interrupted connection retries once, without a response.
    running.until(lambda told: told.out.count('{"event":"away"') > 2)
    before = line.opened
    running.until(lambda told: told.out.count('{"event":"away"') > 5)
    assert line.opened - before <= 4
    line.thaw()
    assert running.ended().status == 0


def test_the_next_model_of_a_command_is_waited_for_too(preheat: Preheat, line: Line, model: Path) -> None:
    """The hub fails between two models, after it has responded for the first one."""
    with FlakyHub({"acme/one": model, "acme/two": model}) as hub, Line(hub.url) as both:
        gone = threading.Event()

        def goes(request: object, full: object) -> object:
            gone.set()
            return full

        hub.fails("acme/two", goes)  # type: ignore[arg-type]
        assert line.url != both.url
        running = preheat.start("pull", "acme/one", "acme/two", "--json", "--endpoint", f"hf={both.url}")
        running.event("resolved")
        both.cut()
        running.event("away")
        both.restore()
        told = running.ended()
        assert told.status == 0, told.out


def test_a_terminal_shows_a_countdown(preheat: Preheat, line: Line) -> None:
    ours, theirs = pty.openpty()
    words = ["pull", "acme/tiny", "--library", str(preheat.library), "--connections", "2"]
    command = [str(preheat.command), *words, "--endpoint", f"hf={line.url}", "--patience", "4s"]
    env = preheat.env | {"TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = bytearray()

        def read() -> None:
            try:
                while piece := os.read(ours, 65536):
                    said.extend(piece)
            except OSError:
                pass  # the other end is closed

        reader = threading.Thread(target=read)
        reader.start()
        while line.sent < SIZE / 4:
            time.sleep(0.01)
        line.cut()
        assert process.wait(60) == 3
        reader.join()
    os.close(ours)
    counted = [int(seconds) for seconds in re.findall(rb"giving up in (\d+) s", said)]
    assert len(set(counted)) > 1
    assert counted == sorted(counted, reverse=True)


# ---- a hub that never was there --------------------------------------------------------------------------------------


def test_a_hub_that_never_responded_is_not_waited_for(preheat: Preheat) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{nobody.getsockname()[1]}"
        told = preheat("pull", "acme/tiny", "--json", "--endpoint", f"hf={url}")
    assert told.status == 3
    assert "does not answer" in told.last["message"]
    assert not [event for event in told.events if event["event"] == "away"]


def test_a_name_without_an_address_is_reported(preheat: Preheat) -> None:
    told = preheat("pull", "acme/tiny", "--json", "--endpoint", "hf=https://nobody.invalid")
    assert told.status == 3
    assert "name was not found" in told.last["message"]
    assert "online" in told.last["hint"]
