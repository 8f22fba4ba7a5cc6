"""What a start wrote and read is known by its bytes and places: downloads, archives, and files that were there."""

import hashlib
import os
import pickle
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.library.library import Library
from preheat.recipes.inference.observation import Loaded
from preheat.recipes.inference.trace_log import Body, FileAccess, Reply, TraceLog
from preheat.recipes.places import Places
from preheat.verbs.local_hub import Lead
from preheat.verbs.tracing.observing.app_variables import telling_variables
from preheat.verbs.tracing.observing.app_weights import may_be_weights
from preheat.verbs.tracing.observing.downloads import Downloads
from preheat.verbs.tracing.observing.file_hashes import FileHashes
from preheat.verbs.tracing.observing.known_files import known_files
from preheat.verbs.tracing.observing.observe import TracedApp, observe
from preheat.verbs.tracing.observing.opened_files import first_opens
from preheat.verbs.tracing.observing.unpacked_archives import archive_kind, unpacked_archives
from preheat.verbs.tracing.observing.written_files import WrittenFile, written_files
from preheat.verbs.tracing.traced_start import ObservedStart

COMMIT = "c" * 40
MODEL = b"weights" * 9000


def start(**facts: object) -> ObservedStart:
    log = TraceLog(1, (), (), (), (), ())
    plain = ObservedStart(0.0, Lead("http://127.0.0.1:9"), "", None, {}, log, (), "fanotify", False, None, (), None)
    return replace(plain, **facts)  # type: ignore[arg-type]


def nobody(ref: Ref) -> Snapshot | None:
    del ref
    return None


def put(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def hexed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def body(url: str, data: bytes, start: int = 0, total: int | None = None, key: str = "") -> Body:
    status = 206 if start or (total or len(data)) != len(data) else 200
    return Body(1.0, url, status, start, len(data), total, hexed(data), "", key)


def found(notes: TraceLog, *paths: str) -> list[tuple[str, str]]:
    written = {path: WrittenFile(1.0) for path in paths}
    loaded, served = Downloads(start(notes=notes), written, FileHashes(), nobody).found()
    assert not served
    return [(one.url, Path(one.path).name) for one in loaded]


# ---- downloads


def test_a_response_is_found_by_its_bytes_in_each_place_that_has_them(tmp_path: Path) -> None:
    one, two = put(tmp_path / "one.part", MODEL), put(tmp_path / "deep/two", MODEL)
    other = put(tmp_path / "same_size", bytes(len(MODEL)))
    notes = TraceLog(1, (), (), (), (), (), (body("https://a.example/m", MODEL, total=len(MODEL)),))
    assert found(notes, one, other, two) == [("https://a.example/m", "one.part"), ("https://a.example/m", "two")]


@pytest.mark.parametrize("gap", [False, True])
def test_ranges_count_only_if_they_cover_the_file_without_a_gap(tmp_path: Path, gap: bool) -> None:
    path, url, size = put(tmp_path / "file", MODEL), "https://a.example/m", len(MODEL)
    parts = [(0, 30_000), (20_000, 50_000), (50_000 + gap, size)]
    bodies = tuple(body(url, MODEL[first:last], first, size) for first, last in reversed(parts))
    assert found(TraceLog(1, (), (), (), (), (), bodies), path) == ([] if gap else [(url, "file")])


def test_a_download_that_broke_off_and_was_resumed_is_one(tmp_path: Path) -> None:
    path, url = put(tmp_path / "file", MODEL), "https://a.example/m"
    first = Body(1.0, url, 200, 0, 1000, len(MODEL), hexed(MODEL[:1000]))
    assert found(TraceLog(1, (), (), (), (), (), (first, body(url, MODEL[1000:], 1000, len(MODEL)))), path) == [
        (url, "file")
    ]


def test_two_redirects_to_one_address_without_its_signature_are_told_apart(tmp_path: Path) -> None:
    target, one, two = "https://cdn.example/asset", MODEL, MODEL[::-1]
    replies = tuple(
        Reply(1.0, "GET", f"https://a.example/{name}", 302, 0, target, (), f"from-{name}", f"to-{name}")
        for name in "ab"
    )
    bodies = (body(target, one, total=len(one), key="to-a"), body(target, two, total=len(two), key="to-b"))
    paths = put(tmp_path / "one", one), put(tmp_path / "two", two)
    assert found(TraceLog(1, (), (), (), replies, (), bodies), *paths) == [
        ("https://a.example/a", "one"),
        ("https://a.example/b", "two"),
    ]


def test_what_the_app_serves_itself_is_no_download(tmp_path: Path) -> None:
    path = put(tmp_path / "said.wav", MODEL)
    notes = TraceLog(1, (), (), (), (), (), (body("http://127.0.0.1:7860/say", MODEL, total=len(MODEL)),))
    written = {path: WrittenFile(1.0)}
    own = start(notes=notes, own_ports=frozenset([7860]))
    assert Downloads(own, written, FileHashes(), nobody).found() == ((), ())


def test_a_response_with_an_encoding_is_found_by_its_name(tmp_path: Path) -> None:
    url, path = "https://a.example/vocab.json", put(tmp_path / "vocab.json", MODEL)
    replies = (Reply(1.0, "GET", url, 200, None, "", ()),)
    bodies = (body(url, b"compressed"),)
    assert found(TraceLog(1, (), (), (), replies, (), bodies), path) == [(url, "vocab.json")]


def test_a_hubs_mirror_that_is_written_into_an_app_is_the_hub(tmp_path: Path) -> None:
    path = put(tmp_path / "model.bin", MODEL)
    known = Snapshot(Ref.parse("acme/tiny"), COMMIT, (File("deep/model.bin", len(MODEL), sha256(hexed(MODEL))),))
    url = "https://hub.example/acme/tiny/resolve/main/deep/model.bin"
    notes = TraceLog(1, (), (), (), (), (), (body(url, MODEL, total=len(MODEL)),))
    downloads = Downloads(start(notes=notes), {path: WrittenFile(1.0)}, FileHashes(), lambda ref: known)
    loaded, [served] = downloads.found()
    assert (loaded, served.ref, served.file.path) == ((), known.ref, "deep/model.bin")
    assert downloads.snapshots == (known,)


def test_a_folder_that_was_moved_and_what_no_log_names_is_written(tmp_path: Path) -> None:
    deep, listed = put(tmp_path / "final/a/b.bin", b"x"), put(tmp_path / "listed", b"y")
    moved = ((str(tmp_path / "coming"), str(tmp_path / "final")),)
    seen = start(notes=TraceLog(1, (), (), moved, (), ()))
    assert set(written_files(seen, [listed, str(tmp_path / "gone")], {})) == {deep, listed}
    use = start(used_at=0.0)
    assert not written_files(use, [listed], {}), "it is the first-use command's"


def test_a_fifo_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    hashes = FileHashes()
    assert hashes.size(str(tmp_path / "pipe")) is None
    assert hashes.digest(str(tmp_path / "pipe"), "sha256") is None


def test_code_whose_compiled_form_is_read_counts_as_read() -> None:
    accesses = (FileAccess("/c/repo/__pycache__/hubconf.cpython-311.pyc", 2.0, wrote=False),)
    assert first_opens(start(notes=TraceLog(1, accesses, (), (), (), ())))["/c/repo/hubconf.py"] == 2.0


# ---- archives


def archive(tmp_path: Path, files: dict[str, bytes]) -> tuple[Loaded, Path]:
    path = tmp_path / "saved"
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    data = path.read_bytes()
    return Loaded("https://a.example/code.zip", "", len(data), sha256(hexed(data))), path


@pytest.mark.parametrize(
    ("where", "base", "prefix"),
    [
        ("repo-main/", "", ""),
        ("", "", "repo-main"),
        ("hub/owner_repo_main/", "hub/owner_repo_main", "repo-main"),
        ("site/repo-main/", "site", ""),
    ],
)
def test_members_are_found_where_they_were_unpacked_to(tmp_path: Path, where: str, base: str, prefix: str) -> None:
    files = {"repo-main/a.py": b"A = 1\n", "repo-main/deep/b.bin": MODEL, "repo-main/deep/__init__.py": b""}
    home = tmp_path / "home"
    paths = [put(home / (where + name.removeprefix("repo-main/")), data) for name, data in files.items()]
    paths.append(put(home / "other" / "copy.py", b"A = 1\n"))
    packed = archive(tmp_path, {**files, "repo-main/not_unpacked": b"zzz"})
    [one] = unpacked_archives([packed], dict.fromkeys(paths, WrittenFile(1.0)), FileHashes())
    assert one.base == str(home / base).rstrip("/")
    assert one.prefix == prefix
    assert {member.name for member in one.members} == set(files)
    assert one.others == ("repo-main/not_unpacked",)


def test_members_are_not_looked_for_in_an_installers_cache(tmp_path: Path) -> None:
    files = {"voice/weights.bin": MODEL, "voice/__init__.py": b"A = 1\n"}
    places = ("home/.cache/uv/archive-v0/x1Y2", "app/packages")
    paths = [put(tmp_path / place / name, data) for place in places for name, data in files.items()]
    [one] = unpacked_archives([archive(tmp_path, files)], dict.fromkeys(paths, WrittenFile(1.0)), FileHashes())
    assert one.base == str(tmp_path / "app/packages")


def test_a_checkpoint_is_no_archive_though_it_is_a_zip(tmp_path: Path) -> None:
    _, checkpoint = archive(tmp_path, {"model/data.pkl": MODEL, "model/data/0": MODEL})
    assert archive_kind(checkpoint) == ""
    assert archive_kind(archive(tmp_path, {"code/a.py": MODEL})[1]) == "zip"


def test_hostile_and_damaged_archives_are_no_needs(tmp_path: Path) -> None:
    path = put(tmp_path / "home/x", MODEL)
    loaded, saved = archive(tmp_path, {"../x": MODEL})
    assert unpacked_archives([(loaded, saved)], {path: WrittenFile(1.0)}, FileHashes()) == ()
    saved.write_bytes(saved.read_bytes()[:100])
    assert unpacked_archives([(loaded, saved)], {path: WrittenFile(1.0)}, FileHashes()) == ()


# ---- what was there


def cached(tmp_path: Path, *opened: str, plain: tuple[str, ...] = ()) -> tuple[list[tuple[str, str, str]], list[str]]:
    library = Library(tmp_path / "library")
    known = known_files(opened, plain, library, FileHashes(), nobody)
    return [(str(one.ref), one.commit[:4], one.file.path) for one in known.served], [one.url for one in known.loaded]


@pytest.mark.parametrize("symlinks", [True, False])
def test_a_hugging_face_cache_names_repository_branch_and_commit(tmp_path: Path, symlinks: bool) -> None:
    repo = tmp_path / "any/hub/models--acme--tiny"
    blob = put(repo / "blobs" / hexed(MODEL), MODEL)
    put(repo / "refs/main", COMMIT.encode())
    pointer = repo / "snapshots" / COMMIT / "deep/model.bin"
    pointer.parent.mkdir(parents=True)
    if symlinks:
        pointer.symlink_to(f"../../../blobs/{hexed(MODEL)}")
    else:
        shutil.copyfile(blob, pointer)
    for opened in (str(pointer), *([blob] if symlinks else [])):
        assert cached(tmp_path, opened) == ([("hf:acme/tiny", "cccc", "deep/model.bin")], [])


@pytest.mark.parametrize("folder", ["hub/acme/ti___ny", "models/acme/ti___ny", "models/acme--ti.ny/snapshots/master"])
def test_each_layout_of_modelscope_names_the_repository(tmp_path: Path, folder: str) -> None:
    path = put(tmp_path / "ms" / folder / "model.bin", MODEL)
    if "--" not in folder:
        put(tmp_path / "ms" / folder / ".msc", pickle.dumps([{"Path": "model.bin", "Revision": "1"}]))
        put(tmp_path / "ms" / folder / ".mv", b"Revision:master,CreatedAt:1700000000")
        put(tmp_path / "ms" / folder / ".mdl", pickle.dumps({"id": "acme/ti.ny"}))
    [(ref, _, name)], _ = cached(tmp_path, path)
    assert (ref, name) == ("ms:acme/ti.ny", "model.bin")


def test_a_folder_that_modelscopes_client_downloaded_to_is_no_repository_of_its_own_name(tmp_path: Path) -> None:
    # Clients up to 1.37 leave their notes there, but for the repository's name.
    path = put(tmp_path / "app/checkpoints/model.bin", MODEL)
    put(tmp_path / "app/checkpoints/.msc", pickle.dumps([{"Path": "model.bin", "Revision": "1"}]))
    put(tmp_path / "app/checkpoints/.mv", b"Revision:master,CreatedAt:1700000000")
    assert cached(tmp_path, path) == ([], [])


def test_a_natively_unpacked_file_with_a_time_in_the_future_is_the_starts(tmp_path: Path) -> None:
    path = put(tmp_path / "unpacked", b"x")
    os.utime(path, (4e9, 4e9))
    assert set(written_files(start(used_at=3e9), [path], {})) == {path}


def test_a_folder_of_built_in_weights_is_named_by_its_digests_and_others_are_not(tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    library.prepare(0)
    listed = (File("gpt.pth", len(MODEL), sha256(hexed(MODEL))), File("other", 1, sha256(hexed(b"o"))))
    library.record(Snapshot(Ref.parse("acme/voice"), COMMIT, listed))
    own, renamed = put(tmp_path / "app/own.pth", b"own"), put(tmp_path / "app/renamed.pth", MODEL)
    assert cached(tmp_path, own, renamed, plain=(own, renamed)) == ([("hf:acme/voice", "cccc", "gpt.pth")], [])


def test_weights_are_told_from_code_settings_and_what_git_has(tmp_path: Path) -> None:
    app, home = tmp_path / "app", tmp_path / "home"
    for name in ("tracked.bin", "checkpoints/gpt.pth", "checkpoints/config.yaml", "settings.yaml", "run.py"):
        put(app / name, b"x" * (2_000_000 if name.endswith(("pth", "bin")) else 9))
    if shutil.which("git"):
        for words in (("init", "-q"), ("add", "tracked.bin", "run.py")):
            subprocess.run(("git", *words), cwd=app, check=True, env={"PATH": os.environ["PATH"], "HOME": str(home)})
    else:
        (app / "tracked.bin").unlink()
    venv = put(home / "env/data.bin", b"x" * 2_000_000)
    put(home / "env/pyvenv.cfg", b"")
    places = Places(app, home, home / ".cache", tmp_path / "tmp")
    asked = [
        *(str(path) for path in sorted(app.rglob("*")) if path.is_file() and ".git/" not in str(path)),
        venv,
        put(home / ".insightface/models/a.onnx", b"x"),
        put(home / ".config/app.json", b"x"),
        put(home / "nltk_data/corpora/english", b"x"),
        put(home / "letters/to_a_friend", b"x"),
        put(tmp_path / "tmp/data-gym-cache/9b5ad71b2ce5", b"x"),
        put(tmp_path / "tmp/tmpab12cd34/part", b"x"),
        put(tmp_path / "torch/hub/labels.txt", b"x"),
        put(tmp_path / "torch/hub/repo/hubconf.py", b"x"),
        put(tmp_path / "torch/hub/repo/__init__.py", b""),
        put(home / "letters/run.py", b"x"),
        put(home / ".netrc", b"x"),
        "/usr/share/data.bin",
    ]
    hashes = FileHashes()
    weights = [
        path for path in asked if may_be_weights(path, places, [str(tmp_path / "torch")], hashes.size(path) or 9, None)
    ]
    assert sorted(Path(path).name for path in weights) == [
        "9b5ad71b2ce5",
        "__init__.py",
        "a.onnx",
        "config.yaml",
        "english",
        "gpt.pth",
        "hubconf.py",
        "labels.txt",
    ]


def test_variables_that_choose_a_hub_are_written_down_and_secrets_are_not() -> None:
    environ = {
        "USE_MODELSCOPE": "true",
        "HF_ENDPOINT": "https://hf-mirror.com",
        "MODELSCOPE_ENDPOINT": "https://user:word@modelscope.cn",
        "HF_TOKEN": "hf_secret",
        "HOME": "/home/u",
    }
    assert telling_variables(environ) == {"USE_MODELSCOPE": "true", "HF_ENDPOINT": "https://hf-mirror.com"}
    for address in ("http://127.0.0.1:9", "https://10.0.0.1", "https://hub.internal", "https://a.example/?token=x"):
        assert telling_variables({"HF_ENDPOINT": address}) == {}


@pytest.mark.parametrize("where", ["app", "logs/app", "wandb/tmpab12cd34/app", ".config/refs/app"])
def test_what_an_app_writes_does_not_depend_on_where_its_folder_is(tmp_path: Path, where: str) -> None:
    app, home = tmp_path / where, tmp_path / "home"
    names = ("indextts/tagger_cache/zh.fst", "logs/today.fst", ".cache/uv/a.fst", "tmpab12cd34/b.fst")
    paths = [put(folder / name, b"made") for folder in (app, home) for name in names]
    subject = TracedApp("talk", app, ("true",), environ={"HOME": str(home)}, written=tuple(paths))
    observed = observe(start(), subject, Library(tmp_path / "library"), nobody)
    kept = [str(Path(one.path).relative_to(tmp_path)) for one in observed.observation.made]
    assert sorted(kept) == sorted(f"{folder}/{names[0]}" for folder in (where, "home"))
    opened = [path for path in paths if may_be_weights(path, Places(app, home), (), 9, None)]
    assert opened == [paths[0], paths[4]]
