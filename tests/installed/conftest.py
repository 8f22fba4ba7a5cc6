"""Shared by the tests of installed copies: a wheel, a copy by each installer, and the command from there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.installed.copies import KINDS, Copy, build, install


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel: those that PREHEAT_DISTRIBUTIONS names, or new ones."""
    made = os.environ.get("PREHEAT_DISTRIBUTIONS")
    if made:
        [sdist], [wheel] = Path(made).glob("*.tar.gz"), Path(made).glob("*.whl")
        return sdist, wheel
    return build(tmp_path_factory.mktemp("distributions"))


@pytest.fixture(scope="session", params=KINDS)
def copy(
    request: pytest.FixtureRequest, distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Copy:
    """An installed copy that tests do not change."""
    return install(request.param, distributions[1], tmp_path_factory.mktemp("copy"))


@pytest.fixture(params=KINDS)
def own_copy(request: pytest.FixtureRequest, distributions: tuple[Path, Path], tmp_path: Path) -> Copy:
    """An installed copy that a test may change."""
    (tmp_path / "copy").mkdir()
    return install(request.param, distributions[1], tmp_path / "copy")


@pytest.fixture
def hub(model: Path) -> Iterator[FlakyHub]:
    """A hub with the repositories that the README and the tests use."""
    with FlakyHub({"acme/tiny": model, "openai/whisper-tiny.en": model}) as hub:
        yield hub


@pytest.fixture
def installed(copy: Copy, preheat: Preheat) -> Preheat:
    """The command of the installed copy, outside the clone."""
    preheat.command = copy.command
    return preheat
