"""Memory snapshots in containers of podman: what prevents them is named, and without it, they work for any user."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guard.memory_snapshot.frozen import CRIU, needs_criu
from tests.outsiders.test_guard_in_containers import podman, root_file_system

pytestmark = [needs_criu, pytest.mark.slow, pytest.mark.timeout(300)]

SOURCES = Path(__file__).parents[2] / "src"
USER = "4321:4321"
NO_PRIVILEGES = ("--network=none", "--user", USER, "--cap-drop=all", "--security-opt=no-new-privileges")
# Supervises an app until something was said about its memory; prints that, and when the app was started.
INSIDE = """
import json, os, sys, threading, time, urllib.request
sys.path.insert(0, sys.argv[1])
from preheat.guard.memory_snapshot.memory_snapshots import MemoryPolicy
from preheat.guard.model.app import App
from preheat.guard.options import GuardOptions, GuardSetup
from preheat.guard.setup import keep
from preheat.guard.supervise.supervisor import Notice
code = '''
import http.server, time
started = str(time.time_ns()).encode()
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", str(len(started))); self.end_headers()
        self.wfile.write(started)
    def log_message(self, *words): pass
http.server.HTTPServer(("127.0.0.1", 8123), Page).serve_forever()
'''
page = "http://127.0.0.1:8123/"
app = App(("/python3", "-u", "-c", code), env={**os.environ, "PREHEAT_CRIU": sys.argv[2]}, cwd="/tmp", ready=page)
said, over = [], threading.Event()
setup = GuardSetup(name="app", memory=MemoryPolicy("/saved/app", "identity"))
def tell(event):
    if isinstance(event, Notice): said.append(event.words)
guard = threading.Thread(target=keep, args=(GuardOptions(app, stage=setup), tell), kwargs={"stop": over.is_set})
guard.start()
def ask():
    try: return urllib.request.urlopen(page, timeout=5).read().decode()
    except OSError: return ""
until = time.monotonic() + 60
while time.monotonic() < until and not (ask() and any("memory" in words for words in said)): time.sleep(0.05)
print(json.dumps([ask(), said]), flush=True)
over.set()
guard.join()
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not Path(CRIU).with_name("root").is_dir():
        pytest.skip("a container has no libraries for this CRIU: .ci/get-criu")
    with podman() as command:
        folder, name = tmp_path_factory.mktemp("root"), f"preheat-memory-{uuid.uuid4().hex[:8]}:1"
        root_file_system(folder / "root.tar")
        subprocess.run([*command, "import", str(folder / "root.tar"), name], check=True, capture_output=True)
        yield name
        subprocess.run([*command, "rmi", "-f", name], check=True, capture_output=True)


def started(image: str, saved: Path, *options: str) -> tuple[str, str]:
    """Start the app in a new container; return when it was started, and what was said about its memory."""
    mounts = [f"{SOURCES}:{SOURCES}:ro", f"{Path(CRIU).parent}:{Path(CRIU).parent}:ro", f"{saved}:/saved"]
    volumes = [word for mount in mounts for word in ("--volume", mount)]
    words = ["podman", "run", "--rm", *NO_PRIVILEGES, *options, *volumes, "--tmpfs", "/tmp", image]
    done = subprocess.run(
        [*words, "/python3", "-c", INSIDE, str(SOURCES), CRIU], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    answer, said = json.loads(done.stdout.splitlines()[-1])
    return answer, " ".join(said)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "saved"
    (folder / "app").mkdir(parents=True, mode=0o700)
    subprocess.run(["chown", "-R", USER, str(folder)], check=True)
    return folder


def test_what_prevents_snapshots_in_a_container_is_named_and_the_app_starts(image: str, saved: Path) -> None:
    answer, said = started(image, saved)
    assert answer
    assert "no memory snapshots: a seccomp filter" in said
    answer, said = started(image, saved, "--security-opt=seccomp=unconfined")
    assert answer
    assert "user namespaces with a /proc of their own" in said


def test_without_filter_and_mask_the_next_container_restores_what_the_first_saved(image: str, saved: Path) -> None:
    options = ("--security-opt=seccomp=unconfined", "--security-opt=unmask=ALL")
    first, said = started(image, saved, *options)
    assert "memory snapshot made" in said
    second, said = started(image, saved, *options)
    assert "restored from memory" in said
    assert second == first
