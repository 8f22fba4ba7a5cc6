"""The programs that containers of a cluster run: a claim is filled whole or not at all; a node is labelled."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
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


def test_a_job_that_is_killed_in_the_middle_publishes_nothing(image: Path, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    claim.mkdir()
    # The copy waits at this FIFO until the job is killed.
    os.mkfifo(image / "app/checkpoints/waits")
    program = [sys.executable, "-c", Path(fill_claim.__file__).read_text(), str(claim), "key"]
    words = [*program, str(image / "opt/preheat"), str(image / "app/checkpoints")]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as job:
        assert until(lambda: bool(list(claim.glob(".key-*/**/blobs/x"))), 20)
        job.kill()
    assert not (claim / "key").exists()
    (image / "app/checkpoints/waits").unlink()
    assert fill(image, claim).stdout == "filled\n"
    assert (claim / "key/complete").exists()


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
