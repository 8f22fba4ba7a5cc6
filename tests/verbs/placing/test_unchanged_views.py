"""A large view that is in place is known by its folders; each change of it is seen, and mended."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.verbs.placing.allowed_places import Site
from preheat.verbs.placing.place import place_sites
from preheat.verbs.placing.unchanged_views import NAME, UnchangedViews
from preheat.views.links import COPY, HARDLINK, SYMLINK
from preheat.views.view_names import choose_view
from tests.growth.counting import operations
from tests.library.shelves import shelve

FILES = 80


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


@pytest.fixture
def snapshot(library: Library) -> Snapshot:
    files = {f"dir-{number % 4}/{number}.txt": b"%d" % number for number in range(FILES)}
    return shelve(library, "hf:acme/many", files)


def _site(snapshot: Snapshot, library: Library, way: str = SYMLINK, kind: str = "hf-cache") -> Site:
    return Site(snapshot, choose_view(kind, (way,)), library.views / "app" / kind)


def _settled(site: Site, library: Library) -> None:
    """Place a view, and let its note be clearly younger than its folders, as it is seconds later."""
    place_sites([site], library, lambda _event: None)
    later_ns = time.time_ns() + 10 * 10**9
    os.utime(site.at.parent / NAME, ns=(later_ns, later_ns))


@pytest.mark.parametrize("way", [SYMLINK, HARDLINK])
def test_an_unchanged_view_costs_one_look_for_each_folder(way: str, snapshot: Snapshot, library: Library) -> None:
    site = _site(snapshot, library, way)
    _settled(site, library)
    with operations(site.at) as count:
        place_sites([site], library, lambda _event: None)
    assert 0 < sum(count.values()) < FILES / 4


def test_a_note_as_old_as_the_folders_proves_nothing(snapshot: Snapshot, library: Library) -> None:
    site = _site(snapshot, library)
    place_sites([site], library, lambda _event: None)
    assert not UnchangedViews([site], library).are_in_place()


def _removed(link: Path) -> None:
    link.unlink()


def _led_elsewhere(link: Path) -> None:
    link.unlink()
    link.symlink_to("/nowhere")


def _replaced_folder(link: Path) -> None:
    link.parent.rename(link.parent.with_name("aside"))
    link.parent.mkdir()


def _other_branch(link: Path) -> None:
    (link.parents[3] / "refs/main").write_text("0" * 40)


@pytest.mark.parametrize("change", [_removed, _led_elsewhere, _replaced_folder, _other_branch])
def test_each_change_of_a_view_is_mended(change: Callable[[Path], None], snapshot: Snapshot, library: Library) -> None:
    site = _site(snapshot, library)
    _settled(site, library)
    link = next(site.at.rglob("snapshots/*/dir-1/1.txt"))
    change(link)
    assert not UnchangedViews([site], library).are_in_place()
    place_sites([site], library, lambda _event: None)
    assert link.read_bytes() == b"1"
    assert next(site.at.rglob("refs/main")).read_text() == snapshot.commit


def test_other_files_are_another_view(snapshot: Snapshot, library: Library) -> None:
    site = _site(snapshot, library)
    _settled(site, library)
    assert UnchangedViews([site], library).are_in_place()
    fewer = snapshot.only(["!dir-1/1.txt"])
    assert not UnchangedViews([_site(fewer, library)], library).are_in_place()
    assert not UnchangedViews([_site(snapshot, library, HARDLINK)], library).are_in_place()


def test_copies_may_change_in_place_and_are_looked_at_each_time(snapshot: Snapshot, library: Library) -> None:
    site = _site(snapshot, library, COPY, "flat")
    place_sites([site], library, lambda _event: None)
    assert not (site.at.parent / NAME).exists()
