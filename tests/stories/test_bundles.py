"""Export and import: models carried to a machine without a network, in a tar that any tar can read."""

import hashlib
import io
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.stories.disk import disk
from tests.stories.two_machines import another, locked

RECIPE = """
[app]
name = "demo"
command = ["python3", "{dir}/app.py"]
[[needs]]
ref = "acme/tiny"
view = "flat"
at = "checkpoints"
files = ["*.safetensors", "config.json"]
"""


@pytest.fixture
def app(preheat: Preheat) -> Preheat:
    return locked(preheat, RECIPE)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Preheat]:
    """A machine without a network."""
    with another(tmp_path / "other") as other:
        yield other


def exported(app: Preheat, *words: str) -> Path:
    told = app("export", *words)
    assert told.status == 0, told.err
    return app.folder / words[words.index("-o") + 1]


def flip(path: Path, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0] ^ 1
        file.seek(at)
        file.write(bytes([byte]))


def test_an_app_is_carried_whole(app: Preheat, other: Preheat, model: Path) -> None:
    bundle = exported(app, "-o", "demo.tar")
    told = other("import", str(bundle), "--recipes", "apps", "--json")
    assert told.status == 0, told.out + told.err
    assert told.last["new"] == sum((model / name).stat().st_size for name in ("model.safetensors", "config.json"))
    placed = other("pull", "apps/demo/preheat.toml", "--locked")
    assert placed.status == 0, placed.err
    taken = other.folder / "apps/demo/checkpoints/model.safetensors"
    assert taken.read_bytes() == (model / "model.safetensors").read_bytes()
    again = other("import", str(bundle), "--recipes", "apps", "--json").last
    assert again["new"] == 0


def test_import_and_run_name_the_apps_own_code_if_it_is_missing(app: Preheat, other: Preheat) -> None:
    bundle = exported(app, "-o", "demo.tar")
    told = other("import", str(bundle), "--recipes", "apps")
    assert f"copy the app's own folder to {other.folder}/apps/demo" in told.out, told.out
    ended = other("run", "--locked", "apps/demo/preheat.toml")
    assert ended.status == 2
    assert f"{other.folder}/apps/demo/app.py does not exist" in ended.err
    assert "restart" not in ended.err
    (other.folder / "apps/demo/app.py").write_text("print('started')", encoding="utf-8")
    elsewhere = str(other.folder / "else where")
    for library in ((), ("--library", elsewhere)):
        told = other("import", str(bundle), "--recipes", "apps", *library)
        command = told.out.strip().rpartition("Next: preheat ")[2]
        assert ("--library" in command) == bool(library)
        started = other(*shlex.split(command))
        assert (started.status, "started" in started.out) == (0, True), started.err


def test_any_tar_reads_it(app: Preheat, tmp_path: Path, model: Path) -> None:
    bundle = exported(app, "-o", "b.tar", "--split", "2M")
    pieces = sorted(app.folder.glob("b.tar.*"))
    assert not bundle.exists()
    assert len(pieces) == 5
    at = tmp_path / "unpacked"
    at.mkdir()
    whole = b"".join(piece.read_bytes() for piece in pieces)
    subprocess.run(["tar", "x"], input=whole, cwd=at, check=True)
    digest = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    blob = at / "preheat-bundle/blobs/sha256" / digest
    assert blob.read_bytes() == (model / "model.safetensors").read_bytes()


def test_pieces_in_any_order(app: Preheat, other: Preheat) -> None:
    exported(app, "-o", "b.tar", "--split", "2M")
    pieces = [str(piece) for piece in sorted(app.folder.glob("b.tar.*"), reverse=True)]
    assert other("import", *pieces).status == 0
    assert other("verify").status == 0


@pytest.mark.parametrize(
    "fault",
    ["missing", "last missing", "short", "altered", "twice", "not a bundle", "no file", "swapped", "of another"],
)
def test_what_is_wrong_with_pieces(app: Preheat, other: Preheat, fault: str) -> None:
    exported(app, "-o", "b.tar", "--split", "2M")
    pieces = sorted(app.folder.glob("b.tar.*"))
    match fault:
        case "missing":
            del pieces[2]
        case "last missing":
            del pieces[-1]
        case "short":
            os.truncate(pieces[1], 1_000_000)
        case "altered":
            flip(pieces[2], 1000)
        case "twice":
            pieces.append(pieces[1].with_name("copy.001"))
            pieces[-1].write_bytes(pieces[1].read_bytes())
        case "swapped":
            two, three = pieces[1].read_bytes(), pieces[2].read_bytes()
            pieces[1].write_bytes(three)
            pieces[2].write_bytes(two)
        case "of another":
            (app.folder / "preheat.toml").write_text(RECIPE.replace('"config.json"', '"config.json", "voices/*"'))
            assert app("lock").status == app("pull", "--quiet").status == 0
            exported(app, "-o", "c.tar", "--split", "2M")
            body = (app.folder / "c.tar.002").read_bytes()
            assert body != pieces[2].read_bytes()
            pieces[2].write_bytes(body)
        case "not a bundle":
            pieces[0].write_bytes(b"x" * 2_097_152)
        case _:
            pieces[1].unlink()
    told = other("import", *map(str, pieces))
    assert told.status == (4 if fault in ("altered", "swapped", "of another") else 2), told.err
    assert "Traceback" not in told.err
    assert told.err.count("\n   hint: ") == 1
    assert json.loads(other("ls", "--json").out.splitlines()[-1])["versions"] == []


def test_the_difference_to_an_earlier_bundle(app: Preheat, other: Preheat, model: Path) -> None:
    first = exported(app, "-o", "may.tar")
    (app.folder / "preheat.toml").write_text(RECIPE.replace('"config.json"', '"config.json", "voices/*"'))
    assert app("lock").status == 0
    assert app("pull", "--quiet").status == 0
    later = exported(app, "-o", "june.tar", "--since", "may.tar")
    assert later.stat().st_size < 3_100_000
    refused = other("import", str(later))
    assert refused.status == 5
    assert "earlier bundle" in refused.err
    assert other("import", str(first)).status == 0
    assert other("import", str(later)).status == 0
    assert other("show", "acme/tiny").status == 0


def test_a_bundle_of_another_app_leaves_nothing_out_and_that_is_said(app: Preheat, other: Preheat) -> None:
    assert app("pull", "acme/tiny", "--files", "note.txt").status == 0
    (app.folder / "note").mkdir()
    (app.folder / "note/preheat.toml").write_text(
        '[app]\nname = "note"\n[[needs]]\nref = "acme/tiny"\nfiles = ["note.txt"]\n'
    )
    exported(app, "note/preheat.toml", "-o", "note.tar")
    told = app("export", "-o", "demo.tar", "--since", "note.tar")
    assert (told.status, "note.tar: has none of these files" in told.err) == (0, True), told.err
    assert other("import", str(app.folder / "demo.tar")).status == 0
    assert other("verify").status == 0


@pytest.mark.parametrize("fault", ["truncated", "in a header", "altered", "longer", "empty"])
def test_a_damaged_bundle_is_refused_and_the_whole_one_taken(app: Preheat, other: Preheat, fault: str) -> None:
    bundle = exported(app, "-o", "b.tar")
    whole = bundle.read_bytes()
    match fault:
        case "truncated":
            os.truncate(bundle, len(whole) // 2)
        case "in a header":
            at = whole.index(b"preheat-bundle/blobs/")
            flip(bundle, at + 3)
        case "altered":
            flip(bundle, len(whole) // 2)
        case "longer":
            bundle.write_bytes(whole + b"more" * 1000)
        case _:
            bundle.write_bytes(b"")
    told = other("import", str(bundle), "--recipes", "apps")
    # What follows the end of a tar is not read.
    assert told.status == {"altered": 4, "longer": 0}.get(fault, 2), told.err
    assert "Traceback" not in told.err
    if fault != "longer":
        assert json.loads(other("ls", "--json").out.splitlines()[-1])["versions"] == []
        assert not (other.folder / "apps").exists()
    bundle.write_bytes(whole)
    assert other("import", str(bundle), "--recipes", "apps").status == 0
    assert other("verify").status == 0


def test_a_killed_import_is_resumed(app: Preheat, other: Preheat) -> None:
    bundle = exported(app, "-o", "b.tar")
    running = other.start("import", str(bundle), "--json")
    running.event("resolved")
    running.kill(signal.SIGKILL)
    assert other("import", str(bundle)).status == 0
    assert other("verify").status == 0


def test_nothing_is_replaced(app: Preheat, other: Preheat) -> None:
    (app.folder / "b.tar").write_text("mine")
    told = app("export", "-o", "b.tar")
    assert told.status == 5
    assert (app.folder / "b.tar").read_text() == "mine"
    bundle = exported(app, "-o", "c.tar")
    recipe = other.folder / "apps/demo/preheat.toml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text("mine")
    assert other("import", str(bundle), "--recipes", "apps").status == 5
    assert recipe.read_text() == "mine"


def test_what_is_missing_is_not_exported(app: Preheat) -> None:
    for words in (["acme/other"], ["acme/tiny", "./nowhere.toml"], ["indextts2"]):
        told = app("export", *words, "-o", "b.tar")
        assert told.status in (2, 5), told.err
        assert not (app.folder / "b.tar").exists()


def test_dry_runs_change_nothing(app: Preheat, other: Preheat) -> None:
    planned = app("export", "-o", "b.tar", "--dry-run", "--json").last
    assert not (app.folder / "b.tar").exists()
    bundle = exported(app, "-o", "b.tar")
    assert [one["size"] for one in planned["files"]] == [bundle.stat().st_size]
    assert other("import", str(bundle), "--dry-run").status == 0
    assert not (other.library / "blobs").exists()


def test_the_same_content_gives_the_same_bytes(app: Preheat) -> None:
    first, second = exported(app, "-o", "a.tar"), exported(app, "-o", "b.tar")
    assert first.read_bytes() == second.read_bytes()


def test_a_disk_that_fills_up(app: Preheat, tmp_path: Path) -> None:
    with disk(tmp_path / "small", "size=4m") as small:
        told = app("export", str(app.folder / "preheat.toml"), "-o", "b.tar", inside=small.inside)
        assert told.status == 5, told.err
        assert list(small.path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "preheat-bundle/../../evil", "preheat-bundle/blobs/sha256/" + "0" * 64]
)
def test_hostile_names_are_ignored(app: Preheat, other: Preheat, name: str) -> None:
    bundle = exported(app, "-o", "b.tar")
    with tarfile.open(bundle, "a") as tar:
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert other("import", str(bundle), "--recipes", "apps").status == 0
    assert not list(other.folder.rglob("evil"))


def test_hostile_indexes_are_refused(app: Preheat, other: Preheat) -> None:
    newer = b'{"version": 9, "models": [], "blobs": []}'
    outside = b'{"version": 1, "apps": [".."], "models": [], "blobs": []}'
    digest = f"sha256:{'0' * 64}"
    model = {"ref": "hf:acme/tiny", "commit": "0" * 40, "files": [("model.bin", 9, digest)]}
    negative = json.dumps({"version": 1, "models": [model], "blobs": [(digest, -1)]}).encode()
    for body in (b"", b"{}", b"[" * 100_000, newer, outside, negative):
        with tarfile.open(other.folder / "evil.tar", "w") as tar:
            entry = tarfile.TarInfo("preheat-bundle/index.json")
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
        told = other("import", "evil.tar")
        assert told.status == 2, told.err
        assert "Traceback" not in told.err


def test_a_bundle_does_not_replace_what_the_library_has_of_a_commit(app: Preheat, other: Preheat, model: Path) -> None:
    bundle = exported(app, "-o", "b.tar")
    assert other("import", str(bundle), "--recipes", "apps").status == 0
    with tarfile.open(bundle) as tar:
        index = tar.extractfile("preheat-bundle/index.json")
        assert index is not None
        entry = json.load(index)["models"][0] | {"others": []}
    for size in ((model / "config.json").stat().st_size, 40):
        body = b"{}".ljust(size)
        digest = hashlib.sha256(body).hexdigest()
        told = {"version": 1, "models": [], "blobs": [(f"sha256:{digest}", size)]}
        told["models"] = [entry | {"files": [("config.json", size, f"sha256:{digest}")]}]
        with tarfile.open(other.folder / "other.tar", "w") as tar:
            for name, content in (("index.json", json.dumps(told).encode()), (f"blobs/sha256/{digest}", body)):
                member = tarfile.TarInfo(f"preheat-bundle/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        assert other("import", "other.tar").status == (0 if size == len((model / "config.json").read_bytes()) else 4)
        placed = other("pull", "apps/demo/preheat.toml", "--locked")
        assert placed.status == 0, placed.err
        assert (other.folder / "apps/demo/checkpoints/config.json").read_bytes() == (model / "config.json").read_bytes()
    hint = other("import", "other.tar").err.rstrip().rpartition(": preheat ")[2]
    assert other(*hint.split(), "--yes").status == 0
    assert other("import", "other.tar").status == 0


@pytest.mark.slow
def test_a_machine_with_nothing_but_python(app: Preheat, tmp_path: Path, model: Path) -> None:
    bundle = exported(app, "-o", "b.tar", "--with-preheat")
    at = tmp_path / "bare"
    at.mkdir()
    subprocess.run(["tar", "xf", str(bundle), "preheat-bundle/preheat.py", "preheat-bundle/python"], cwd=at, check=True)
    python = getattr(sys, "_base_executable", sys.executable)
    words = [python, "-I", "preheat-bundle/preheat.py"]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(at)}
    subprocess.run([*words, "import", str(bundle), "--recipes", "apps"], cwd=at, env=env, check=True)
    subprocess.run([*words, "pull", "apps/demo/preheat.toml"], cwd=at, env=env, check=True)
    placed = at / "apps/demo/checkpoints/model.safetensors"
    assert placed.read_bytes() == (model / "model.safetensors").read_bytes()
    starter = at / "preheat-bundle/preheat.py"
    starter.write_text(starter.read_text().replace(repr(platform.machine()), "'another'"))
    refused = subprocess.run([*words, "ls"], cwd=at, env=env, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "needs a machine of the kind another" in refused.stderr


def test_a_bundle_of_a_model_keeps_its_branch(app: Preheat, other: Preheat, hub: FlakyHub) -> None:
    assert app("pull", "acme/tiny").status == 0
    bundle = exported(app, "acme/tiny", "-o", "b.tar")
    assert other("import", str(bundle)).status == 0
    assert other("view", "hf-cache", "cache", "acme/tiny").status == 0
    assert (other.folder / "cache/models--acme--tiny/refs/main").exists()


def test_what_a_bundle_has_is_copied_and_not_downloaded(app: Preheat, other: Preheat) -> None:
    bundle = exported(app, "preheat.toml", "-o", "app.tar")
    told = other("import", str(bundle))
    assert told.status == 0, told.err
    assert "9.0 MB to copy on this machine" in told.err
    assert "download" not in told.err + told.out
    again = other("import", str(bundle), "--library", str(other.folder / "second"), "--json")
    (resolved,) = (event for event in again.events if event["event"] == "resolved")
    (planned,) = (event for event in again.events if event["event"] == "planned")
    assert resolved["local"] == resolved["missing"] == planned["local"] == planned["missing"] > 9_000_000


@pytest.mark.parametrize("words", [("my app.tar",), ("acme/tiny", "--from", "my app.tar")])
def test_a_bundle_that_is_pulled_leads_to_its_import(app: Preheat, words: tuple[str, ...]) -> None:
    exported(app, "preheat.toml", "-o", "my app.tar")
    told = app("pull", *words, "--library", str(app.folder / "second"))
    hint = told.err.partition("hint: if it is a bundle: ")[2].partition(";")[0].strip()
    assert hint == f"preheat import --library {app.folder}/second 'my app.tar'", told.err
    assert app(*shlex.split(hint)[1:]).status == 0
