"""A mirror and a pull or stage that fill one library: the pull must not wait for a mirror that waits for it."""

from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import WEIGHTS, FlakyHub
from tests.mirroring import mirroring
from tests.stories.staging import RECIPE, size, staged
from tests.stories.two_machines import locked

SAID = "it needs a library of its own"


@pytest.fixture
def app(preheat: Preheat) -> Preheat:
    """A shared library that has a locked app."""
    return locked(preheat, RECIPE)


@pytest.fixture
def own(app: Preheat, hub: FlakyHub) -> str:
    """The URL of a mirror whose library is the folder `nvme`."""
    _, url = mirroring(app, "--library", "nvme", "--upstream", f"hf={hub.url}", tls=False)
    hub.recovers()
    return url


@pytest.mark.slow
def test_a_stage_with_the_folder_of_its_own_mirror_goes_on_elsewhere(
    app: Preheat, own: str, hub: FlakyHub, model: Path
) -> None:
    told = staged(app, "--mirror", own)
    assert (told.status, told.last.get("fetched")) == (0, size(model)), told.out + told.err
    assert app("verify", "--library", "nvme").status == 0
    assert hub.sent(WEIGHTS) <= 1  # the shared library had them; the mirror asks whether the file is public


@pytest.mark.slow
def test_a_pull_with_the_library_of_its_own_mirror_says_so(app: Preheat, own: str) -> None:
    told = app("pull", "acme/tiny", "--library", "nvme", "--endpoint", f"hf={own}", "--json", inside=())
    assert (told.status, SAID in told.last["message"]) == (3, True), told.out + told.err
    # The mirror itself still brings the file.
    told = app("pull", "acme/tiny", "--library", "elsewhere", "--endpoint", f"hf={own}", "--json", inside=())
    assert told.status == 0, told.out + told.err
