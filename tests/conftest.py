"""Shared by all tests: their order, and a model, a hub and a command for the stories."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the fast tests before the slow ones, so that simple breakage shows within seconds; of each, long files first.

    A file is long by the time limit of its tests. So none of them is left when all others are done.
    """
    longest: dict[Path, float] = {}
    for item in items:
        limit = item.get_closest_marker("timeout")
        longest[item.path] = max(longest.get(item.path, 0.0), float(limit.args[0]) if limit else 0.0)
    items.sort(key=lambda item: (item.get_closest_marker("slow") is not None, -longest[item.path]))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a model repository: 12 MB of weights in two files, and small files of all kinds."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "voices" / "deep").mkdir(parents=True)
    # The same bytes in every run: some random bytes look like a broken pickle to the scanner.
    chance = random.Random(1)
    (folder / "model.safetensors").write_bytes(chance.randbytes(9_000_000))
    (folder / "voices" / "deep" / "low.bin").write_bytes(chance.randbytes(3_000_000))
    (folder / "config.json").write_text('{"model_type": "tiny"}\n')
    (folder / "same.json").write_text('{"model_type": "tiny"}\n')
    (folder / "empty.txt").touch()
    (folder / "note.txt").write_text("hm!\n")
    (folder / "voices" / "müde & froh #1.txt").write_text("hmm\n")
    return folder


@pytest.fixture
def hub(model: Path) -> Iterator[FlakyHub]:
    """A hub that serves the folder as the model `acme/tiny` and as the dataset `acme/rows`."""
    with FlakyHub({"acme/tiny": model, "datasets/acme/rows": model}) as hub:
        yield hub


@pytest.fixture
def preheat(hub: FlakyHub, tmp_path: Path) -> Iterator[Preheat]:
    """The command, with this hub as its endpoint."""
    preheat = Preheat(tmp_path, hub.url)
    yield preheat
    preheat.close()


# The time of an example depends more on the machine than on the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_configure() -> None:
    """Let every child take Ctrl-C, and a reload, where the tests were started in the background or by nohup.

    A signal that is ignored stays ignored in children; one with a handler has its default action there.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
