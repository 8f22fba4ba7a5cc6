"""Mistakes that people make at the joints of verbs, each with the answer that leads on."""

from pathlib import Path

import pytest

from tests.command import Preheat
from tests.stories.caches import write


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("pull", "ms://acme/tiny"), 2, "did you mean ms:acme/tiny?"),
        (("pull", "HF:acme/tiny"), 2, "did you mean hf:acme/tiny?"),
        (("pull", "acme/tiny/voices/deep/low.bin"), 2, "preheat pull acme/tiny --files voices/deep/low.bin"),
        (("pull", "plain"), 3, "to pull the folder of that name: file:plain"),
        (("pull", "acme/tiny", "--library", "file.txt"), 2, "is a file, not a folder"),
        (("ls", "--library", "file.txt"), 2, "is a file, not a folder"),
        (("run", "--", "nowhere-to-be-found"), 7, "is it installed, and on this shell's PATH?"),
        (("run", "--", "./file.txt"), 7, "it is not executable; to make it so: chmod +x /"),
        (("run", "--", "python3", "nofile.py"), 2, "change to the app's folder, or correct the name"),
    ],
)
def test_a_mistake_is_answered_by_what_leads_on(
    preheat: Preheat, words: tuple[str, ...], status: int, said: str
) -> None:
    write(preheat.folder / "plain/config.json", b"{}")
    write(preheat.folder / "file.txt", b"text")
    told = preheat(*words)
    assert (told.status, said in told.err) == (status, True), told.err


def test_a_model_that_is_named_twice_counts_once(preheat: Preheat) -> None:
    once, twice = (preheat("pull", *["acme/tiny"] * count, "--json").last["size"] for count in (1, 2))
    assert once == twice


def test_a_folder_and_a_model_in_the_wrong_order_are_told_apart(preheat: Preheat) -> None:
    assert preheat("pull", "acme/tiny", "--quiet").status == 0
    told = preheat("view", "flat", "acme/tiny", "out")
    assert told.status == 5
    assert "the folder comes before the model: flat DIR acme/tiny" in told.err
    assert not Path(preheat.folder, "acme").exists()
