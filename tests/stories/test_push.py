"""Push to an object store: content-addressed, resumed, by several at once, and nothing half-published."""

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat, Told
from tests.small_store import KEY, SECRET, SmallStore, store_serving
from tests.stories.two_machines import another, locked

RECIPE = """
[app]
name = "demo"
command = ["python3", "{dir}/app.py"]
[[needs]]
ref = "acme/tiny"
files = ["*.safetensors", "config.json", "same.json"]
[[needs]]
ref = "acme/tiny"
files = ["voices/*", "config.json"]
view = "flat"
at = "checkpoints"
"""
TO = "s3://models/team"


@pytest.fixture
def store() -> Iterator[SmallStore]:
    """A store over TLS."""
    with store_serving() as store:
        yield store


@pytest.fixture
def app(preheat: Preheat, store: SmallStore) -> Preheat:
    """A locked recipe, whose files the machine's library has, and a login of the store."""
    preheat.env |= store.environ
    return locked(preheat, RECIPE)


def manifest(store: SmallStore) -> dict[str, object]:
    [key] = store.keys(r"/models/.*/[0-9a-f]{40}\.json$")
    found: dict[str, object] = json.loads(store.objects[key])
    return found


def secrets_of(told: Told) -> list[str]:
    return [secret for secret in (KEY, SECRET, "X-Amz-Signature") if secret in told.out + told.err]


def test_a_push_sends_each_blob_once_and_the_manifest_after_them(app: Preheat, store: SmallStore, model: Path) -> None:
    told = app("push", TO, "--dry-run", "--json")
    assert told.status == 0, told.out + told.err
    assert (told.last["missing_blobs"], told.last["sent"]) == (4, 0)
    assert store.objects == {}
    told = app("push", TO, "--json")
    assert told.status == 0, told.out + told.err
    assert told.last["apps"] == ["demo"]
    assert told.last["sent"] == told.last["size"] > 12_000_000
    assert [event["size"] for event in told.events if event["event"] == "reading"] == [told.last["sent"]]
    assert len(store.keys("^team/blobs/")) == 4
    assert store.keys("^team/apps/") == ["team/apps/demo/preheat.lock", "team/apps/demo/preheat.toml"]
    assert {path for path, _, _ in manifest(store)["files"]} == {  # type: ignore[attr-defined]
        "model.safetensors",
        "config.json",
        "same.json",
        "voices/deep/low.bin",
        "voices/müde & froh #1.txt",
    }
    written = [one for one in store.asked if one.startswith(("PUT", "POST"))]
    order = [next(part for part in ("blobs", "models", "apps") if f"team/{part}/" in one) for one in written]
    assert order == sorted(order, key=["blobs", "models", "apps"].index)
    assert store.objects["team/apps/demo/preheat.lock"] == (app.folder / "preheat.lock").read_bytes()
    # The second time, nothing is written.
    store.asked.clear()
    told = app("push", TO, "--json")
    assert (told.status, told.last["sent"]) == (0, 0)
    assert {one.split()[0] for one in store.asked} == {"GET", "HEAD"}
    assert secrets_of(told) == []


def test_a_killed_push_publishes_nothing_and_is_resumed(app: Preheat, store: SmallStore) -> None:
    store.faults.hold = threading.Event()
    running = app.start("push", TO, "--json")
    running.until(lambda _: any(one.startswith("PUT") and ".safetensors" not in one for one in store.asked))
    running.until(lambda _: len(store.keys("/blobs/")) == 3)  # all but the large one, whose parts wait
    running.kill(signal.SIGKILL)
    store.faults.hold.set()
    assert store.keys("/models/|/apps/") == []
    told = app("push", TO, "--json")
    assert told.status == 0, told.out + told.err
    assert told.last["missing_blobs"] == 1
    assert len(store.keys("/models/")) == 3


def test_ctrl_c_removes_the_parts_of_an_upload(app: Preheat, store: SmallStore) -> None:
    store.faults.hold = threading.Event()
    running = app.start("push", TO, "--json", "--limit-rate", "4M")
    running.until(lambda _: store.uploads)
    running.process.send_signal(signal.SIGINT)
    store.faults.hold.set()
    assert running.ended().status == 130
    assert store.uploads == {}
    assert store.keys("/models/") == []


def apart(app: Preheat, name: str, files: str) -> str:
    """Write a recipe of some files of the same model, with a lock; return its path."""
    (app.folder / name).mkdir()
    path = f"{name}/preheat.toml"
    needs = f'[[needs]]\nref = "acme/tiny"\nfiles = {files}\n'
    (app.folder / path).write_text(f'[app]\nname = "{name}"\ncommand = ["true"]\n{needs}')
    assert app("lock", path).status == 0
    return path


def test_two_pushes_of_other_files_of_a_commit_are_joined(app: Preheat, store: SmallStore) -> None:
    recipes = apart(app, "one", '["model.safetensors"]'), apart(app, "two", '["voices/*"]')
    for conditions in ("", "ignored", "refused"):
        store.faults.no_conditions = conditions
        store.objects.clear()
        both = [app.start("push", TO, recipe, "--json") for recipe in recipes]
        assert [one.ended().status for one in both] == [0, 0], [one.out for one in both]
        listed = {path for path, _, _ in manifest(store)["files"]}  # type: ignore[attr-defined]
        assert listed == {"model.safetensors", "voices/deep/low.bin", "voices/müde & froh #1.txt"}


def test_false_etags_do_not_stop_a_push(app: Preheat, store: SmallStore) -> None:
    assert app("push", TO, apart(app, "one", '["config.json"]')).status == 0
    store.faults.false_tags = True
    told = app("push", TO, "--json")
    assert told.status == 0, told.out + told.err
    assert len(manifest(store)["files"]) == 5  # type: ignore[arg-type]


def test_a_busy_store_is_asked_again(app: Preheat, store: SmallStore) -> None:
    store.faults.busy = 3
    told = app("push", TO, "--json")
    assert told.status == 0, told.out + told.err


def test_an_upload_whose_parts_fail_is_begun_again(app: Preheat, store: SmallStore) -> None:
    store.faults.broken_parts = 8  # more than the client library tries by itself
    told = app("push", TO, "--json")
    assert told.status == 0, told.out + told.err
    assert "retrying" in [one["event"] for one in told.events]
    assert store.uploads == {}
    assert len(store.keys("/models/")) == 3


def test_a_store_that_loses_bytes_gets_no_manifest(app: Preheat, store: SmallStore) -> None:
    store.faults.short = "/blobs/sha256/"
    told = app("push", TO, "--json")
    assert told.status == 3, told.out
    assert "bytes of" in told.last["message"]
    assert store.keys("/models/") == []
    store.faults.short = ""


def test_a_corrupt_blob_is_not_sent(app: Preheat, store: SmallStore) -> None:
    blob = max((app.library / "blobs/sha256").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    mode = blob.stat().st_mode
    blob.chmod(0o644)
    with open(blob, "r+b") as file:
        file.seek(8_999_990)
        file.write(b"wrong")
    blob.chmod(mode)
    told = app("push", TO, "--json")
    assert told.status in (4, 5), told.out
    assert store.keys(blob.name) == []
    assert store.keys("/models/") == []
    assert store.uploads == {}


WRONG: list[tuple[str, dict[str, str], int, str]] = [
    ("s3://models/team", {"AWS_ACCESS_KEY_ID": "AKIAOTHERKEY"}, 3, "the credentials are wrong (InvalidAccessKeyId)"),
    ("s3://none/team", {}, 3, "there is no bucket none (NoSuchBucket)"),
    ("s3://models/team", {"AWS_ENDPOINT_URL": "https://127.0.0.1:9"}, 3, "does not answer (connection refused)"),
    ("s3://models/team", {"AWS_ENDPOINT_URL": "http://store.example.org:9"}, 2, "is not encrypted"),
    ("s3://models/../team", {}, 2, "is not a place in an object store"),
    ("models/team", {}, 2, "is not a place in an object store"),
    ("s3://models/team", {"SSL_CERT_FILE": "/dev/null"}, 2, "CA file"),
    ("s3://models/team", {"AWS_ACCESS_KEY_ID": "", "AWS_PROFILE": "none"}, 2, "the profile none"),
]


def test_what_is_wrong_is_said(app: Preheat, store: SmallStore) -> None:
    right = dict(app.env)
    for to, env, status, said in WRONG:
        app.env = right | env
        told = app("push", to, "--json", "--patience", "0s")
        assert told.status == status, told.out + told.err
        assert said in told.last["message"]
        assert told.last["hint"]
        assert "Traceback" not in told.err
        assert secrets_of(told) == []
    app.env = right
    store.faults.expired = True
    told = app("push", TO, "--json")
    assert told.status == 3
    assert "the credentials have expired (ExpiredToken)" in told.last["message"]
    store.faults.expired, store.faults.skewed = False, True
    told = app("push", TO, "--json")
    assert (told.status, "the clock of this machine is wrong" in told.last["message"]) == (3, True), told.out
    told = app("push", TO, "acme/other", "--json")
    assert told.status == 5
    assert store.objects == {}


def test_keys_come_from_the_files_of_aws(app: Preheat, store: SmallStore) -> None:
    (app.folder / ".aws").mkdir()
    keys = f"[default]\naws_access_key_id = wrong\naws_secret_access_key = x\n[mine]\naws_access_key_id = {KEY}\n"
    (app.folder / ".aws/credentials").write_text(f"{keys}aws_secret_access_key = {SECRET}\n")
    (app.folder / ".aws/config").write_text(f"[profile mine]\nregion = eu-west-1\nendpoint_url = {store.url}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"):
        del app.env[name]
    told = app("push", TO, "--json", AWS_PROFILE="mine")
    assert told.status == 0, told.out + told.err
    assert secrets_of(told) == []
    assert KEY.encode() not in b"".join(path.read_bytes() for path in app.library.rglob("*.json"))


def test_without_obstore_the_extra_is_named(app: Preheat, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    (hidden / "obstore").mkdir(parents=True)
    (hidden / "obstore/__init__.py").write_text("raise ImportError('hidden')\n")
    told = app("push", TO, "--json", PYTHONPATH=str(hidden))
    assert told.status == 2
    assert "pip install 'preheat[stores]'" in told.last["hint"]


def test_another_machine_needs_no_hub_after_a_push(app: Preheat, store: SmallStore, tmp_path: Path) -> None:
    assert app("push", TO).status == 0
    with another(tmp_path / "node", app) as node:
        node.env |= store.environ
        told = node("pull", "--from", TO, "--json")
        assert told.status == 0, told.out + told.err
