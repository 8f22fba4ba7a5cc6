"""Programs that download by themselves start elsewhere from their traced recipes, without a single request."""

import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.smallnet.hosts import hosts
from tests.smallnet.judge import Judge, Program
from tests.smallnet.light_programs import CURL_WGET, STANDARD
from tests.smallnet.smallnet import SmallNet

_TOOLS = ("ip", "nsenter", "setpriv", "curl", "wget", "aria2c")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(SmallNet.why_not()), reason=SmallNet.why_not()),
    pytest.mark.skipif(not all(map(shutil.which, _TOOLS)), reason=f"needs {', '.join(_TOOLS)}"),
]
# Without any rights.
SOMEBODY = 12345


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


def test_what_native_programs_download_is_known_by_its_url_if_it_is_intercepted(net: SmallNet, place: Path) -> None:
    verdict = Judge(net, place, words=("--intercept",)).judge(CURL_WGET)
    assert verdict.replays, (verdict.traced.said, verdict.replayed)
    recipe = tomllib.loads((place / "here" / CURL_WGET.name / "app" / "preheat.toml").read_text())
    refs = sorted(need["ref"].partition("#")[0] for need in recipe["needs"])
    assert not [ref for ref in refs if ref.startswith("made:")], refs
    trusted = Path("/etc/ssl/certs/ca-certificates.crt").read_text()
    assert "preheat trace" not in trusted, "nothing was installed in the system"
