"""Hints: the command in a hint, typed in each kind of installation, makes the failed verb work."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.installed.copies import Copy, environment
from tests.stories.hinted import type_all, world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def own(own_copy: Copy, preheat: Preheat) -> Preheat:
    """The command of a copy that no other test uses."""
    preheat.command = own_copy.command
    return preheat


def typed(command: str, copy: Copy, folder: Path) -> None:
    """Type a command into a shell that finds the installer, but not the installation."""
    env = environment()
    env["PATH"] = f"{copy.installer.parent}:{env['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def scanned(told: Told) -> list[str]:
    assert told.status == 0, told.out + told.err
    return [event["said"] for event in told.events if event["event"] == "scanned" and event["level"] == "unscanned"]


def test_each_hint_that_installs_a_package_works(own: Preheat, own_copy: Copy, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    [unscanned] = scanned(own("pull", "acme/tiny", "--json"))
    assert unscanned.startswith("not scanned: picklescan is not installed: ")
    typed(unscanned.rpartition("installed: ")[2], own_copy, elsewhere)
    assert scanned(own("pull", "acme/tiny", "--json")) == []

    refused = own("mirror", "--listen", "127.0.0.1:0", "--tls-self-signed", "--json")
    assert refused.status == 2
    assert "cryptography is not installed" in refused.last["message"]
    typed(refused.last["hint"], own_copy, elsewhere)
    mirror = own.start("mirror", "--listen", "127.0.0.1:0", "--tls-self-signed", "--json")
    assert mirror.event("serving")["url"].startswith("https://")
    assert mirror.kill(signal.SIGTERM).status == 0
    assert scanned(own("pull", "acme/tiny", "--json")) == [], "what the first hint installed is still there"


def test_each_command_that_a_message_names_works_outside_a_clone(installed: Preheat, hub: FlakyHub) -> None:
    world(installed)
    assert type_all(installed, hub) == []
