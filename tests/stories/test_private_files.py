"""Private files of a user: adopt, pull and trace make none of them readable by other users without a word."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.disk.readers import readers_below
from tests.command import COMMAND, Preheat
from tests.flaky_hub import FlakyHub
from tests.stories.caches import hf_cache, write
from tests.stories.test_pull_caches import hf_home

_SOMEBODY = 4322
_AS_SOMEBODY = ("setpriv", f"--reuid={_SOMEBODY}", f"--regid={_SOMEBODY}", "--clear-groups")
WEIGHTS, CONFIG = os.urandom(2 << 20), b"{}"


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        readers_below.cache_clear()
        yield Path(folder)


@pytest.fixture
def owned(public: Path, hub: FlakyHub) -> Iterator[Preheat]:
    """The command of a user whose home everybody can reach."""
    home = public / "home"
    home.mkdir(mode=0o755)
    preheat = Preheat(home, hub.url)
    yield preheat
    preheat.close()


@pytest.fixture(params=["root", "a user"])
def inside(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """How to start the command as this user."""
    if request.param == "root":
        if os.geteuid() != 0:
            pytest.skip("needs root")
        return ()
    if os.geteuid() != 0:
        return ()
    seen = subprocess.run([*_AS_SOMEBODY, COMMAND, "--version"], capture_output=True, check=False, cwd="/")
    if seen.returncode:
        pytest.skip("another user cannot reach this installation")
    return _AS_SOMEBODY


def cache_of(owned: Preheat, inside: tuple[str, ...]) -> tuple[Path, Path]:
    """Write a cache of this user; return its repository and the weights in it."""
    home = hf_cache(owned.folder / "hub", "acme/voice", {"model.safetensors": WEIGHTS, "config.json": CONFIG})
    if inside:
        for path in (owned.folder, *owned.folder.rglob("*")):
            os.chown(path, _SOMEBODY, _SOMEBODY, follow_symlinks=False)
    [weights] = (path for path in (home / "blobs").iterdir() if path.stat().st_size > 100)
    return home, weights


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def blobs(library: Path) -> list[int]:
    """Return the sizes of the blobs, each once."""
    return sorted({path.stat().st_ino: path.stat().st_size for path in library.glob("blobs/*/*/*")}.values())


def test_a_private_file_is_adopted_into_a_public_library_only_if_its_user_shares_it(
    owned: Preheat, inside: tuple[str, ...]
) -> None:
    _, weights = cache_of(owned, inside)
    weights.chmod(0o600)
    for words in (("--dry-run",), ()):
        told = owned("adopt", "hub", *words, inside=inside)
        assert told.status, told.out
        assert "1 left out" in told.err
        assert "other users cannot read it, but could in the library (--share)" in told.err
    assert blobs(owned.library) == [len(CONFIG)]
    assert mode(weights) == 0o600
    told = owned("adopt", "hub", "--share", inside=inside)
    assert told.status == 0, told.err
    assert blobs(owned.library) == [len(CONFIG), len(WEIGHTS)]


def test_a_folder_that_others_cannot_open_keeps_all_of_its_files_private(
    owned: Preheat, inside: tuple[str, ...]
) -> None:
    home, _ = cache_of(owned, inside)
    home.chmod(0o700)
    told = owned("adopt", "hub", inside=inside)
    assert "2 left out" in told.err
    assert blobs(owned.library) == []
    assert owned("adopt", "hub", "--share", inside=inside).status == 0
    assert len(blobs(owned.library)) == 2


def test_no_file_becomes_readable_at_its_own_path(owned: Preheat, inside: tuple[str, ...]) -> None:
    _, weights = cache_of(owned, inside)
    weights.chmod(0o600)
    owned.library.mkdir(mode=0o700)
    os.chown(owned.library, weights.stat().st_uid, weights.stat().st_gid)
    told = owned("adopt", "hub", inside=inside)
    if told.status:  # no reflinks here
        assert "could if it were a hard link to a blob (--copy)" in told.err
        assert "(--copy)" in owned("adopt", "hub", "--dry-run", inside=inside).err
    told = owned("adopt", "hub", "--copy", inside=inside)
    assert told.status == 0, told.err
    assert mode(weights) == 0o600
    assert blobs(owned.library) == [len(CONFIG), len(WEIGHTS)]


def test_a_library_in_a_private_home_takes_private_files_as_before(owned: Preheat, inside: tuple[str, ...]) -> None:
    _, weights = cache_of(owned, inside)
    owned.folder.chmod(0o700)
    weights.chmod(0o600)
    told = owned("adopt", "hub", inside=inside)
    assert told.status == 0, told.err
    assert weights.stat().st_nlink == 2 or mode(weights) == 0o600


def test_a_pull_copies_private_files_and_says_that_others_can_read_the_copies(
    owned: Preheat, hub: FlakyHub, model: Path
) -> None:
    home = hf_home(owned, model)
    for path in (home / "blobs").iterdir():
        path.chmod(0o600)
    hub.recovers()
    told = owned("pull", "acme/tiny")
    assert told.status == 0, told.err
    assert "other users cannot read" in told.err
    assert "files that came from this user's folders, but can here" in told.err
    assert not hub.asked("/resolve/")
    assert {mode(path) for path in (home / "blobs").iterdir()} == {0o600}
    assert {mode(path) for path in owned.library.glob("blobs/*/*/*")} == {0o444}


APP = """
data = open("weights.bin", "rb").read()
print("listening", flush=True)
"""


@pytest.mark.slow
def test_a_trace_copies_private_files_and_says_that_others_can_read_the_copies(owned: Preheat) -> None:
    private = write(owned.folder / "weights.bin", WEIGHTS)
    private.chmod(0o600)
    write(owned.folder / "webui.py", APP.encode())
    told = owned("trace", "--no-replay", "--ready", "line:listening", "--", sys.executable, "webui.py")
    assert told.status == 0, told.err
    if len(WEIGHTS) in blobs(owned.library):
        assert "other users cannot read 1 file that came from this user's folders, but can here" in told.err
    assert mode(private) == 0o600
