"""The real modelscope, old and new, uses the mirror as if it were the hub; and our own client with it."""

import os
import subprocess
from collections.abc import Callable
from filecmp import cmp
from pathlib import Path

import pytest

from preheat.core.events import Answered, Event
from preheat.library.library import Library
from preheat.mirror.access.reloadable import ReloadableSettings, Words
from preheat.mirror.api.folders import Shelf
from preheat.verbs.mirror import MirrorOptions, mirror
from tests.authority import authority
from tests.command import COMMAND
from tests.outsiders.conftest import Outsider, Served, evaluator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# What IndexTTS locks, which knows https alone; and the newest, which is another program below.
OLD, NEW = "1.27.0", "1.40.2"

Client = Callable[[str], object]

_PRELUDE = """
import json
from modelscope import dataset_snapshot_download, snapshot_download
from modelscope.hub.file_download import dataset_file_download, model_file_download

def name_of_error(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception as error:
        return type(error).__name__
    return None
"""


@pytest.fixture(params=[OLD, NEW])
def client(request: pytest.FixtureRequest, outsider: Outsider, served: Served, tmp_path: Path) -> Client:
    """Return a function that evaluates an expression with modelscope, which sees only the mirror."""
    python = outsider(f"modelscope=={request.param}")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MODELSCOPE_CACHE": str(tmp_path / "ms")}
    environ |= authority().environ
    if request.param == OLD:
        environ["MODELSCOPE_DOMAIN"] = f"localhost:{served.url.rpartition(':')[2]}"
        environ["MODELSCOPE_ENABLE_DEFAULT_HASH_VALIDATION"] = "true"
    else:
        environ["MODELSCOPE_ENDPOINT"] = served.url
    return evaluator(python, environ, _PRELUDE)


def _names(folder: Path) -> list[str]:
    """List the repository's files, without the client's own."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(name.as_posix() for name in names if not name.name.startswith("."))


def _equal(folder: Path, served: Served) -> bool:
    return all(cmp(folder / name, served.folder / name, shallow=False) for name in _names(served.folder))


def test_downloads_a_snapshot(client: Client, served: Served) -> None:
    path = Path(str(client("snapshot_download('acme/tiny')")))
    assert _names(path) == _names(served.folder)
    assert _equal(path, served)


def test_downloads_a_snapshot_by_the_default_branch(client: Client, served: Served) -> None:
    path = Path(str(client("snapshot_download('acme/tiny', revision='master')")))
    assert _equal(path, served)


def test_downloads_selected_files_into_a_folder(client: Client, served: Served, tmp_path: Path) -> None:
    here = tmp_path / "here"
    client(f"snapshot_download('acme/tiny', local_dir={str(here)!r}, allow_patterns=['*.json', 'voices/*'])")
    assert _names(here) == ["config.json", "voices/deep/low.bin", "voices/müde & froh #1.txt"]
    assert cmp(here / "voices/müde & froh #1.txt", served.folder / "voices/müde & froh #1.txt", shallow=False)


def test_downloads_one_file(client: Client, served: Served) -> None:
    paths = client(
        "[model_file_download('acme/tiny', name)"
        " for name in ('model.safetensors', 'empty.txt', 'voices/müde & froh #1.txt')]"
    )
    assert isinstance(paths, list)
    assert [Path(path).stat().st_size for path in paths] == [12_000_000, 0, 4]
    assert cmp(paths[0], served.folder / "model.safetensors", shallow=False)


def test_downloads_a_dataset(client: Client, served: Served) -> None:
    path = Path(str(client("dataset_snapshot_download('acme/rows')")))
    assert _equal(path, served)
    one = client("dataset_file_download('acme/rows', 'voices/deep/low.bin')")
    assert cmp(str(one), served.folder / "voices/deep/low.bin", shallow=False)


def test_a_second_start_downloads_nothing(client: Client, served: Served) -> None:
    first = client("snapshot_download('acme/tiny')")
    served.events.clear()
    assert client("snapshot_download('acme/tiny')") == first
    asked = [event.path for event in served.events if isinstance(event, Answered)]
    assert asked
    assert not [path for path in asked if "FilePath=" in path]


def test_resumes_an_interrupted_download(client: Client, served: Served, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for partial in (here / "._____temp/model.safetensors", here / "model.safetensors.incomplete"):
        partial.parent.mkdir(exist_ok=True)
        partial.write_bytes((served.folder / "model.safetensors").read_bytes()[:5_000_000])
    served.events.clear()
    client(f"model_file_download('acme/tiny', 'model.safetensors', local_dir={str(here)!r})")
    assert cmp(here / "model.safetensors", served.folder / "model.safetensors", shallow=False)
    sent = [(event.status, event.sent) for event in served.events if isinstance(event, Answered)]
    assert (206, 7_000_000) in sent


def test_a_missing_repository_is_an_error_without_a_wait(client: Client) -> None:
    assert client("name_of_error(snapshot_download, 'acme/none')") is not None
    assert client("name_of_error(snapshot_download, 'acme/tiny', revision='v9')") is not None
    assert client("name_of_error(model_file_download, 'acme/tiny', 'none.bin')") is not None
    assert client("name_of_error(dataset_snapshot_download, 'acme/none')") is not None


def test_models_pulled_by_our_client_are_served_from_the_library(
    outsider: Outsider, served: Served, tmp_path: Path
) -> None:
    events: list[Event] = []
    library = Library(tmp_path / "library")
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "MODELSCOPE_ENDPOINT": served.url,
        **authority().environ,
    }
    command = [str(COMMAND), "pull", "ms:acme/tiny", "--library", str(library.root)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    options = MirrorOptions(ReloadableSettings(Words(tls=lambda: authority().context)))
    with mirror(("127.0.0.1", 0), library, Shelf({}), events.append, options=options) as server:
        environ["MODELSCOPE_ENDPOINT"] = server.url
        script = f"{_PRELUDE}\nprint('\\n' + snapshot_download('acme/tiny'))"
        python = outsider(f"modelscope=={NEW}")
        done = subprocess.run([python, "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.splitlines()[-1])
    assert _names(path) == _names(served.folder)
    assert _equal(path, served)
