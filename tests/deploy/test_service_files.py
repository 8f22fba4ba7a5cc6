"""Unit files and compose files, and the values that they must preserve."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from preheat.core.errors import UsageError
from preheat.deploy.compose import compose
from preheat.deploy.service import Service
from preheat.deploy.systemd import unit

NASTY = ("sh", "-c", "echo \"$HOME\" 100% \\ 'it's' ;#&| é\t.", "", "{port}", "a b")


USUAL = Service(
    name="web-ui",
    command=("/bin/sh", *NASTY[1:]),
    check=("python3", "/x/guard.pyz", "--check", "127.0.0.1:7861"),
    folder=Path("/srv/web ui"),
    env={"TOKEN": 'a "b" $c 5%', "EMPTY": ""},
    folders=(Path("/srv/web ui"), Path("/data/library")),
    ports=(7860,),
)


def test_systemd_analyze_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    for renews in (False, True):
        path = tmp_path / "web-ui.service"
        path.write_text(unit(replace(USUAL, renews=renews, folder=tmp_path)))
        done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
        if "Failed to" in done.stderr and "bus" in done.stderr:
            pytest.skip(done.stderr)
        assert (done.returncode, done.stderr) == (0, "")


def test_systemd_waits_a_minute_longer_than_the_guard_and_leaves_restarts_to_it() -> None:
    text = unit(replace(USUAL, ready_within_s=1200.0, stop_within_s=20.0))
    for line in ("Type=notify", "TimeoutStartSec=1260", "TimeoutStopSec=25", "OOMPolicy=continue"):
        assert f"\n{line}\n" in text
    assert "ExecReload" not in text
    assert "\nExecReload=kill -HUP $MAINPID\n" in unit(replace(USUAL, renews=True))


def test_arguments_in_a_unit_keep_their_meaning() -> None:
    line = next(line for line in unit(USUAL).splitlines() if line.startswith("ExecStart="))
    assert '"echo \\"$$HOME\\" 100%% \\\\ \'it\'s\' ;#&| é\\t."' in line
    assert line.endswith(' "" {port} "a b"')


def test_values_that_a_unit_file_cannot_contain_are_rejected() -> None:
    with pytest.raises(UsageError, match="cannot be written in a unit file"):
        unit(replace(USUAL, command=("/bin/sh", "-c", "one\ntwo")))


def test_a_compose_file_quotes_every_word_as_json_and_doubles_dollar_signs() -> None:
    lines = compose(USUAL, "python:3.11-slim").splitlines()
    at = lines.index("    entrypoint:") + 1
    words = [json.loads(line.strip()[2:]) for line in lines[at : at + len(NASTY)]]
    assert words == [word.replace("$", "$$") for word in ("/bin/sh", *NASTY[1:])]
    assert '      - "7860:7860"' in lines
    assert "      start_period: 600s" in lines
    assert '      - "/data/library:/data/library"' in lines


def test_a_compose_file_without_ports_or_folders_has_no_empty_lists() -> None:
    text = compose(replace(USUAL, ports=(), folders=(), env={}), "x")
    assert not any(word in text for word in ("ports:", "volumes:", "environment:"))
