"""The real huggingface_hub, three major versions, uses the mirror as if it were the hub."""

import os
from collections.abc import Callable
from filecmp import cmp
from pathlib import Path

import pytest

from preheat.core.events import Answered
from preheat.core.ref import Ref
from preheat.hubs.folder import Folder
from tests.authority import authority
from tests.outsiders.conftest import Outsider, Served, evaluator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# The last of 0.x, which IndexTTS and transformers 4 lock; the last of 1.x; the newest.
VERSIONS = ["0.36.2", "1.33.0", "2.4.0"]

Client = Callable[[str], object]

_PRELUDE = """
import json
from huggingface_hub import *
from huggingface_hub.errors import *

def name_of_error(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception as error:
        return type(error).__name__
    return None
"""


@pytest.fixture(scope="module", params=VERSIONS)
def python(request: pytest.FixtureRequest, outsider: Outsider) -> Path:
    return outsider(f"huggingface_hub=={request.param}")


@pytest.fixture
def client(python: Path, served: Served, tmp_path: Path) -> Client:
    """Give a function that evaluates an expression where huggingface_hub is installed and sees only the mirror."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HF_HOME": str(tmp_path / "hf"),
        "HF_ENDPOINT": served.url,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **authority().environ,
    }
    return evaluator(python, environ, _PRELUDE)


def _commit(served: Served) -> str:
    return Folder().resolve(Ref.parse(f"file:{served.folder}")).commit


def test_downloads_a_file_of_a_branch(client: Client, served: Served) -> None:
    path = Path(str(client("hf_hub_download('acme/tiny', 'config.json')")))
    assert path.read_bytes() == (served.folder / "config.json").read_bytes()
    assert path.parent.name == _commit(served)


def test_downloads_a_large_file_completely(client: Client, served: Served) -> None:
    path = Path(str(client("hf_hub_download('acme/tiny', 'model.safetensors')")))
    assert cmp(path, served.folder / "model.safetensors", shallow=False)
    # The blob is named by its digest, so the ETag was the sha256 and not something of ours.
    assert len(path.resolve().name) == 64


def test_downloads_a_file_of_a_commit_and_from_a_repository_with_one_name(client: Client, served: Served) -> None:
    paths = client(
        f"[hf_hub_download('acme/tiny', 'empty.txt', revision='{_commit(served)}'),"
        " hf_hub_download('solo', 'voices/müde & froh #1.txt')]"
    )
    assert isinstance(paths, list)
    assert [Path(path).read_text() for path in paths] == ["", "hmm\n"]


@pytest.mark.parametrize("repo", ["'acme/tiny'", "'acme/rows', repo_type='dataset'"])
def test_downloads_a_snapshot(client: Client, served: Served, repo: str) -> None:
    path = Path(str(client(f"snapshot_download({repo})")))
    theirs = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
    ours = sorted(str(file.relative_to(served.folder)) for file in served.folder.rglob("*") if file.is_file())
    assert theirs == ours
    assert all(cmp(path / name, served.folder / name, shallow=False) for name in ours)


def test_downloads_a_snapshot_into_a_folder(client: Client, served: Served, tmp_path: Path) -> None:
    client(
        f"snapshot_download('acme/tiny', local_dir={str(tmp_path / 'here')!r}, allow_patterns=['*.json', 'voices/*'])"
    )
    assert cmp(tmp_path / "here/voices/deep/low.bin", served.folder / "voices/deep/low.bin", shallow=False)
    assert not (tmp_path / "here/model.safetensors").exists()


def test_resumes_an_interrupted_download(python: Path, client: Client, served: Served, tmp_path: Path) -> None:
    if "0.36" not in str(python):
        pytest.skip("later versions begin again in a new process")
    whole = Path(str(client("hf_hub_download('acme/tiny', 'model.safetensors')")))
    blob = whole.resolve()
    blob.with_name(f"{blob.name}.incomplete").write_bytes(blob.read_bytes()[:5_000_000])
    blob.unlink()
    whole.unlink()
    served.events.clear()
    client("hf_hub_download('acme/tiny', 'model.safetensors')")
    assert cmp(whole, served.folder / "model.safetensors", shallow=False)
    assert [(event.status, event.sent) for event in served.events if isinstance(event, Answered) and event.sent] == [
        (206, 7_000_000)
    ]


def test_describes_the_repository(client: Client, served: Served) -> None:
    told = client("[(i.id, i.sha, len(i.siblings)) for i in (model_info('acme/tiny'), dataset_info('acme/rows'))]")
    assert told == [["acme/tiny", _commit(served), 5], ["acme/rows", _commit(served), 5]]
    sizes = client(
        "{s.rfilename: [s.size, s.lfs and s.lfs.size] for s in model_info('solo', files_metadata=True).siblings}"
    )
    assert isinstance(sizes, dict)
    assert sizes["model.safetensors"] == [12_000_000, 12_000_000]
    assert sizes["empty.txt"] == [0, None]


def test_lists_files(client: Client) -> None:
    assert client("sorted(list_repo_files('acme/tiny'))") == [
        "config.json",
        "empty.txt",
        "model.safetensors",
        "voices/deep/low.bin",
        "voices/müde & froh #1.txt",
    ]


def test_lists_a_tree(client: Client) -> None:
    names = "[(type(e).__name__, e.path) for e in list_repo_tree('acme/rows', repo_type='dataset', {})]"
    assert client(names.format("path_in_repo='voices'")) == [
        ["RepoFolder", "voices/deep"],
        ["RepoFile", "voices/müde & froh #1.txt"],
    ]
    assert client(names.format("path_in_repo='voices/deep'")) == [["RepoFile", "voices/deep/low.bin"]]
    everything = client(names.format("recursive=True, expand=True"))
    assert isinstance(everything, list)
    assert len(everything) == 7


def test_describes_the_requested_paths(client: Client) -> None:
    told = client(
        "[(type(p).__name__, p.path, getattr(p, 'size', None), bool(getattr(p, 'lfs', None)))"
        " for p in get_paths_info('acme/tiny', ['voices', 'voices/müde & froh #1.txt', 'model.safetensors', 'nope'])]"
    )
    assert told == [
        ["RepoFolder", "voices", None, False],
        ["RepoFile", "voices/müde & froh #1.txt", 4, False],
        ["RepoFile", "model.safetensors", 12_000_000, True],
    ]


def test_lists_the_branches(client: Client, served: Served) -> None:
    told = client("[(b.name, b.ref, b.target_commit) for b in list_repo_refs('acme/tiny').branches]")
    assert told == [["main", "refs/heads/main", _commit(served)]]


def test_a_missing_file_does_not_close_the_connection(client: Client, tmp_path: Path, served: Served) -> None:
    assert client("name_of_error(hf_hub_download, 'acme/tiny', 'adapter_config.json')") in (
        "EntryNotFoundError",
        "RemoteEntryNotFoundError",
    )
    # The client remembers it, so that the next start sends no request.
    assert (tmp_path / "hf/hub/models--acme--tiny/.no_exist" / _commit(served) / "adapter_config.json").exists()
    assert client("[file_exists('acme/tiny', f) for f in ('config.json', 'adapter_config.json')]") == [True, False]


def test_a_missing_repository_has_its_own_error(client: Client) -> None:
    assert client("name_of_error(hf_hub_download, 'acme/none', 'config.json')") == "RepositoryNotFoundError"
    assert client("name_of_error(model_info, 'acme/none')") == "RepositoryNotFoundError"
    assert client("name_of_error(snapshot_download, 'acme/none')") == "RepositoryNotFoundError"
    assert (
        client("name_of_error(hf_hub_download, 'acme/tiny', 'config.json', revision='v9')") == "RevisionNotFoundError"
    )
    assert client("name_of_error(model_info, 'acme/tiny', revision='v9')") == "RevisionNotFoundError"
    assert (
        client("name_of_error(list_repo_files, 'acme/rows', repo_type='dataset', revision='v9')")
        == "RevisionNotFoundError"
    )
    assert client("[repo_exists('acme/tiny'), repo_exists('acme/none'), revision_exists('acme/tiny', 'v9')]") == [
        True,
        False,
        False,
    ]


def test_reads_through_the_file_system_api(client: Client) -> None:
    told = client(
        "[HfFileSystem().cat('acme/tiny/config.json').decode(),"
        " sorted(HfFileSystem().glob('acme/tiny/voices/**/*.bin'))]"
    )
    assert told == ['{"model_type": "tiny"}\n', ["acme/tiny/voices/deep/low.bin"]]
