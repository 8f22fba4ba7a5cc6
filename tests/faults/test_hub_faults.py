"""Every fault of a hub, for preheat alone: the files are right, or there is an error; never wrong bytes.

`make bench-faults` runs the same cases for all clients, and writes docs/faults.md.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks import faults, sides
from benchmarks.fault_cases import CASES
from benchmarks.hub.repo import Repo

AT_ONCE = 24
# By default, preheat waits longer for an unreachable hub: docs/cli.md.
WORDS = ("--patience", "20s", "--read-timeout", "10s")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return the outcome of every case; many run at a time, since most of them wait."""
    work = tmp_path_factory.mktemp("faults")
    repo = faults.tiny(work)
    return dict(zip((case.words for case in CASES), all_outcomes(repo, work), strict=True))


def all_outcomes(repo: Repo, work: Path) -> list[dict[str, Any]]:
    """Run the command against each fault."""
    ours = sides.preheat()
    hasty = replace(ours, command=lambda errand: [*ours.command(errand), *WORDS])
    # The slowest first, so that the last ones do not wait for each other.
    order = sorted(CASES, key=lambda case: case.right)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        met = {case.words: pool.submit(faults.meet, case, hasty, repo, work, loud=False, tls=True) for case in order}
        return [met[case.words].result() for case in CASES]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_fault_ends_and_none_leaves_a_wrong_file(outcomes: dict[str, dict[str, Any]]) -> None:
    assert not [words for words, came in outcomes.items() if came["gave_up_on"]]
    assert not [words for words, came in outcomes.items() if came["wrong"] or came.get("escaped")]
    assert not [words for words, came in outcomes.items() if came["status"] == 0 and not came["right"]]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_available_files_are_downloaded_despite_faults(outcomes: dict[str, dict[str, Any]]) -> None:
    failed = [case.words for case in CASES if case.right and not outcomes[case.words]["right"]]
    assert not failed
