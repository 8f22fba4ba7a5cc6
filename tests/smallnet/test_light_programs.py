"""Programs that download by themselves start elsewhere from their traced recipes, without a single request."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.smallnet.hosts import hosts
from tests.smallnet.judge import Judge, Program
from tests.smallnet.light_programs import CURL_WGET, STANDARD
from tests.smallnet.native_programs import CURLS, LFS, NODE, PACKAGE, VOCODER, VOICE, native
from tests.smallnet.smallnet import SmallNet

_TOOLS = ("ip", "nsenter", "setpriv", "curl", "wget", "aria2c")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(SmallNet.why_not()), reason=SmallNet.why_not()),
    pytest.mark.skipif(not all(map(shutil.which, _TOOLS)), reason=f"needs {', '.join(_TOOLS)}"),
]
# Without any rights.
SOMEBODY = 12345
MOST_MADE = 2000  # bytes


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallNet]:
    folder = tmp_path_factory.mktemp("smallnet")
    root = folder / "www"
    root.mkdir()
    for serve in {program.serve for program in STANDARD}:
        serve(root)
    with SmallNet(folder / "net", hosts(root)) as net:
        yield net


@pytest.fixture
def place() -> Iterator[Path]:
    # Not below /tmp, of which each program has one of its own; and others must be able to enter it.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="preheat-smallnet-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(
    ("program", "user"),
    [*((program, 0) for program in STANDARD), (CURL_WGET, SOMEBODY)],
    ids=[*(program.name for program in STANDARD), "as somebody"],
)
def test_it_starts_elsewhere_without_a_request(net: SmallNet, place: Path, program: Program, user: int) -> None:
    verdict = Judge(net, place, user=user).judge(program)
    assert verdict.plain.works, verdict.plain.said
    assert verdict.traced.status == 0, verdict.traced.said
    assert verdict.replayed is not None
    assert verdict.replays, (verdict.places, verdict.pulled, verdict.replayed.said)


BY_URL = {
    CURLS.name: ("voice.ckpt", "vocoder.bin", "config.yaml", "hf:acme/tiny"),
    LFS.name: ("https://git.example.org/lfs/",),
    NODE.name: (VOICE, VOCODER),
    "uv, by URL": (PACKAGE,),
}


@pytest.mark.parametrize("name", BY_URL)
def test_what_native_programs_download_is_known_by_its_url_if_it_is_intercepted(
    net: SmallNet, place: Path, name: str
) -> None:
    found = {program.name: program for program in native(place / "built")}
    if name not in found:
        pytest.skip("it is not installed")
    root = place / "www"
    root.mkdir()
    found[name].serve(root)
    net.sites = hosts(root)
    verdict = Judge(net, place).judge(found[name])
    assert verdict.replays, (verdict.traced.said, verdict.replayed)
    assert all(any(one in ref for ref in verdict.refs) for one in BY_URL[name]), verdict.refs
    assert verdict.made < MOST_MADE, "git and uv write small files of their own"
    trusted = Path("/etc/ssl/certs/ca-certificates.crt").read_text()
    assert "preheat trace" not in trusted, "nothing was installed in the system"
