"""A small file through a mirror costs as many operations in a large repository as in a small one."""

import threading
from collections import Counter
from pathlib import Path
from types import FrameType

from tests.flaky_hub import FlakyHub
from tests.mirror.rooms import Room, ask

_ROUND = 20


def _cost(at: Path, count: int) -> Counter[str]:
    """Return the calls of a mirror that was restarted, and knows the commit, for some files that it lacks."""
    at.mkdir()
    for number in range(count):
        (at / f"part-{number:04}.txt").write_text(f"{number}\n")
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            calls[f"{frame.f_code.co_name}()"] += 1
        elif event == "c_call":
            calls[getattr(argument, "__name__", "")] += 1

    with FlakyHub({"acme/many": at}, tls=False) as hub:
        with Room(at.with_name(f"{at.name}-library"), hub.url).server as server:
            assert _get(server.url, 0) == "0\n"
        threading.setprofile(note)  # of the threads that start now
        room = Room(at.with_name(f"{at.name}-library"), hub.url)
        with room.server:
            assert _get(room.url, 1) == "1\n"
            before = calls.copy()
            for number in range(2, 2 + _ROUND):
                assert _get(room.url, number) == f"{number}\n"
            threading.setprofile(None)
    return calls - before


def _get(url: str, number: int) -> str:

    return ask(url, f"/acme/many/resolve/main/part-{number:04}.txt").body.decode()


def test_a_small_file_costs_as_much_in_a_large_repository(tmp_path: Path) -> None:
    few, many = (_cost(tmp_path / str(count), count) for count in (30, 300))
    for cost in (few, many):
        assert cost["fsync"] <= _ROUND * 1.5  # each file, and some folders
        assert cost["listdir"] + cost["scandir"] <= 3 * _ROUND
    for name in ("__eq__()", "__hash__()", "fsync", "open", "lstat", "stat"):
        assert many[name] <= few[name] * 1.5 + _ROUND, name
