"""A shelf finds folders by their repository names, in their current state."""

from pathlib import Path

import pytest

from preheat.core.errors import NotFound, UsageError
from preheat.core.ref import Ref
from preheat.mirror.api.folders import Shelf


def test_finds_a_folder_by_branch_and_by_the_commit_of_its_content(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    shelf = Shelf({"acme/tiny": tmp_path, "datasets/acme/rows": tmp_path})
    ref = Ref.parse("acme/tiny")
    found = shelf.find(ref)
    assert found is not None
    (file,) = found.snapshot.files
    assert found.snapshot.ref == ref
    assert found.locate(file) == tmp_path / "config.json"
    by_commit = shelf.find(ref.at(found.snapshot.commit))
    assert by_commit is not None
    assert by_commit.snapshot.files == found.snapshot.files
    assert shelf.find(Ref.parse("hf:datasets/acme/rows")) is not None
    assert shelf.find(ref.at("v9")) is None
    assert shelf.find(Ref.parse("acme/none")) is None


def test_a_changed_folder_has_another_commit(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    shelf = Shelf({"acme/tiny": tmp_path})
    before = shelf.find(Ref.parse("acme/tiny"))
    (tmp_path / "b").write_text("two")
    after = shelf.find(Ref.parse("acme/tiny"))
    assert before is not None
    assert after is not None
    assert shelf.find(Ref.parse("acme/tiny").at(before.snapshot.commit)) is None
    assert [file.path for file in after.snapshot.files] == ["a", "b"]


def test_a_shelf_accepts_repository_names_and_reports_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Shelf({"not a name": tmp_path})
    with pytest.raises(NotFound):
        Shelf({"acme/tiny": tmp_path / "none"}).find(Ref.parse("acme/tiny"))
