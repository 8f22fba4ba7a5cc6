"""Installed: a copy from the wheel saves an app's memory and restores it, as root and without root."""

import subprocess

import pytest

from tests.command import Preheat
from tests.guard.memory_snapshot.frozen import needs_criu
from tests.stories.saved_page import SavedPage

pytestmark = [needs_criu, pytest.mark.slow, pytest.mark.timeout(300)]
AS_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000")


@pytest.mark.parametrize("inside", [(), AS_USER], ids=["root", "user"])
def test_an_installed_copy_restores_an_app_without_a_network(installed: Preheat, inside: tuple[str, ...]) -> None:
    if inside and subprocess.run([*inside, "unshare", "--user", "true"], check=False).returncode:
        pytest.skip("this system does not permit user namespaces in one another")
    page = SavedPage(installed)
    assert installed("pull", str(page.folder)).status == 0
    installed.env["HF_ENDPOINT"] = "https://127.0.0.1:9"  # no hub from here on
    with page.running("memory snapshot made", inside) as first:
        pass
    for _ in range(2):
        with page.running("restored from memory", inside) as again:
            assert again == first
