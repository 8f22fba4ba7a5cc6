"""Pull, end to end, of a model in which somebody has planted code: it is told, or refused, and never run."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.stories.kept import contents


class Planted:
    """An object that runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self._command,)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a harmless checkpoint and one that leaves a mark when it is loaded."""
    folder = tmp_path / "planted"
    (folder / "voices").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "good.pt").write_bytes(pickle.dumps({"weights": [1.0, 2.0]}))
    (folder / "voices" / "evil.pth").write_bytes(pickle.dumps(Planted(f"touch {tmp_path}/it-ran")))
    return folder


def test_a_planted_checkpoint_is_told_and_kept(preheat: Preheat, model: Path, tmp_path: Path) -> None:
    told = preheat("pull", "acme/tiny")
    assert told.status == 0, told.err
    assert "voices/evil.pth: dangerous: it calls posix.system" in " ".join(told.err.split())
    assert "good.pt" not in told.err
    assert b"posix.system" in b"".join(contents(preheat.library / "verdicts").values())
    assert not (tmp_path / "it-ran").exists()


def test_a_planted_checkpoint_is_refused_when_asked_to_and_allowed_when_asked_to(preheat: Preheat, model: Path) -> None:
    told = preheat("pull", "acme/tiny", "--unsafe-files", "refuse", "--json")
    assert told.status == 8
    assert (told.last["kind"], "voices/evil.pth" in told.last["message"]) == ("CheckFailed", True)
    assert not (preheat.library / "records").exists()
    told = preheat("pull", "acme/tiny", "--unsafe-files", "allow", "--json")
    assert told.status == 0
    assert not [event for event in told.events if event["event"] == "scanned"]
    # And what is here by now is refused as well.
    assert preheat("pull", "acme/tiny", "--unsafe-files", "refuse").status == 8


def test_what_is_safe_is_pulled_by_whoever_refuses_and_not_talked_about_otherwise(
    preheat: Preheat, model: Path
) -> None:
    (model / "voices" / "evil.pth").unlink()
    told = preheat("pull", "acme/tiny", "--json")
    assert told.status == 0, told.out
    assert not [event for event in told.events if event["event"] == "scanned"]
    assert preheat("pull", "acme/tiny", "--unsafe-files", "refuse").status == 0
