"""The matrix: real clients, version by version, load from each view through their own API, on line and off.

A cell says what a client fetched that it had: `hit` is nothing. docs/views.md has the table (`python docs/matrix.py`).
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from preheat.core.events import Event
from preheat.mirror.api.folders import Shelf
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.server import Server
from preheat.views.layouts.huggingface import HuggingFaceCache
from preheat.views.layouts.local_dir import LocalDir
from preheat.views.layouts.modelscope import ModelScopeCache
from preheat.views.layouts.modelscope_old import OldModelScopeCache
from preheat.views.links import AUTO, COPY, HARDLINK, SHIELDED
from preheat.views.placer import place
from preheat.views.view_protocol import View
from tests.authority import authority
from tests.outsiders.conftest import Outsider, Served
from tests.outsiders.matrix import NOWHERE, SUBSET, WHOLE, Client, Placed, record, stale
from tests.outsiders.modelscope_hub import ModelScopeHub
from tests.views.kept import blob_path, keep_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HUGGING_FACE = ["0.23.5", "0.30.2", "0.35.3", "0.36.2", "1.17.0", "1.31.0", "1.33.0", "2.4.0"]
OLD_MODELSCOPE, NEW_MODELSCOPE = "1.27.0", "1.40.2"


@pytest.fixture(scope="module")
def placed(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Placed:
    return Placed(served, tmp_path_factory.mktemp("placed"))


# ---- huggingface_hub


class HuggingFaceClient(Client):
    """huggingface_hub, offline unless it gets an endpoint."""

    def __init__(self, version: str, outsider: Outsider, home: Path) -> None:
        self.name = f"huggingface_hub {version}"
        self.version = tuple(map(int, version.split(".")))
        super().__init__(outsider(f"huggingface_hub=={version}"), home, "from huggingface_hub import *")

    def off(self, expression: str, **environ: str) -> str:
        return self(expression, HF_HUB_OFFLINE="1", HF_ENDPOINT=NOWHERE, **environ)

    def on(self, endpoint: str, expression: str, **environ: str) -> str:
        return self(expression, HF_ENDPOINT=endpoint, HF_HUB_DISABLE_TELEMETRY="1", **authority().environ, **environ)


@pytest.fixture(scope="module", params=HUGGING_FACE)
def hf(
    request: pytest.FixtureRequest, outsider: Outsider, tmp_path_factory: pytest.TempPathFactory
) -> HuggingFaceClient:
    return HuggingFaceClient(request.param, outsider, tmp_path_factory.mktemp("home"))


def every_way(placed: Placed, files: tuple[str, ...] = WHOLE, more: str = "") -> str:
    """Load each file, then all at once; return the folder."""
    names = [file.path for file in placed.snapshot.only(files).files]
    return f"[hf_hub_download('acme/tiny', name{more}) for name in {names}] and snapshot_download('acme/tiny'{more})"


@pytest.mark.parametrize("pinned", [False, True], ids=["branch", "pinned"])
@pytest.mark.parametrize("files", [WHOLE, SUBSET], ids=["whole", "subset"])
def test_the_hugging_face_cache_is_read_off_line(
    hf: HuggingFaceClient, placed: Placed, files: tuple[str, ...], pinned: bool, tmp_path: Path
) -> None:
    # Pinned in the recipe or not, the app names no revision. As hard links and as symlinks, as `run` does it for root.
    commit, ways = (f"@{placed.snapshot.commit}", SHIELDED) if pinned else ("", AUTO)
    placed.place(HuggingFaceCache(ways), tmp_path / "hub", files, f"hf:acme/tiny{commit}")
    said = hf.off(every_way(placed, files), HF_HUB_CACHE=str(tmp_path / "hub"))
    assert placed.same(Path(said), files), said
    record(hf.name, f"hf-cache off line{', subset' if files else ''}", "hit")


def test_the_hugging_face_cache_is_believed_on_line(hf: HuggingFaceClient, placed: Placed, tmp_path: Path) -> None:
    placed.place(HuggingFaceCache(), tmp_path / "hub")
    placed.fetched()
    said = hf.on(placed.served.url, every_way(placed), HF_HUB_CACHE=str(tmp_path / "hub"))
    assert placed.same(Path(said)), said
    fetched = placed.fetched()
    record(hf.name, "hf-cache on line", fetched)
    assert fetched == "hit"


def test_a_whole_snapshot_has_a_tree_for_those_that_want_one(
    hf: HuggingFaceClient, placed: Placed, tmp_path: Path
) -> None:
    if hf.version < (1, 26):
        pytest.skip("it keeps no trees, or cannot be asked for them")
    placed.place(HuggingFaceCache(), tmp_path / "hub")
    said = hf.off("sorted(f.path for f in get_cached_repo_tree('acme/tiny'))", HF_HUB_CACHE=str(tmp_path / "hub"))
    assert said == str(sorted(file.path for file in placed.snapshot.files))


def test_a_client_s_scan_finds_no_fault(hf: HuggingFaceClient, placed: Placed, tmp_path: Path) -> None:
    snapshot = placed.place(HuggingFaceCache(), tmp_path / "hub")
    said = hf.off(
        "[(r.repo_id, r.size_on_disk, sorted(r.refs)) for r in scan_cache_dir().repos], len(scan_cache_dir().warnings)",
        HF_HUB_CACHE=str(tmp_path / "hub"),
    )
    assert said == f"([('acme/tiny', {snapshot.size}, ['main'])], 0)"


def test_a_local_dir_is_taken_off_line(hf: HuggingFaceClient, placed: Placed, tmp_path: Path) -> None:
    placed.place(LocalDir(), tmp_path / "here")
    here = f", local_dir={str(tmp_path / 'here')!r}"
    names = [file.path for file in placed.snapshot.files]
    said = hf.off(f"[hf_hub_download('acme/tiny', name{here}) for name in {names}]")
    assert said == str([str(tmp_path / "here" / name) for name in names])
    said = hf.off(f"snapshot_download('acme/tiny'{here})")
    if hf.version < (0, 24):
        # It never looks for a local_dir's snapshot off line, be it its own.
        assert said == "<LocalEntryNotFoundError>"
        record(hf.name, "local-dir off line", "hit, file by file")
    else:
        assert placed.same(Path(said)), said
        record(hf.name, "local-dir off line", "hit")


def test_a_local_dir_is_believed_on_line(hf: HuggingFaceClient, placed: Placed, tmp_path: Path) -> None:
    placed.place(LocalDir(), tmp_path / "here")
    placed.fetched()
    said = hf.on(placed.served.url, every_way(placed, more=f", local_dir={str(tmp_path / 'here')!r}"))
    assert placed.same(Path(said)), said
    fetched = placed.fetched()
    record(hf.name, "local-dir on line", fetched)
    assert fetched == "hit"


def test_the_client_itself_writes_in_place_and_only_a_file_of_its_own_is_safe_from_that(
    hf: HuggingFaceClient, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("the mode stops it")
    library, folder = tmp_path / "library", tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text("old")
    for name, ways in (("linked", (HARDLINK,)), ("own", (COPY,))):
        place(
            LocalDir(ways),
            keep_folder(library, folder, "hf:acme/tiny"),
            blob_path(library),
            tmp_path / name,
            whole=True,
        )
    (folder / "config.json").write_text("new")
    place(
        HuggingFaceCache(),
        keep_folder(library, folder, "hf:acme/tiny"),
        blob_path(library),
        tmp_path / "hub",
        whole=True,
    )
    heard: list[Event] = []
    blobs = {path: path.read_bytes() for path in (library / "blobs").rglob("*") if path.is_file()}
    with Server(
        ("127.0.0.1", 0), partial(answer, find=Shelf({"acme/tiny": folder}).find), heard.append, tls=authority().context
    ) as server:
        for name, safe in (("own", True), ("linked", False)):
            call = f"snapshot_download('acme/tiny', local_dir={str(tmp_path / name)!r})"
            hf.on(server.url, call, HF_HUB_CACHE=str(tmp_path / "hub"))
            assert (tmp_path / name / "config.json").read_text() == "new"
            assert ({path: path.read_bytes() for path in blobs} == blobs) == safe


# ---- modelscope


class ModelScopeClient(Client):
    """modelscope, on line at a hub over TLS, or with `local_files_only`."""

    def __init__(self, version: str, outsider: Outsider, home: Path) -> None:
        self.name = f"modelscope {version}"
        self.version = version
        prelude = (
            "from modelscope.hub.snapshot_download import snapshot_download\n"
            "from modelscope.hub.file_download import model_file_download"
        )
        super().__init__(outsider(f"modelscope=={version}"), home, prelude)

    def on(self, hub: ModelScopeHub, expression: str, **environ: str) -> str:
        where = {"MODELSCOPE_DOMAIN": hub.domain, "REQUESTS_CA_BUNDLE": str(hub.certificate)}
        if self.version == NEW_MODELSCOPE:
            where["MODELSCOPE_ENDPOINT"] = f"https://{hub.domain}"
        return self(expression, **where, MODELSCOPE_DOWNLOAD_INTRA_CLOUD="false", **environ)


@pytest.fixture(scope="module")
def hub(placed: Placed) -> Iterator[ModelScopeHub]:
    hub = ModelScopeHub(placed.served.folder, "acme/tiny-2.5", placed.snapshot.commit)
    yield hub
    hub.close()


@pytest.fixture(
    scope="module",
    params=[
        (OLD_MODELSCOPE, OldModelScopeCache()),
        (NEW_MODELSCOPE, OldModelScopeCache()),
        (NEW_MODELSCOPE, ModelScopeCache()),
    ],
    ids=lambda param: f"{param[0]}-{param[1].kind}",
)
def ms(
    request: pytest.FixtureRequest, outsider: Outsider, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ModelScopeClient, View]:
    version, view = request.param
    return ModelScopeClient(version, outsider, tmp_path_factory.mktemp("home")), view


@pytest.mark.parametrize("ref", ["ms:acme/tiny-2.5", "hf:acme/tiny-2.5"])
@pytest.mark.parametrize("files", [WHOLE, SUBSET], ids=["whole", "subset"])
def test_a_modelscope_cache_is_read_off_line(
    ms: tuple[ModelScopeClient, View],
    placed: Placed,
    files: tuple[str, ...],
    ref: str,
    tmp_path: Path,
) -> None:
    client, view = ms
    # Whichever hub it came from, the bytes are the same.
    placed.place(view, tmp_path / "cache", files, ref)
    environ = {"MODELSCOPE_CACHE": str(tmp_path / "cache"), "MODELSCOPE_DOMAIN": "127.0.0.1:9"}
    folder = client("snapshot_download('acme/tiny-2.5', local_files_only=True)", **environ)
    assert placed.same(Path(folder), files), folder
    # Without a revision, 1.40 asks the network for one, and waits for it to fail.
    said = "model_file_download('acme/tiny-2.5', 'config.json', revision='master', local_files_only=True)"
    file = client(said, **environ)
    assert Path(file) == Path(folder) / "config.json"
    record(client.name, f"{view.kind} off line{', subset' if files else ''}", "hit")


def test_a_modelscope_cache_is_believed_on_line(
    ms: tuple[ModelScopeClient, View], placed: Placed, hub: ModelScopeHub, tmp_path: Path
) -> None:
    client, view = ms
    hub.sent.clear()
    placed.place(view, tmp_path / "cache", ref="ms:acme/tiny-2.5")
    environ = {"MODELSCOPE_CACHE": str(tmp_path / "cache")}
    folder = client.on(hub, "snapshot_download('acme/tiny-2.5')", **environ)
    assert placed.same(Path(folder)), folder
    file = client.on(hub, "model_file_download('acme/tiny-2.5', 'config.json')", **environ)
    assert Path(file) == Path(folder) / "config.json"
    record(client.name, f"{view.kind} on line", "hit" if not hub.sent else f"fetches {len(set(hub.sent))} files")
    assert hub.sent == []


def test_the_old_client_fetches_what_an_older_commit_changed_last(
    ms: tuple[ModelScopeClient, View], placed: Placed, hub: ModelScopeHub, tmp_path: Path
) -> None:
    client, view = ms
    placed.place(view, tmp_path / "cache", ref="ms:acme/tiny-2.5")
    hub.sent.clear()
    hub.revisions = {"config.json": "a" * 40}
    folder = client.on(hub, "snapshot_download('acme/tiny-2.5')", MODELSCOPE_CACHE=str(tmp_path / "cache"))
    hub.revisions = {}
    # The new one looks at digests.
    assert hub.sent == (["config.json"] if client.version == OLD_MODELSCOPE else [])
    assert placed.same(Path(folder))
    # And what it fetched, it put beside: the library's own file has the same name as ever.
    config = placed.snapshot.file("config.json")
    assert config is not None
    blob = blob_path(placed.library)(config.digest)
    assert blob.read_bytes() == (placed.served.folder / "config.json").read_bytes()
    assert (Path(folder) / "config.json").samefile(blob) == (hub.sent == [])


def test_the_document_says_what_was_seen() -> None:
    assert stale == []
