"""A command exits with 0 only if everything requested was done, and never shows a traceback."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from preheat.core.ref import Ref
from preheat.library.library import Library
from tests.command import Preheat
from tests.flaky_hub import FlakyHub


def blobs(library: Path) -> list[Path]:
    return sorted(path for path in (library / "blobs").rglob("*") if path.is_file())


def weights(library: Path) -> Path:
    """The file of the model's largest blob."""
    return max(blobs(library), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize(
    "words",
    [
        ("ls", "acme/nowhere"),
        ("show", "acme/nowhere"),
        ("verify", "acme/nowhere"),
        ("pin", "acme/nowhere"),
        ("unpin", "acme/nowhere"),
        ("unpin", "acme/tiny"),
        ("rm", "acme/nowhere"),
        ("view", "flat", "view", "acme/nowhere"),
    ],
)
def test_a_missing_model_is_an_error(preheat: Preheat, words: tuple[str, ...]) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    told = preheat(*words, "--json")
    assert (told.status, told.last["event"]) == (5, "error")
    assert told.last["message"]


def test_unpinning_two_models_of_which_one_is_pinned_names_the_other(preheat: Preheat) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    assert preheat("pull", "hf:datasets/acme/rows").status == 0
    assert preheat("pin", "acme/tiny").status == 0
    told = preheat("unpin", "acme/tiny", "hf:datasets/acme/rows", "--json")
    assert (told.status, told.last["kind"]) == (5, "Incomplete")
    assert len(told.last["unpinned"]) == 1
    assert "datasets/acme/rows" in told.last["message"]


def test_verifying_a_model_without_files_in_the_library_is_an_error(preheat: Preheat) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    shutil.rmtree(preheat.library / "blobs")
    assert preheat("verify", "acme/tiny").status == 5


@pytest.mark.parametrize("what", ["folder", "fifo"])
def test_a_blob_that_is_no_file_is_quarantined_and_pulled_again(preheat: Preheat, what: str) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    blob = weights(preheat.library)
    data = blob.read_bytes()
    blob.unlink()
    if what == "folder":
        blob.mkdir()
    else:
        os.mkfifo(blob)
    assert preheat("verify").status == 8
    assert not blob.exists()
    assert preheat("pull", "acme/tiny").status == 0
    assert blob.read_bytes() == data


def test_an_unreadable_blob_is_not_reported_as_correct(preheat: Preheat) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    blob = weights(preheat.library)
    blob.unlink()
    blob.symlink_to("/proc/1/mem")
    told = preheat("verify")
    assert told.status == 8
    assert "unreadable" in told.err


def test_a_failed_repair_is_an_error(preheat: Preheat, hub: FlakyHub) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    blob = weights(preheat.library)
    blob.chmod(0o644)
    blob.write_bytes(b"?" * blob.stat().st_size)
    assert preheat("verify").status == 8
    # The blob is in quarantine now, and the hub is unreachable, so that the repair fails.
    told = preheat("verify", "--mend", HF_ENDPOINT="http://127.0.0.1:9")
    assert told.status == 8, told.out + told.err
    assert preheat("verify", "--mend").status == 0
    assert preheat("verify").status == 0


@pytest.mark.parametrize("revision", [".", "..", "a/../b", ".hidden", "x.lock", "a/.b"])
def test_an_invalid_revision_is_rejected_and_changes_nothing(preheat: Preheat, hub: FlakyHub, revision: str) -> None:
    told = preheat("pull", f"acme/tiny@{revision}")
    assert told.status == 2
    assert not hub.asked()
    assert preheat("pull", "acme/tiny").status == 0
    assert Library(preheat.library).find(Ref.parse("acme/tiny")) is not None


@pytest.mark.parametrize("verb", ["show", "pull", "rm", "pin", "verify"])
@pytest.mark.parametrize("revision", ["a" * 300, "漢" * 90])
def test_a_long_revision_gives_no_traceback(preheat: Preheat, verb: str, revision: str) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    told = preheat(verb, f"acme/tiny@{revision}")
    assert "Traceback" not in told.err
    assert (told.status == 0) == (not told.err.startswith("preheat:") and "hint" not in told.err)


NOBODY_KNOWN = """
import os, sys
os.environ.pop("HOME")
# The real user is one that passwd(5) does not know; the effective one may still read the interpreter's files.
os.setresuid(123456, 0, 0)
from preheat.cli.main import main
main()
"""


def without_home(preheat: Preheat, *words: str) -> subprocess.CompletedProcess[str]:
    if os.getuid():
        pytest.skip("only root can be somebody else")
    with pytest.raises(KeyError):
        pwd.getpwuid(123456)
    folder = preheat.folder / "somewhere"
    folder.mkdir(exist_ok=True)
    command = (sys.executable, "-c", NOBODY_KNOWN, *words)
    return subprocess.run(command, env=preheat.env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "words",
    [("ls",), ("pull", "acme/tiny"), ("adopt", "~/cache"), ("pull", "file:~/x"), ("view", "flat", "~/x", "a/b")],
)
def test_without_a_home_folder_the_hint_names_the_option(preheat: Preheat, words: tuple[str, ...]) -> None:
    told = without_home(preheat, *words)
    assert told.returncode == 2, told.stderr
    assert "--library" in told.stderr or "full path" in told.stderr
    assert list((preheat.folder / "somewhere").iterdir()) == []


def test_without_a_home_folder_a_named_library_works(preheat: Preheat) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        for words in (("pull", "acme/tiny"), ("ls",), ("view", "flat", folder + "/view", "acme/tiny"), ("verify",)):
            told = without_home(preheat, *words, "--library", folder)
            assert told.returncode == 0, (words, told.stderr)
    assert list((preheat.folder / "somewhere").iterdir()) == []
