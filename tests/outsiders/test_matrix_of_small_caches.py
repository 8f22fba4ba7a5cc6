"""The matrix, of small caches: openai-whisper and torch.hub load checkpoints from their views by their own API."""

import hashlib
from pathlib import Path

import pytest

from preheat.views.layouts.torch_hub import TorchHub
from preheat.views.layouts.whisper import Whisper
from preheat.views.placer import place
from tests.outsiders.conftest import Outsider
from tests.outsiders.matrix import NOWHERE, Client, record, stale
from tests.views.kept import blob_path, keep_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Listed, and not resolved: with its dependencies torch would bring a compiler and drivers along.
WHISPER = (
    "openai-whisper==20250625",
    "--no-deps",
    "torch==2.13.0+cpu",
    "numpy==2.4.6",
    "numba",
    "llvmlite",
    "tiktoken",
    "regex",
    "requests",
    "more-itertools",
    "tqdm",
    "typing_extensions",
    "sympy",
    "mpmath",
    "networkx",
    "jinja2",
    "markupsafe",
    "fsspec",
    "filelock",
)


@pytest.fixture(scope="module")
def torch(outsider: Outsider, tmp_path_factory: pytest.TempPathFactory) -> Client:
    try:
        python = outsider(*WHISPER)
    except pytest.fail.Exception as error:
        pytest.skip(f"torch for the processor alone is not to be had here: {error}")
    return Client(python, tmp_path_factory.mktemp("home"), "import torch, whisper")


@pytest.fixture(scope="module")
def checkpoint(torch: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest model that whisper itself creates, in its own folder."""
    folder = tmp_path_factory.mktemp("checkpoint")
    dims = "whisper.model.ModelDimensions(80, 8, 8, 1, 1, 16, 8, 8, 1, 1)"
    saved = f"dict(dims=vars({dims}), model_state_dict=whisper.model.Whisper({dims}).state_dict())"
    said = torch(f"torch.save({saved}, {str(folder / 'mini.pt')!r})")
    assert said == "None"
    return folder


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_whisper_takes_its_model_for_the_hash_in_its_address(
    torch: Client, checkpoint: Path, right: bool, tmp_path: Path
) -> None:
    snapshot = keep_folder(tmp_path / "library", checkpoint, f"file:{checkpoint}")
    view = Whisper()
    place(view, snapshot, blob_path(tmp_path / "library"), tmp_path / "at", whole=True)
    digest = hashlib.sha256((checkpoint / "mini.pt").read_bytes()).hexdigest() if right else "0" * 64
    address = f"{NOWHERE}/models/{digest}/mini.pt"
    said = torch(
        f"whisper._MODELS.update(mini={address!r}) or whisper._ALIGNMENT_HEADS.update(mini=None)"
        " or type(whisper.load_model('mini', device='cpu')).__name__",
        **view.environ(tmp_path / "at"),
    )
    # With another hash it would fetch, and can reach nobody.
    assert said == ("Whisper" if right else "<URLError>")
    if right:
        record("openai-whisper 20250625", "whisper off line", "hit")


def test_torch_hub_takes_a_checkpoint_by_its_name(torch: Client, checkpoint: Path, tmp_path: Path) -> None:
    snapshot = keep_folder(tmp_path / "library", checkpoint, f"file:{checkpoint}")
    view = TorchHub()
    place(view, snapshot, blob_path(tmp_path / "library"), tmp_path / "at", whole=True)
    said = torch(
        f"sorted(torch.hub.load_state_dict_from_url('{NOWHERE}/nets/mini.pt', weights_only=True))",
        **view.environ(tmp_path / "at"),
    )
    assert said == "['dims', 'model_state_dict']"
    record("torch 2.13.0", "torch-hub off line", "hit")


def test_the_document_says_what_was_seen() -> None:
    assert stale == []
