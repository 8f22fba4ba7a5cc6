"""Each promise of SECURITY.md, and each bound of docs/limits.md, names a test that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("document", ["SECURITY.md", "docs/limits.md"])
def test_every_row_names_tests_that_exist(document: str) -> None:
    rows = re.findall(r"^\|(?!-)(.*)\|$", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE)
    tables = [row for row in rows if row.count("|") == 3 and not row.strip().endswith("| test")]
    assert len(tables) > 15
    for row in tables:
        named = re.findall(r"`(tests/[^`]+)`", row.rpartition("|")[2])
        assert named, row
        for path in named:
            assert (ROOT / path).is_file(), path
            assert re.search(r"^def test_", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), path
