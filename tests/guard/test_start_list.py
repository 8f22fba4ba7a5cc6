"""Start list: which files it yields, what a list from a stranger can do, and what a list is made of."""

import os
import time
from pathlib import Path

import pytest

from preheat.guard.warm_up.start_list import MOST_FILES, StartList, list_text
from preheat.guard.warm_up.warm_up import WarmUp
from preheat.guard.warm_up.warmed_file import FileRange
from tests.guard.test_warm_up import PLENTY, drop, is_in_memory


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An app's folder with a package, whose files are not in the page cache."""
    folder = tmp_path / "app"
    (folder / "lib" / "pack").mkdir(parents=True)
    for name in ("lib/pack/core.so", "lib/pack/data file.bin", "app.py"):
        (folder / name).write_bytes(os.urandom(1 << 20))
        drop(folder / name)
    return folder


def listed(text: str, **places: Path) -> list[FileRange]:
    """Return what is read for a list, whether or not samples of it are in the page cache."""
    files = [file for place in places.values() for file in place.rglob("*") if file.is_file() and not file.is_symlink()]
    for file in files:
        drop(file)
    return list(StartList(text, {name: str(folder) for name, folder in places.items()}).ranges())


def warmed(text: str, folder: Path, room: int = PLENTY) -> WarmUp:
    """Read a list ahead, whose `{dir}` is `folder`; it must come to an end."""
    warm = WarmUp(StartList(text, {"dir": str(folder)}).ranges(), lambda: room)
    assert warm.wait(60)
    return warm


def test_files_are_read_in_the_order_of_the_list_by_their_ranges(app: Path) -> None:
    found = listed("{dir}/lib/pack/core.so\t0-4096 8192-65536\n{dir}/lib/pack/data file.bin\n{dir}/app.py\n", dir=app)
    assert found == [
        FileRange(f"{app}/lib/pack/core.so", 0, 4096, follow=False),
        FileRange(f"{app}/lib/pack/core.so", 8192, 65536, follow=False),
        FileRange(f"{app}/lib/pack/data file.bin", follow=False),
        FileRange(f"{app}/app.py", follow=False),
    ]


def test_the_listed_files_are_in_the_page_cache_afterwards(app: Path) -> None:
    warm = warmed("{dir}/lib/pack/core.so\n{dir}/app.py\n", app)
    assert warm.read + warm.found == 2 << 20
    assert is_in_memory(app / "lib/pack/core.so")
    assert is_in_memory(app / "app.py")


def test_nothing_is_read_if_the_samples_are_in_the_page_cache(app: Path) -> None:
    text = "{dir}/lib/pack/core.so\n{dir}/app.py\n"
    for name in ("lib/pack/core.so", "app.py"):
        (app / name).read_bytes()
    warm = warmed(text, app)
    assert (warm.read, warm.found) == (0, 0)


def test_with_little_free_memory_nothing_is_read(app: Path) -> None:
    warm = warmed("{dir}/app.py\n", app, room=64 << 20)
    assert (warm.read, warm.why) == (0, "not enough free memory")


@pytest.mark.parametrize(
    "line",
    [
        "{dir}/../secret",
        "{dir}/lib/../../secret",
        "{dir}/./app.py",
        "{dir}//app.py",
        "{dir}/",
        "/etc/passwd",
        "etc/passwd",
        "{home}/secret",
        "{nowhere}/x",
        "{dir}/link",
        "{dir}/away/secret",
        "{dir}/pipe",
        "{dir}/lib",
        "{dir}/app.py/x",
        "{dir}/devices/zero",
        "{dir}/app.py\t",
        "{dir}/app.py\t9-9 8-2 x-1 99999999999999999999-999999999999999999999",
        "{dir}/" + "x/" * 2000 + "y",
        "{dir}/" + "n" * 300,
        "{dir}/app.py\0",
        "{dir}/\udcff",
    ],
)
def test_a_line_that_leads_anywhere_else_reads_nothing(app: Path, line: str) -> None:
    (app.parent / "secret").write_bytes(b"x" * 8192)
    drop(app.parent / "secret")
    (app / "link").symlink_to("../secret")
    (app / "away").symlink_to("..")
    (app / "devices").symlink_to("/dev")
    os.mkfifo(app / "pipe")
    warm = warmed(f"{line}\n{{dir}}/lib/pack/core.so\n", app)
    assert warm.read + warm.found == 1 << 20
    assert is_in_memory(app / "lib/pack/core.so")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_in_the_folder_is_not_opened(app: Path) -> None:
    os.mknod(app / "zero", 0o20666, os.makedev(1, 5))
    assert warmed("{dir}/zero\n", app).read == 0


def test_a_place_that_is_a_link_itself_is_followed(app: Path) -> None:
    (app.parent / "current").symlink_to(app)
    found = listed("{dir}/app.py\n", dir=app.parent / "current")
    assert found == [FileRange(f"{app}/app.py", follow=False)]


def test_ranges_beyond_the_end_of_a_file_read_up_to_it(app: Path) -> None:
    assert warmed(f"{{dir}}/app.py\t0-4096 {1 << 19}-{1 << 40}\n", app).read <= 1 << 20


def test_a_file_of_a_terabyte_is_read_until_memory_runs_short(app: Path) -> None:
    os.truncate(app / "app.py", 1 << 40)
    room = iter([PLENTY, PLENTY])
    warm = WarmUp(StartList("{dir}/app.py\n", {"dir": str(app)}).ranges(), lambda: next(room, 0))
    assert warm.wait(60)
    assert (warm.read <= 256 << 20, warm.why) == (True, "not enough free memory")


def test_a_list_of_a_million_files_is_cut_off(app: Path) -> None:
    began = time.process_time()
    text = "{dir}/lib/pack/core.so\t0-4096\n" * 1_000_000
    found = listed(text, dir=app)
    assert 0 < len(found) <= MOST_FILES
    assert time.process_time() - began < 30  # an hour, if the number of lines counted


def test_a_list_names_places_and_leaves_out_what_is_in_none(app: Path) -> None:
    files = {
        f"{app}/lib/pack/core.so": [(0, 4096), (8192, 12288)],
        "/etc/passwd": [],
        f"{app}/app.py": [],
        f"{app}/with\nnewline": [],
        f"{app}/with\ttab": [],
        f"{app}/with'''quotes": [],
        f"{app}/\udcff": [],
        f"{app}/中文 name": [],
    }
    text = list_text(files, {"dir": str(app), "site-packages": f"{app}/lib"})
    assert text == "{site-packages}/pack/core.so\t0-4096 8192-12288\n{dir}/app.py\n{dir}/中文 name\n"
