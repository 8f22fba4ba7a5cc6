"""The programs that containers of a cluster run: a claim is filled whole or not at all; a node is labelled."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from preheat.deploy.kubernetes.programs import fill_claim, label_node
from tests.authority import authority
from tests.guard.apps import until
from tests.stories.disk import disk


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """What the weights' image has: a blob, a folder that nobody may write to, and a link from the view to the blob."""
    root = tmp_path / "image"
    (root / "opt/preheat/blobs").mkdir(parents=True)
    (root / "opt/preheat/blobs/x").write_bytes(b"weights")
    (root / "opt/preheat/blobs/x").chmod(0o444)
    (root / "app/checkpoints").mkdir(parents=True)
    (root / "app/checkpoints/model").symlink_to("../../opt/preheat/blobs/x")
    (root / "opt/preheat/blobs").chmod(0o555)
    return root


def fill(image: Path, claim: Path, *, name: str = "key") -> "subprocess.CompletedProcess[str]":
    claim.mkdir(exist_ok=True)
    words = [sys.executable, "-c", Path(fill_claim.__file__).read_text(), str(claim), name]
    words += [str(image / folder) for folder in ("opt/preheat", "app/checkpoints")]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_a_claim_is_filled_once_with_links_and_modes(image: Path, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    assert fill(image, claim).stdout == "filled\n"
    copy = claim / "key" / str(image).lstrip("/")
    assert (copy / "app/checkpoints/model").read_bytes() == b"weights"
    assert (copy / "app/checkpoints/model").readlink() == Path("../../opt/preheat/blobs/x")
    assert (copy / "opt/preheat/blobs/x").stat().st_mode & 0o777 == 0o444
    assert (claim / "key").stat().st_mode & 0o777 == 0o755
    assert fill(image, claim).stdout == "filled before\n"
    assert sorted(path.name for path in claim.iterdir()) == ["key"]


def test_a_claim_that_cannot_be_filled_keeps_its_old_versions_and_nothing_half_done(
    image: Path, tmp_path: Path
) -> None:
    claim = tmp_path / "claim"
    assert fill(image, claim, name="old").returncode == 0
    (image / "app/checkpoints/model").unlink()
    (image / "app/checkpoints").rmdir()
    done = fill(image, claim)
    assert done.returncode == 1
    assert "No such file" in done.stderr
    assert [path.name for path in claim.iterdir()] == ["old"]


def test_of_two_that_fill_a_claim_at_once_both_succeed(image: Path, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    done: list[int] = []
    fillers = [threading.Thread(target=lambda: done.append(fill(image, claim).returncode)) for _ in range(4)]
    for filler in fillers:
        filler.start()
    for filler in fillers:
        filler.join()
    assert done == [0] * 4
    assert [path.name for path in claim.iterdir()] == ["key"]


@contextmanager
def halfway(image: Path, claim: Path, *, name: str = "key") -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A job that waits in the middle of its copy, when it opens a file, until `on` exists.

    Python itself stops there: it calls an audit hook for each file that is opened.
    """
    claim.mkdir(exist_ok=True)
    site = Path(tempfile.mkdtemp(dir=image.parent))
    last, reached, on = image / "app/checkpoints/last", site / "reached", site / "on"
    last.touch()
    (site / "sitecustomize.py").write_text(
        "import os, sys, time\n"
        "def hook(event, args):\n"
        f"    if event == 'open' and args[0] == {str(last)!r}:\n"
        f"        os.mkdir({str(reached)!r})\n"
        f"        while not os.path.exists({str(on)!r}):\n"
        "            time.sleep(0.01)\n"
        "sys.addaudithook(hook)\n"
    )
    program = [sys.executable, "-c", Path(fill_claim.__file__).read_text(), str(claim), name]
    words = [*program, str(image / "opt/preheat"), str(image / "app/checkpoints")]
    environ = {**os.environ, "PYTHONPATH": str(site)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as job:
        try:
            assert until(reached.exists, 60)
            assert list(claim.glob(f".{name}-*/**/blobs/x"))
            yield job, on
        finally:
            job.kill()


def test_a_job_that_is_killed_in_the_middle_publishes_nothing(image: Path, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    with halfway(image, claim):
        pass
    assert [path.name[:5] for path in claim.iterdir()] == [".key-"]
    assert fill(image, claim).stdout.splitlines()[-1] == "filled"
    assert (claim / "key/complete").exists()


@pytest.mark.parametrize("name", ["key", "of-another-version"])
def test_the_next_job_removes_what_a_killed_one_left(image: Path, tmp_path: Path, name: str) -> None:
    claim = tmp_path / "claim"
    with halfway(image, claim, name=name):
        pass
    (left,) = claim.iterdir()
    assert fill(image, claim).stdout.splitlines() == [f"removing {left}: its filler was killed", "filled"]
    assert [path.name for path in claim.iterdir()] == ["key"]


def test_a_job_whose_claim_is_filled_removes_what_a_killed_one_left(image: Path, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    with halfway(image, claim):
        assert fill(image, claim).returncode == 0
    assert fill(image, claim).stdout.splitlines()[-1] == "filled before"
    assert [path.name for path in claim.iterdir()] == ["key"]


def test_a_job_that_still_copies_is_left_alone_by_the_next_one(image: Path, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    with halfway(image, claim, name="other") as (job, on):
        before = sorted(claim.glob(".other-*/**"))
        assert fill(image, claim).stdout == "filled\n"
        assert sorted(claim.glob(".other-*/**")) == before
        on.touch()
        out, err = job.communicate(timeout=60)
    assert (job.returncode, out, err) == (0, "filled\n", "")
    assert sorted(path.name for path in claim.iterdir()) == ["key", "other"]


def test_a_job_that_is_overtaken_by_another_one_keeps_its_claim(image: Path, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    with halfway(image, claim) as (job, on):
        assert fill(image, claim).stdout == "filled\n"
        on.touch()
        out, err = job.communicate(timeout=60)
    assert (job.returncode, out, err) == (0, "filled before\n", "")
    assert [path.name for path in claim.iterdir()] == ["key"]


def test_a_job_whose_folder_was_removed_publishes_nothing(image: Path, tmp_path: Path) -> None:
    """As by a filler of another node, after the server of the claim took this node for dead."""
    claim = tmp_path / "claim"
    with halfway(image, claim) as (job, on):
        (folder,) = claim.iterdir()
        (folder / fill_claim.LOCK).unlink()
        on.touch()
        _, err = job.communicate(timeout=60)
    assert (job.returncode, "the volume lost this one's lock" in err) == (1, True), err
    assert list(claim.iterdir()) == []


def test_a_job_that_is_stopped_removes_what_it_has_copied(image: Path, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    with halfway(image, claim) as (job, _):
        job.terminate()
        job.communicate(timeout=60)
    assert job.returncode == 143
    assert list(claim.iterdir()) == []


def test_folders_without_a_lock_of_a_filler_stay(image: Path, tmp_path: Path) -> None:
    """Of other programs, and of fillers whose volume has no locks."""
    claim = tmp_path / "claim"
    (claim / ".snapshot/daily").mkdir(parents=True)
    (claim / ".key-abcd/copy").mkdir(parents=True)
    (claim / "data").mkdir()
    (claim / f"data/{fill_claim.LOCK}").touch()
    assert fill(image, claim).stdout == "filled\n"
    assert sorted(path.name for path in claim.iterdir()) == [".key-abcd", ".snapshot", "data", "key"]


@pytest.mark.parametrize(
    ("filesystem", "shared"),
    [
        ("nfs4 server:/x rw,vers=4.2,proto=tcp,local_lock=none", True),
        ("nfs server:/x rw,vers=3,proto=tcp,local_lock=none", True),
        ("nfs server:/x rw,vers=3,nolock,proto=tcp,local_lock=all", False),
        ("nfs server:/x rw,vers=3,proto=tcp,local_lock=flock", False),
        ("ceph 10.0.0.1:/x rw,name=k8s,acl", True),
        ("ext4 /dev/sda1 rw", True),
        ("fuse.gcsfuse bucket rw,user_id=0", False),
        ("cifs //server/x rw,nobrl", False),
    ],
)
def test_only_locks_that_all_nodes_see_are_trusted(filesystem: str, shared: bool) -> None:
    mounts = (
        "21 1 0:20 / / rw,relatime - overlay overlay rw\n"
        f"36 21 0:44 / /weights\\040claim rw,noatime master:1 - {filesystem}\n"
        "37 21 0:45 / /weights rw - tmpfs tmpfs rw\n"
    )
    assert fill_claim.is_shared(mounts, "/weights claim") is shared
    assert not fill_claim.is_shared(mounts, "/unknown")


def test_a_full_claim_is_an_error_and_has_nothing_half_done(image: Path, tmp_path: Path) -> None:
    (image / "app/checkpoints/large").write_bytes(bytes(3_000_000))
    program = [sys.executable, "-c", Path(fill_claim.__file__).read_text()]
    with disk(tmp_path / "claim", "size=2m") as claim:
        words = [*program, str(claim.mounted), "key", *(str(image / one) for one in ("opt/preheat", "app/checkpoints"))]
        done = subprocess.run([*claim.inside, *words], capture_output=True, text=True, check=False)
        assert (done.returncode, "No space left" in done.stderr) == (1, True), done.stderr
        assert list(claim.path.iterdir()) == []


def test_a_folder_that_a_mount_left_is_not_taken_for_the_weights(image: Path, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    (claim / "key/opt/preheat").mkdir(parents=True)
    done = fill(image, claim)
    assert done.returncode == 1
    assert not (claim / "key/complete").exists()


class Api(BaseHTTPRequestHandler):
    """The part of an API server that sets a node's labels."""

    asked: list[tuple[str, str, str, dict[str, Any]]]
    answers: list[int]

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        token, kind = self.headers["Authorization"], self.headers["Content-Type"]
        self.asked.append((self.path, token, kind, body["metadata"]["labels"]))
        self.send_response(self.answers.pop(0) if self.answers else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[ThreadingHTTPServer]:
    Api.asked, Api.answers = [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.socket = authority().context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def labelling(api: ThreadingHTTPServer, account: Path) -> "subprocess.Popen[bytes]":
    (account / "token").write_text("secret\n")
    (account / "ca.crt").write_bytes(authority().ca_file.read_bytes())
    words = ["127.0.0.1", str(api.server_address[1]), "node-1", "preheat/web", "key", f"{account}/"]
    program = [sys.executable, "-c", Path(label_node.__file__).read_text()]
    return subprocess.Popen([*program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_node_is_labelled_until_the_pod_ends(api: ThreadingHTTPServer, tmp_path: Path) -> None:
    with labelling(api, tmp_path) as pod:
        assert until(lambda: bool(Api.asked), 20)
        pod.send_signal(signal.SIGTERM)
        out, err = pod.communicate(timeout=20)
    assert (pod.returncode, out, err) == (0, b"labelled node-1\n", b"")
    asked = ("/api/v1/nodes/node-1", "Bearer secret", "application/merge-patch+json")
    assert Api.asked == [(*asked, {"preheat/web": "key"}), (*asked, {"preheat/web": None})]


def test_a_refusal_of_the_api_server_is_reported(api: ThreadingHTTPServer, tmp_path: Path) -> None:
    Api.answers = [403]
    with labelling(api, tmp_path) as pod:
        assert until(lambda: bool(Api.asked), 20)
        assert pod.stderr is not None
        assert b"cannot label node-1: HTTP Error 403" in pod.stderr.readline()
        pod.kill()
        pod.communicate(timeout=20)
