"""KServe's storage initializer fetches models: a modelcar, from a mirror as its hub, and from a claim.

test_real_stores.py has it read an object store.
"""

import os
from pathlib import Path

import pytest

from tests.authority import authority
from tests.command import Preheat
from tests.oci.small_registry import Faults, serving
from tests.outsiders.conftest import Outsider, Served
from tests.outsiders.test_app_views import said
from tests.stories.two_machines import locked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# What it imports for these sources; with all that it requires, it would bring the SDKs of Google and Azure along.
KSERVE = (
    "kserve-storage==0.21.0",
    "--no-deps",
    "boto3==1.43.15",
    "botocore==1.43.15",
    "huggingface-hub==0.36.2",
    "oras==0.2.42",
    "attrs",
    "certifi",
    "charset-normalizer",
    "filelock",
    "fsspec",
    "idna",
    "jmespath",
    "jsonschema",
    "jsonschema-specifications",
    "packaging",
    "python-dateutil",
    "pyyaml",
    "referencing",
    "requests",
    "rpds-py",
    "s3transfer",
    "six",
    "tqdm",
    "typing-extensions",
    "urllib3",
)
MODELCAR = """
[app]
name = "demo"
command = ["python3", "{dir}/app.py"]
[[needs]]
ref = "acme/tiny"
"""
_DOWNLOAD = """
import sys
from kserve_storage import Storage
Storage.download(sys.argv[1], sys.argv[2])
"""


@pytest.fixture(scope="module")
def kserve(outsider: Outsider) -> Path:
    """A Python with KServe's storage initializer."""
    return outsider(*KSERVE)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder; from a claim, KServe makes symlinks to what it contains."""
    found = [Path(place, name) for place, _, names in os.walk(folder, followlinks=True) for name in names]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def fetched(kserve: Path, uri: str, to: Path, **env: str) -> dict[str, bytes]:
    """Download a `storageUri` as KServe's init container does; return the files."""
    said(kserve, _DOWNLOAD, uri, str(to), PATH=os.environ["PATH"], **env | authority().environ)
    return {path: body for path, body in contents(to).items() if not path.startswith(".cache/")}


def test_kserve_fetches_a_modelcar(kserve: Path, preheat: Preheat, model: Path, tmp_path: Path) -> None:
    locked(preheat, MODELCAR)
    with serving(Faults()) as registry:
        image = f"{registry.host}/acme/car:1"
        words = ("--base", "scratch", "--format", "modelcar", "--output", f"docker://{image}", "--json")
        told = preheat("build", *words)
        assert told.status == 0, told.out + told.err
        assert fetched(kserve, f"oci://{image}", tmp_path / "mnt") == contents(model)


def test_kserve_fetches_a_model_from_a_mirror_as_its_hub(kserve: Path, served: Served, tmp_path: Path) -> None:
    assert fetched(kserve, "hf://acme/tiny", tmp_path / "mnt", HF_ENDPOINT=served.url) == contents(served.folder)


def test_kserve_uses_a_view_on_a_claim(kserve: Path, preheat: Preheat, model: Path, tmp_path: Path) -> None:
    assert preheat("pull", "acme/tiny", "--view", "local-dir=claim").status == 0
    assert fetched(kserve, f"file://{preheat.folder}/claim", tmp_path / "mnt") == contents(model)
