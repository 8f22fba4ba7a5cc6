"""Missing scripts: what a command would run, and whether it exists."""

from pathlib import Path

import pytest

from preheat.recipes.app_python import missing_script


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("python app.py", ""),
        ("python gone.py --port 1", "gone.py"),
        ("/opt/venv/bin/python3.12 -u -X utf8 -W ignore gone.py", "gone.py"),
        ("python -Xutf8 -bb gone.py", "gone.py"),
        ("python -m gone", ""),
        ("python -um gone", ""),
        ("python -c gone", ""),
        ("python -", ""),
        ("python", ""),
        ("bash gone.sh", "gone.sh"),
        ("bash app.py", ""),
        ("sh -c gone", ""),
        ("sh ls", ""),
        ("uv run gone.py", ""),
        ("./gone", ""),
        ("", ""),
    ],
)
def test_a_script_that_does_not_exist_is_named(tmp_path: Path, command: str, missing: str) -> None:
    (tmp_path / "app.py").touch()
    assert missing_script({"PATH": "/usr/bin:/bin"}, tmp_path, command.split()) == missing
