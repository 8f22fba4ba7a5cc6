"""Closed or full streams, a poor locale, no home folder: the command works, or there is one clear error."""

import json

import pytest

from preheat.library.library import Library
from tests.command import Preheat, Told
from tests.library.shelves import shelve


def in_ascii(preheat: Preheat, *words: str, utf8: str = "0") -> Told:
    """Run it in a locale that is not UTF-8, which need not be installed."""
    return preheat(*words, LC_ALL="C", PYTHONUTF8=utf8, PYTHONCOERCECLOCALE="0")


@pytest.fixture
def foreign(preheat: Preheat) -> Preheat:
    """A library with names in non-Latin letters."""
    shelve(Library(preheat.library), "acme/voice@漢", {"漢.txt": b"a"})
    return preheat


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_an_app_runs_and_its_library_is_listed_with_any_streams_closed(preheat: Preheat, closed: str) -> None:
    inside = ("sh", "-c", f'exec "$@" {closed}', "sh")
    assert preheat("ls", inside=inside).status == 0
    told = preheat("run", "--", "sh", "-c", "echo out; echo err >&2; : > ran", inside=inside)
    assert told.status == 0, told.err
    assert (preheat.folder / "ran").exists()


def test_a_full_disk_behind_stdout_is_one_error(preheat: Preheat) -> None:
    told = preheat("ls", inside=("sh", "-c", 'exec "$@" >/dev/full', "sh"))
    assert (told.status, "Traceback" in told.err) == (1, False)
    assert "no space left" in told.err


def test_letters_missing_in_the_locale_are_escaped_and_json_is_utf_8(foreign: Preheat) -> None:
    assert r"\u6f22" in in_ascii(foreign, "ls").out
    told = in_ascii(foreign, "ls", "--json")
    assert (told.status, "漢" in json.dumps(told.last, ensure_ascii=False)) == (0, True), told.err


def test_a_file_name_that_the_locale_cannot_encode_is_an_error_with_a_hint(foreign: Preheat) -> None:
    commit = next((foreign.library / "records/hf/models--acme--voice").glob("*.json")).stem
    words = ("view", "flat", "at", f"acme/voice@{commit}")
    told = in_ascii(foreign, *words)
    assert (told.status, "PYTHONUTF8=1" in told.err) == (2, True), told.err
    assert in_ascii(foreign, *words, utf8="1").status == 0
    assert (foreign.folder / "at/漢.txt").read_bytes() == b"a"


def test_a_missing_home_folder_is_named(preheat: Preheat) -> None:
    endpoint = preheat.env["HF_ENDPOINT"]
    words = ("pull", "acme/voice", "--token-for", f"{endpoint}=file:~nobody-here/token")
    told = preheat(*words)
    assert (told.status, "no such home folder" in told.err) == (2, True), told.err
    (preheat.folder / "preheat.toml").write_text('[app]\nname = "x"\ncommand = ["true"]\n')
    told = preheat("run", "--allow-place", "~nobody-here/x")
    assert (told.status, "Traceback" in told.err) == (2, False), told.err
