"""Adopt a cache while its own program downloads into it: what is half stays half, and that download still ends well."""

import io
import os
import subprocess
import threading
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from preheat.mirror.http.messages import Answer, Flow, Request, Slice
from tests.authority import authority
from tests.command import Preheat
from tests.flaky_hub import WEIGHTS, FlakyHub
from tests.guard.apps import until
from tests.outsiders.conftest import Outsider
from tests.stories.kept import blobs, contents

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_HF = "import huggingface_hub; huggingface_hub.snapshot_download('acme/tiny')"
_MS = "import modelscope; modelscope.snapshot_download('acme/tiny')"


class Halting:
    """The rest of a response, of which the second half comes only when the test permits it."""

    verified = True

    def __init__(self, path: Path | str, goes_on: threading.Event) -> None:
        self._path, self._goes_on = path, goes_on

    def await_first(self, start: int, stop: int) -> int:
        return 0

    def pieces(self, start: int, stop: int, age: int) -> Generator[tuple[io.FileIO, int, int]]:
        half = (start + stop) // 2
        with io.FileIO(self._path) as file:
            yield file, start, half
            self._goes_on.wait(120)
            yield file, half, stop


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model whose half is more than huggingface_hub reads before it writes: 10 MB."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "tiny"}\n')
    (folder / "model.safetensors").write_bytes(os.urandom(30_000_000))
    return folder


@pytest.fixture
def goes_on(hub: FlakyHub) -> Iterator[threading.Event]:
    """The hub sends half of each weight file, and the rest when this is set."""
    permitted = threading.Event()

    def halt(request: Request, full: Answer) -> Answer:
        if not isinstance(full.body, Slice):
            return full
        body = full.body
        return replace(full, body=Flow(Halting(body.path, permitted), body.start, body.stop, 0))

    hub.fails(f"{WEIGHTS}|FilePath=.*safetensors", halt)
    yield permitted
    permitted.set()


@pytest.mark.parametrize(
    ("requirement", "script", "halves"),
    [
        ("huggingface_hub==0.36.2", _HF, "hf/hub/**/*.incomplete"),
        ("huggingface_hub==1.33.0", _HF, "hf/hub/**/*.incomplete"),
        ("modelscope==1.27.0", _MS, "ms/**/._____temp/**/model.safetensors*"),
        ("modelscope==1.40.2", _MS, "ms/**/*model.safetensors*"),
    ],
)
def test_half_a_download_is_adopted_as_half_and_ends_well(
    requirement: str,
    script: str,
    halves: str,
    outsider: Outsider,
    preheat: Preheat,
    hub: FlakyHub,
    model: Path,
    goes_on: threading.Event,
) -> None:
    cache = preheat.folder / halves.split("/")[0]
    environ = {"PATH": os.environ["PATH"], "HOME": str(preheat.folder), "HF_ENDPOINT": hub.url} | authority().environ
    environ |= {"HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "MODELSCOPE_CACHE": str(cache)}
    environ |= {"MODELSCOPE_ENDPOINT": hub.url, "MODELSCOPE_DOMAIN": f"localhost:{hub.url.rpartition(':')[2]}"}
    with subprocess.Popen(
        [outsider(requirement), "-c", script], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as client:
        try:

            def is_half() -> bool:
                assert client.poll() is None, client.communicate()[0]
                small = [path for path in cache.rglob("config.json") if path.stat().st_size]
                return bool(small) and any(path.stat().st_size > 1_000_000 for path in preheat.folder.glob(halves))

            assert until(is_half, 60), [str(path) for path in cache.rglob("*")]
            told = preheat("adopt", str(cache), "--json")
            assert told.status == 5, told.out + told.err
            assert told.last["partial"] == 1
            sizes = {len(data) for data in blobs(preheat.library).values()}
            assert max(sizes) < 100, "only small files are complete"
            right = set(contents(model).values())
            assert set(blobs(preheat.library).values()) <= right
            goes_on.set()
            said = client.communicate(timeout=120)[0]
            assert client.returncode == 0, said
        finally:
            client.kill()
    downloaded = {data for name, data in contents(cache).items() if name.endswith((".bin", ".safetensors"))}
    assert max(right, key=len) in downloaded
    told = preheat("adopt", str(cache), "--json")
    assert told.status == 0, told.out + told.err
    assert set(blobs(preheat.library).values()) == right
    assert preheat("verify").status == 0
