"""The second run: real clients download a repository over TLS; then the network is cut and the mirror restarts."""

import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from preheat.mirror.api.folders import Shelf
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.messages import Answer, Request
from tests.command import Preheat, Running
from tests.flaky_hub import FlakyHub
from tests.outsiders.conftest import Outsider
from tests.outsiders.test_pull_through_clients import client, run
from tests.outsiders.tokenizer import TOKENIZER
from tests.stories.kept import contents

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SNAPSHOTS = (
    "from huggingface_hub import *; snapshot_download('acme/rows', repo_type='dataset');"
    " model_info('acme/tiny'); print(snapshot_download('acme/tiny'))"
)


class Service:
    """A mirror as a service: TLS, one library, one port."""

    def __init__(self, preheat: Preheat) -> None:
        self._preheat = preheat
        self._running: Running | None = None
        self._listen = "127.0.0.1:0"
        self.url = ""
        self.certificate = preheat.folder / ".local/state/preheat/mirror.pem"

    def start(self, *words: str) -> None:
        secured = ("--tls-self-signed", "--tls-name", "localhost")
        self._running = self._preheat.start("mirror", "--listen", self._listen, "--json", *secured, *words)
        port = str(self._running.event("serving")["url"]).rpartition(":")[2]
        self._listen, self.url = f"127.0.0.1:{port}", f"https://localhost:{port}"

    def stop(self) -> None:
        assert self._running is not None
        assert self._running.kill(signal.SIGTERM).status == 0

    def environment(self, home: Path) -> dict[str, str]:
        authority = str(self.certificate)
        more = {"SSL_CERT_FILE": authority, "REQUESTS_CA_BUNDLE": authority, "CURL_CA_BUNDLE": authority}
        return client(home, self.url, MODELSCOPE_DOMAIN=self.url.removeprefix("https://"), **more)


@pytest.fixture
def service(preheat: Preheat) -> Service:
    """A mirror that can be started again."""
    return Service(preheat)


def restarts(service: Service, hub: FlakyHub) -> Iterator[str]:
    """Restart it without a network in each of the three ways; the hub is stopped for good."""
    upstream = ("--upstream", f"hf={hub.url}", "--upstream", f"ms={hub.url}")
    hub.__exit__()
    for name, words in (("read-only", (*upstream, "--read-only")), ("alone", ()), ("upstream down", upstream)):
        service.stop()
        service.start(*words)
        yield name


@pytest.mark.parametrize("version", ["0.36.2", "1.33.0", "2.4.0"])
def test_huggingface_hub(
    outsider: Outsider, service: Service, hub: FlakyHub, model: Path, tmp_path: Path, version: str
) -> None:
    python = outsider(f"huggingface_hub=={version}")
    service.start("--upstream", f"hf={hub.url}")
    first = run(python, "-c", SNAPSHOTS, env=service.environment(tmp_path / "first"))
    assert contents(Path(first)) == contents(model)
    for name in restarts(service, hub):
        here = run(python, "-c", SNAPSHOTS, env=service.environment(tmp_path / name))
        assert contents(Path(here)) == contents(model), name


@pytest.mark.parametrize("version", ["1.27.0", "1.40.2"])
def test_modelscope(
    outsider: Outsider, service: Service, hub: FlakyHub, model: Path, tmp_path: Path, version: str
) -> None:
    python = outsider(f"modelscope=={version}")
    script = "from modelscope import snapshot_download; print('\\n' + snapshot_download('acme/tiny'))"
    service.start("--upstream", f"ms={hub.url}")
    run(python, "-c", script, env=service.environment(tmp_path / "first"))
    for name in restarts(service, hub):
        here = Path(run(python, "-c", script, env=service.environment(tmp_path / name)))
        for path, body in contents(model).items():
            assert (here / path).read_bytes() == body, name


def test_transformers(
    outsider: Outsider, service: Service, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (folder / "config.json").write_text('{"model_type": "bert"}')
    python = outsider("transformers==5.23.0")
    script = (
        "from transformers import AutoTokenizer;"
        " print(AutoTokenizer.from_pretrained('acme/words')('hello voice')['input_ids'])"
    )
    with FlakyHub({"acme/words": folder}) as hub:
        service.start("--upstream", f"hf={hub.url}")
        assert run(python, "-c", script, env=service.environment(tmp_path / "first")) == "[1, 2]"
        for name in restarts(service, hub):
            assert run(python, "-c", script, env=service.environment(tmp_path / name)) == "[1, 2]", name


def test_pull_and_run_a_second_time_without_a_network(preheat: Preheat, hub: FlakyHub) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    commit = json.loads(preheat("show", "acme/tiny", "--json").out.splitlines()[-1])["commit"]
    hub.__exit__()
    asked = len(hub.asked())
    again = preheat("pull", f"acme/tiny@{commit}", PATH=os.environ["PATH"])
    assert (again.status, len(hub.asked())) == (0, asked), again.err


# Every question that the library's own calls ask of a hub; what is answered, or the kind of the refusal, one a line.
QUESTIONS = """
from huggingface_hub import *
api = HfApi()
asks = {}
for kind, repo in (("model", "acme/tiny"), ("dataset", "acme/rows"), ("space", "acme/room")):
    for revision in (None, "v1.0", "refs/pr/1", "SHORT", "none") if kind == "model" else (None,):
        at = {"repo_type": kind, "revision": revision}
        asks[kind, revision, "info"] = lambda r=repo, a=at: api.repo_info(r, **a).sha
        asks[kind, revision, "metadata"] = lambda r=repo, a=at: sorted(
            (s.rfilename, s.size, s.blob_id) for s in api.repo_info(r, files_metadata=True, **a).siblings)
        asks[kind, revision, "expand"] = lambda r=repo, a=at: api.repo_info(r, expand=["siblings", "sha"], **a).sha
        for deep in (True, False):
            asks[kind, revision, "tree", deep] = lambda r=repo, a=at, d=deep: sorted(
                repr(one) for one in api.list_repo_tree(r, recursive=d, expand=d, **a))
        asks[kind, revision, "paths"] = lambda r=repo, a=at: sorted(
            repr(one) for one in api.get_paths_info(r, ["config.json", "voices", "none"], **a))
        asks[kind, revision, "optional"] = lambda r=repo, a=at: api.file_exists(r, "none.json", **a)
        asks[kind, revision, "file"] = lambda r=repo, a=at: open(hf_hub_download(r, "config.json", **a), "rb").read()
        asks[kind, revision, "all"] = lambda r=repo, a=at: len(snapshot_download(r, **a)) > 0
    asks[kind, "refs"] = lambda r=repo, k=kind: repr(api.list_repo_refs(r, repo_type=k))
    asks[kind, "nobody"] = lambda k=kind: api.repo_exists("acme/none", repo_type=k)
told = []
for name, ask in asks.items():
    try:
        said = ask()
    except Exception as error:
        said = type(error).__name__
    told.append(f"{name} {said}")
print(" | ".join(told))
"""


@pytest.mark.parametrize("version", ["0.36.2", "2.4.0"])
def test_every_earlier_request_gets_the_same_response_without_a_network(
    outsider: Outsider, service: Service, model: Path, tmp_path: Path, version: str
) -> None:
    python = outsider(f"huggingface_hub=={version}")
    folders = {"acme/tiny": model, "datasets/acme/rows": model, "spaces/acme/room": model}
    shelf = Shelf(folders)

    def named(request: Request, full: Answer) -> Answer:
        target = re.sub(r"(?<=/)(refs%2Fpr%2F1|v1\.0|SHORT)(?=[/?]|$)", "main", request.target)
        return full if target == request.target else answer(replace(request, target=target), shelf.find)

    with FlakyHub(folders) as hub:
        hub.fails("", named)
        service.start("--upstream", f"hf={hub.url}")
        first = run(python, "-c", QUESTIONS, env=service.environment(tmp_path / "first"))
        for name in restarts(service, hub):
            again = run(python, "-c", QUESTIONS, env=service.environment(tmp_path / name))
            differ = set(again.split(" | ")) ^ set(first.split(" | "))
            assert not differ, name
