"""The documents about options, errors and variables match the code."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from preheat.config import VARIABLES, read_config

ROOT = Path(__file__).resolve().parents[2]
# Lower-case names, and a variable that only marks a CGI program.
# docs/config.md describes the last two below its table.
UNSAID = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD", "XDG_DATA_HOME", "XDG_STATE_HOME"}


class Asked(Mapping[str, str]):
    """An empty environment that records which variables are read."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def get(self, name: str, default: object = None) -> str | None:  # type: ignore[override] # one of Mapping's forms
        self.names.add(name)
        assert default is None
        return None

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_the_generated_documents_are_up_to_date() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "docs/make.py"), "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert made.returncode == 0, made.stderr


def test_exactly_the_variables_that_are_read_are_documented() -> None:
    environment = Asked()
    read_config(environment)
    assert environment.names - UNSAID == set(VARIABLES)
