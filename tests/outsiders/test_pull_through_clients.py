"""Real clients, old and new, through an empty mirror: each gets all files, and upstream sends them once."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from filecmp import cmp
from pathlib import Path

import pytest

from tests.authority import authority
from tests.command import Preheat
from tests.flaky_hub import FlakyHub, answers_after, flips_a_byte_at
from tests.mirroring import mirroring as mirroring_of
from tests.outsiders.conftest import Outsider
from tests.outsiders.tokenizer import TOKENIZER
from tests.stories.kept import contents

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HUGGING_FACE = ["0.23.5", "0.36.2", "1.33.0", "2.4.0"]
OLD_MODELSCOPE, NEW_MODELSCOPE = "1.27.0", "1.40.2"
TRANSFORMERS = "5.23.0"

Mirroring = Callable[..., str]


@pytest.fixture(params=["behind the hub", "behind another mirror"])
def url(request: pytest.FixtureRequest, mirroring: Mirroring, hub: FlakyHub) -> str:
    """Start an empty mirror, with the hub or another empty mirror as its upstream."""
    first = mirroring(hub.url)
    return first if request.param == "behind the hub" else mirroring(first, "--library", "second")


@pytest.fixture
def mirroring(preheat: Preheat) -> Mirroring:
    """Return a function that starts a mirror with an endpoint as upstream, for both hubs, and returns its URL."""

    def start(upstream: str, *words: str) -> str:
        behind = ["--upstream", f"hf={upstream}", "--upstream", f"ms={upstream}"]
        return mirroring_of(preheat, *behind, *words, tls="--tls-self-signed" not in words)[1]

    return start


def client(home: Path, url: str, **more: str) -> dict[str, str]:
    """The environment of a client that knows one address."""
    home.mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_ENDPOINT": url,
        "MODELSCOPE_ENDPOINT": url,
        "MODELSCOPE_CACHE": str(home / "ms"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **authority().environ,
        **more,
    }


def run(*words: str | Path, env: dict[str, str], cwd: Path | None = None) -> str:
    """Run a client; return the last line of its output."""
    done = subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return (done.stdout.splitlines() or [""])[-1]


def sent_once(hub: FlakyHub) -> None:
    """Check that upstream sent the weights, 12 MB, once; parts of stalled connections may be sent twice."""
    assert hub.sent(r"/resolve/|FilePath=") < 1.5 * 12_000_000


@pytest.mark.parametrize("version", HUGGING_FACE)
def test_huggingface_hub(
    outsider: Outsider, url: str, hub: FlakyHub, model: Path, tmp_path: Path, version: str
) -> None:
    python = outsider(f"huggingface_hub=={version}")
    script = (
        "from huggingface_hub import *; hf_hub_download('acme/tiny', 'model.safetensors');"
        " snapshot_download('acme/rows', repo_type='dataset'); print(snapshot_download('acme/tiny'))"
    )
    for name in ("first", "second"):
        here = run(python, "-c", script, env=client(tmp_path / name, url))
        assert contents(Path(here)) == contents(model)
        sent_once(hub)


@pytest.mark.parametrize("version", [HUGGING_FACE[1], HUGGING_FACE[-1]])
def test_behind_a_hub_that_is_late(
    outsider: Outsider, mirroring: Mirroring, hub: FlakyHub, model: Path, tmp_path: Path, version: str
) -> None:
    command = outsider(f"huggingface_hub=={version}").with_name("hf")

    hub.fails("", answers_after(8.0))
    url = mirroring(hub.url)
    weights = ("model.safetensors", "--local-dir", str(tmp_path / "here"))
    run(command, "download", "acme/tiny", *weights, env=client(tmp_path / "home", url))
    assert (tmp_path / "here/model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    sent_once(hub)
    target = f"{mirroring(hub.url, '--library', 'other')}/acme/tiny/resolve/main/model.safetensors"
    run("curl", "-fsS", "-o", tmp_path / "curled", target, env=client(tmp_path / "home", url))
    assert (tmp_path / "curled").read_bytes() == (model / "model.safetensors").read_bytes()


@pytest.mark.parametrize("version", HUGGING_FACE[1:])
def test_the_command_hf(outsider: Outsider, url: str, hub: FlakyHub, model: Path, tmp_path: Path, version: str) -> None:
    command = outsider(f"huggingface_hub=={version}").with_name("hf")
    run(command, "download", "acme/tiny", "--local-dir", tmp_path / "here", env=client(tmp_path / "home", url))
    shutil.rmtree(tmp_path / "here/.cache")
    assert contents(tmp_path / "here") == contents(model)
    sent_once(hub)


@pytest.mark.parametrize("version", [OLD_MODELSCOPE, NEW_MODELSCOPE])
def test_modelscope(
    outsider: Outsider,
    preheat: Preheat,
    mirroring: Mirroring,
    hub: FlakyHub,
    model: Path,
    tmp_path: Path,
    version: str,
) -> None:
    python = outsider(f"modelscope=={version}")
    if version == OLD_MODELSCOPE:  # which supports only https
        url = mirroring(hub.url, "--tls-self-signed", "--tls-name", "localhost")
        certificate = tmp_path / ".local/state/preheat/mirror.pem"
        host = f"localhost:{url.rpartition(':')[2]}"
        env = client(tmp_path / "home", url, MODELSCOPE_DOMAIN=host, REQUESTS_CA_BUNDLE=str(certificate))
        env["MODELSCOPE_ENABLE_DEFAULT_HASH_VALIDATION"] = "true"
    else:
        env = client(tmp_path / "home", mirroring(hub.url))
    script = "from modelscope import snapshot_download; print('\\n' + snapshot_download('acme/tiny'))"
    here = Path(run(python, "-c", script, env=env))
    for name, body in contents(model).items():
        assert (here / name).read_bytes() == body
    sent_once(hub)


def test_transformers_loads_through_it(
    outsider: Outsider, mirroring: Mirroring, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (folder / "config.json").write_text('{"model_type": "bert"}')
    python = outsider(f"transformers=={TRANSFORMERS}")
    script = (
        "from transformers import AutoTokenizer;"
        " print(AutoTokenizer.from_pretrained('acme/words')('hello voice')['input_ids'])"
    )
    with FlakyHub({"acme/words": folder}) as hub:
        url = mirroring(hub.url)
        assert run(python, "-c", script, env=client(tmp_path / "home", url)) == "[1, 2]"
    assert run(python, "-c", script, env=client(tmp_path / "again", url)) == "[1, 2]", "with no upstream any more"


def test_curl_whole_in_parts_and_resumed(url: str, hub: FlakyHub, model: Path, tmp_path: Path) -> None:
    address = f"{url}/acme/tiny/resolve/main/model.safetensors"
    env = {"PATH": os.environ["PATH"], **authority().environ}
    run("curl", "-sSf", "-r", "4000000-4999999", "-o", tmp_path / "part", address, env=env)
    assert (tmp_path / "part").read_bytes() == (model / "model.safetensors").read_bytes()[4_000_000:5_000_000]
    (tmp_path / "half").write_bytes((model / "model.safetensors").read_bytes()[:4_000_000])
    run("curl", "-sSf", "-C", "-", "-o", tmp_path / "half", address, env=env)
    run("curl", "-sSf", "-o", tmp_path / "whole", address, env=env)
    for name in ("half", "whole"):
        assert cmp(tmp_path / name, model / "model.safetensors", shallow=False)
    sent_once(hub)


def test_aria2c_over_many_connections(url: str, hub: FlakyHub, model: Path, tmp_path: Path) -> None:
    if shutil.which("aria2c") is None:
        pytest.skip("aria2c is not here")
    address = f"{url}/acme/tiny/resolve/main/model.safetensors"
    words = ["aria2c", "-q", "-x8", "-s8", "-k1M", f"--ca-certificate={authority().ca_file}"]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    run(*words, "-d", tmp_path, "-o", "here", address, env=env)
    assert cmp(tmp_path / "here", model / "model.safetensors", shallow=False)
    sent_once(hub)


def test_our_own_pull_over_the_mirror_and_the_hub_together(
    url: str, hub: FlakyHub, model: Path, preheat: Preheat, tmp_path: Path
) -> None:
    words = ["--endpoint", f"hf={url}", "--endpoint", f"hf={hub.url}", "--library", str(tmp_path / "own")]
    told = preheat("pull", "acme/tiny", "--view", "flat=here", *words)
    assert told.status == 0, told.err
    assert contents(tmp_path / "here") == contents(model)


@pytest.mark.parametrize("version", HUGGING_FACE)
def test_wrong_bytes_reach_no_clients_cache(
    outsider: Outsider, mirroring: Mirroring, hub: FlakyHub, tmp_path: Path, version: str
) -> None:
    python = outsider(f"huggingface_hub=={version}")
    hub.fails(r"low\.bin$", flips_a_byte_at(1_000_000))
    script = (
        "from huggingface_hub import *\n"
        "try: hf_hub_download('acme/tiny', 'voices/deep/low.bin'); print('taken')\n"
        "except Exception as error: print('refused')"
    )
    assert run(python, "-c", script, env=client(tmp_path / "home", mirroring(hub.url))) == "refused"
    named = [path for path in (tmp_path / "home").rglob("*") if path.name == "low.bin" or len(path.name) == 64]
    assert named == []
    hub.recovers()


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path) -> Iterator[None]:
    """Check that no mirror had an internal error."""
    yield
    for said in tmp_path.glob("said-*.err"):
        assert "Traceback" not in said.read_text()
