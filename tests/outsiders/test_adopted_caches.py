"""Caches written by the real clients become part of the library without a byte from the hub."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.authority import authority
from tests.command import Preheat
from tests.flaky_hub import WEIGHTS, FlakyHub
from tests.outsiders.conftest import Outsider

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DOWNLOADS = "import huggingface_hub; huggingface_hub.snapshot_download('acme/tiny')"


@pytest.mark.parametrize("version", ["0.36.2", "1.33.0", "2.4.0"])
def test_models_downloaded_by_huggingface_hub_are_not_downloaded_again(
    version: str, tmp_path: Path, outsider: Outsider, preheat: Preheat, hub: FlakyHub
) -> None:
    home = tmp_path / "home"
    environ = {"PATH": os.environ["PATH"], "HF_HOME": str(home), "HF_ENDPOINT": hub.url} | authority().environ
    python = outsider(f"huggingface_hub=={version}")
    subprocess.run([python, "-c", DOWNLOADS], env=environ, check=True, capture_output=True, timeout=120)
    hub.recovers()
    told = preheat("adopt", str(home / "hub"), "--json")
    assert told.status == 0, told.out + told.err
    assert hub.asked() == []
    told = preheat("pull", "acme/tiny", "--json")
    assert told.status == 0, told.err
    assert told.last["fetched"] == 0
    assert hub.sent(WEIGHTS) == 0
