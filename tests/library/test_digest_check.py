"""Digest check: the files of a lock are found in the library with one look at each."""

from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.core.errors import NotPreloaded
from preheat.core.snapshot import File
from preheat.core.values.replace import replace
from preheat.library.digest_check import require_known
from preheat.library.library import Library
from tests.growth.counting import operations
from tests.library.shelves import shelve


def test_each_blob_of_a_lock_is_looked_at_once(tmp_path: Path) -> None:
    library = Library(tmp_path)
    snapshot = shelve(library, "hf:acme/many", {f"part-{number}": b"%d" % number for number in range(20)})
    with operations(tmp_path / "blobs") as count:
        assert require_known(library, snapshot, "") is snapshot
    assert dict(count) == {"stats": 20}


def test_a_file_that_the_library_lacks_is_named(tmp_path: Path) -> None:
    library = Library(tmp_path)
    snapshot = shelve(library, "hf:acme/some", {"one": b"1"})
    more = replace(snapshot, files=(*snapshot.files, File("two", 1, sha256("0" * 64))))
    with pytest.raises(NotPreloaded, match="missing two") as caught:
        require_known(library, more, "preheat pull acme/some")
    assert caught.value.hint == "preheat pull acme/some"
    known_gap = replace(snapshot, unlisted=("three",))
    with pytest.raises(NotPreloaded, match="missing three"):
        require_known(library, known_gap, "preheat pull acme/some")
