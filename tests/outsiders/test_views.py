"""The real huggingface_hub and transformers read a placed view without a network."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preheat.core.ref import Ref
from preheat.hubs.folder import Folder
from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.outsiders.conftest import Outsider, evaluator
from tests.outsiders.tokenizer import TOKENIZER
from tests.stories.disk import disk
from tests.stories.kept import contents

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# The last of 0.x, the last of 1.x, the newest.
VERSIONS = ["0.36.2", "1.33.0", "2.4.0"]
TRANSFORMERS = "5.23.0"

PRELUDE = """
import json, os
from huggingface_hub import *

def name_of_error(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception as error:
        return type(error).__name__
    return None
"""

# An expression, evaluated in a user's Python with its own library.
Evaluate = Callable[..., object]


def evaluating(python: Path, cache: Path, home: Path, prelude: str = PRELUDE) -> Evaluate:
    """Give a function that evaluates an expression offline, with `cache` for its HF_HUB_CACHE."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
        "HF_ENDPOINT": "http://127.0.0.1:1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    return evaluator(python, environ, prelude)


@pytest.fixture(scope="module")
def python(outsider: Outsider, version: str) -> Path:
    return outsider(f"huggingface_hub=={version}")


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def placed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the view `cache`, of a whole model and dataset, and `subset`, of a few files."""
    folder = tmp_path_factory.mktemp("placed")
    with FlakyHub({"acme/tiny": model, "datasets/acme/rows": model}) as hub:
        preheat = Preheat(folder, hub.url)
        some = ("--files", "*.json", "--files", "voices/*")
        assert preheat("pull", "acme/tiny", *some, "--view", "hf-cache=subset").status == 0
        assert preheat("pull", "acme/tiny", "hf:datasets/acme/rows", "--view", "hf-cache=cache").status == 0
    yield folder
    # Changes of shared files that an app must not make.
    assert preheat.library.is_dir()


@pytest.fixture
def whole(python: Path, placed: Path, tmp_path: Path) -> Evaluate:
    return evaluating(python, placed / "cache", tmp_path)


@pytest.fixture
def subset(python: Path, placed: Path, tmp_path: Path) -> Evaluate:
    return evaluating(python, placed / "subset", tmp_path)


@pytest.fixture(scope="module")
def commit(model: Path) -> str:
    return Folder().resolve(Ref.parse(f"file:{model}")).commit


def test_finds_a_file_by_branch_and_by_commit(whole: Evaluate, model: Path, commit: str) -> None:
    paths = whole(
        "[hf_hub_download('acme/tiny', 'voices/deep/low.bin'),"
        f" hf_hub_download('acme/tiny', 'model.safetensors', revision='{commit}'),"
        " hf_hub_download('acme/rows', 'voices/müde & froh #1.txt', repo_type='dataset')]"
    )
    assert isinstance(paths, list)
    names = ["voices/deep/low.bin", "model.safetensors", "voices/müde & froh #1.txt"]
    for path, name in zip(paths, names, strict=True):
        assert Path(path).read_bytes() == (model / name).read_bytes()


@pytest.mark.parametrize("words", ["'acme/tiny'", "'acme/tiny', revision='COMMIT'", "'acme/rows', repo_type='dataset'"])
def test_finds_a_whole_snapshot(whole: Evaluate, model: Path, commit: str, words: str) -> None:
    path = Path(str(whole(f"snapshot_download({words.replace('COMMIT', commit)})")))
    assert contents(path) == contents(model)


def test_finds_part_of_a_whole_snapshot(whole: Evaluate) -> None:
    path = Path(str(whole("snapshot_download('acme/tiny', allow_patterns=['voices/*'])")))
    assert (path / "voices/deep/low.bin").is_file()


@pytest.mark.parametrize(
    "words",
    ["", ", allow_patterns=['*.json', 'voices/*']", ", allow_patterns='*.json'", ", ignore_patterns='*.safetensors'"],
)
@pytest.mark.parametrize("by", ["branch", "commit"])
def test_finds_a_subset(subset: Evaluate, version: str, model: Path, commit: str, by: str, words: str) -> None:
    revision = f", revision='{commit}'" if by == "commit" else ""
    if by == "commit" and version == "1.33.0":
        # 1.26 to 1.33 ask the network for a commit's listing, offline or not, where the cache has none; and with one
        # they refuse a subset.
        assert subset(f"name_of_error(snapshot_download, 'acme/tiny'{revision}{words})") == "OfflineModeIsEnabled"
        return
    path = Path(str(subset(f"snapshot_download('acme/tiny'{revision}{words})")))
    here = contents(path)
    assert sorted(here) == ["config.json", "same.json", "voices/deep/low.bin", "voices/müde & froh #1.txt"]
    assert all((model / name).read_bytes() == body for name, body in here.items())


def test_a_file_that_was_not_pulled_is_missing_and_not_requested(subset: Evaluate) -> None:
    assert subset("name_of_error(hf_hub_download, 'acme/tiny', 'model.safetensors')") == "LocalEntryNotFoundError"


def test_looks_without_a_request(whole: Evaluate, commit: str) -> None:
    found = whole(
        "[try_to_load_from_cache('acme/tiny', 'config.json'),"
        f" try_to_load_from_cache('acme/tiny', 'config.json', revision='{commit}'),"
        " try_to_load_from_cache('acme/tiny', 'adapter.json')]"
    )
    assert isinstance(found, list)
    assert found[0] == found[1]
    assert str(found[0]).endswith(f"/snapshots/{commit}/config.json")
    assert found[2] is None


def test_scans_it_and_finds_no_fault(whole: Evaluate, commit: str) -> None:
    scanned = whole(
        "(lambda cache: [[str(w) for w in cache.warnings],"
        " [[r.repo_type, r.repo_id, r.nb_files, [[v.commit_hash, sorted(v.refs)] for v in r.revisions]]"
        "  for r in sorted(cache.repos, key=lambda r: r.repo_id)]])(scan_cache_dir())"
    )
    # Two of the seven files share a blob.
    assert scanned == [
        [],
        [
            ["dataset", "acme/rows", 6, [[commit, ["main"]]]],
            ["model", "acme/tiny", 6, [[commit, ["main"]]]],
        ],
    ]


def test_reads_it_from_another_filesystem(python: Path, hub: FlakyHub, preheat: Preheat, model: Path) -> None:
    with disk(preheat.folder / "disk", "size=1m") as other:
        cache = other.mounted / "cache"
        assert preheat("pull", "acme/tiny", "--view", f"hf-cache={cache}", inside=other.inside).status == 0
        evaluate = evaluating(python, cache, preheat.folder)
        hashes = "[__import__('hashlib').sha256(open(p, 'rb').read()).hexdigest() for p in"
        told = evaluate(
            f"{hashes} [hf_hub_download('acme/tiny', 'model.safetensors'),"
            " snapshot_download('acme/tiny') + '/model.safetensors']] + [len(scan_cache_dir().warnings)]",
            other.inside,
        )
    digest = Folder().resolve(Ref.parse(f"file:{model}")).file("model.safetensors")
    assert digest is not None
    assert told == [digest.digest.hex, digest.digest.hex, 0]


def test_uses_the_library_without_a_network_request(python: Path, hub: FlakyHub, preheat: Preheat) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    hub.recovers()
    code = "from huggingface_hub import snapshot_download; print(snapshot_download('acme/tiny'))"
    told = preheat("run", "--network", "watch", "--json", "--", str(python), "-c", code)
    assert told.status == 0, told.err
    assert Path(told.out.strip()).is_relative_to(preheat.library)
    assert not hub.asked()
    seen = next(event for event in map(json.loads, told.err.splitlines()) if event["event"] == "network-seen")
    assert seen["outbound"] == 0


def test_transformers_loads_a_tokenizer_and_a_configuration(outsider: Outsider, tmp_path: Path) -> None:
    python = outsider(f"transformers=={TRANSFORMERS}")
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 8}))
    (repository / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (repository / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"})
    )
    with FlakyHub({"acme/words": repository}) as hub:
        preheat = Preheat(tmp_path, hub.url)
        assert preheat("pull", "acme/words", "--view", "hf-cache=cache").status == 0
    prelude = "import json\nfrom transformers import AutoConfig, AutoTokenizer"
    evaluate = evaluating(python, tmp_path / "cache", tmp_path, prelude)
    told = evaluate(
        "[AutoTokenizer.from_pretrained('acme/words')('Hello voice')['input_ids'],"
        " AutoConfig.from_pretrained('acme/words').hidden_size]"
    )
    assert told == [[1, 2], 8]
