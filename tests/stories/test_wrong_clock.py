"""A clock that is years off, as on a machine whose battery is empty."""

import json
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.faults.preloaded import wrong_clock
from tests.guard.apps import free_port
from tests.stories.test_run import PAGE, PYTHON, failed


@pytest.mark.parametrize(("years", "why"), [(-20, "not yet valid"), (20, "has expired")])
def test_a_certificate_that_a_wrong_clock_makes_invalid_is_the_clocks_fault(
    preheat: Preheat, years: int, why: str
) -> None:
    told = preheat("pull", "acme/tiny", inside=(), **wrong_clock(years))
    failed(told, 3, "not valid at the time of this machine", why, "check the machine's clock")
    assert "SSL_CERT_FILE" not in told.err
    assert "Warning" not in told.err
    assert preheat("pull", "acme/tiny").status == 0


@pytest.mark.slow
@pytest.mark.parametrize("years", [-20, 20])
def test_what_was_pulled_runs_and_is_verified_at_any_time(preheat: Preheat, years: int) -> None:
    port = free_port()
    (preheat.folder / "page.py").write_text(PAGE)
    words = json.dumps([*PYTHON, "{dir}/page.py", str(port)])
    (preheat.folder / "preheat.toml").write_text(
        f'[app]\nname = "talk"\ncommand = {words}\nready = "http://127.0.0.1:{port}/"\n'
        '[[needs]]\nref = "acme/tiny"\nview = "flat"\nat = "weights"\n'
    )
    assert preheat("lock").status == 0
    assert preheat("pull").status == 0
    for told in (
        preheat("pull", "--locked", inside=(), **wrong_clock(years)),
        preheat("verify", inside=(), **wrong_clock(years)),
        preheat("verify"),
    ):
        assert told.status == 0, told.err
    assert preheat("prune", inside=(), **wrong_clock(years)).status == 0
    for env in (wrong_clock(years), {}):
        running = preheat.start("run", "--json", "--ready-within", "30s", inside=(), **env)
        running.until(lambda running: '"life":"running"' in running.err)
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/").read() == b"hello"
        assert running.kill(signal.SIGINT).status == 130


def test_a_seal_from_the_future_is_no_recent_one(preheat: Preheat, model: Path) -> None:
    assert preheat("pull", f"file:{model}", inside=(), **wrong_clock(20)).status == 0
    told = preheat("verify", "--since", "1h", "--json")
    assert (told.status, told.last["skipped"]) == (0, 0), told.out
    again = preheat("verify", "--since", "1h", "--json")
    assert again.last["skipped"] > 0
