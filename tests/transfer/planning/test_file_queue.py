"""File queue: files that other processes download are tried again soon, and then less often."""

import pytest

from preheat.core.digest import sha256
from preheat.core.snapshot import File
from preheat.transfer.planning.file_queue import Queue
from tests.growth.counting import calls_of, grows_as_the_work

FILES = [File(f"f{number}", 1, sha256(f"{number:064x}")) for number in range(400)]


def anyone(_: File) -> bool:
    return True


def test_a_file_that_was_put_back_is_due_later_each_time() -> None:
    queue, now, waits = Queue(FILES[:1]), 0.0, []
    for _ in range(6):
        file = queue.pop(now, anyone)
        assert file is not None
        queue.put_back(file, now)
        assert queue.pop(now, anyone) is None
        assert not queue.has(now, anyone)
        assert len(queue) == 1
        waits.append(queue.wait_s(now))
        now += waits[-1] + 0.001
    assert waits == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.25, 0.25])


def test_a_file_that_no_route_can_serve_now_stays() -> None:
    queue = Queue(FILES[:2])
    for file in FILES[:2]:
        assert queue.pop(0, anyone) is file
        queue.put_back(file, 0)
    assert queue.pop(1, lambda file: file is FILES[1]) is FILES[1]
    assert list(queue) == FILES[:1]
    assert queue.pop(1, anyone) is FILES[0]


def test_trying_files_of_other_processes_again_grows_with_their_number() -> None:
    def cost(count: int) -> int:
        queue = Queue(FILES[:count])

        def work() -> None:
            for now in (0.0, 1.0):
                while (file := queue.pop(now, anyone)) is not None:
                    queue.put_back(file, now)

        return calls_of(work)

    assert grows_as_the_work(cost(40), cost(400), 10)
