"""The tracer notes what a Python does, says nothing to it, and breaks nothing of it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import preheat.guard
from preheat.core.errors import UsageError
from preheat.core.ref import Ref
from preheat.guard.model.app import App
from preheat.guard.process.process import Process
from preheat.guard.shim import response_log
from preheat.guard.witness.file_opens import FANOTIFY, Opens
from preheat.guard.witness.strace import Strace
from tests.guard.apps import until

SHIM = Path(preheat.guard.__file__).parent / "shim"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


def trace(code: str, notes: Path, *front: str, **env: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SHIM), "PREHEAT_TRACE": str(notes), **env}
    words = [*front, sys.executable, "-c", code]
    return subprocess.run(words, env=environ, cwd=notes.parent, capture_output=True, text=True, check=False, timeout=60)


def lines(notes: Path, kind: str = "") -> list[list[Any]]:
    found = [json.loads(line) for path in sorted(notes.glob("*.trace")) for line in path.read_text().splitlines()]
    return [line for line in found if line[0] == kind or not kind]


def test_opens_writes_and_names_are_noted_once_each(notes: Path) -> None:
    code = (
        "open('a','w').write('x'); open('a').read(); open('a').read(); import os; os.replace('a','b'); os.listdir('.')"
    )
    assert trace(code, notes).returncode == 0
    here = str(notes.parent)
    opens = [line[2:] for line in lines(notes, "open") if line[2].startswith(here)]
    assert opens == [[f"{here}/a", "w", ["__main__"]], [f"{here}/a", "r"]]
    assert [line[2:] for line in lines(notes, "rename")] == [[f"{here}/a", f"{here}/b"]]


def test_what_a_copy_reads_is_not_what_the_app_reads(notes: Path) -> None:
    (notes.parent / "a").write_text("x")
    assert trace("import shutil; shutil.copy('a','b'); open('b').read()", notes).returncode == 0
    here = str(notes.parent)
    assert [line[2:] for line in lines(notes, "copy")] == [[f"{here}/a", f"{here}/b"]]
    assert [f"{here}/a", "r"] not in [line[2:] for line in lines(notes, "open")]
    assert [f"{here}/b", "r"] in [line[2:] for line in lines(notes, "open")]


def test_children_and_forks_are_noted_by_themselves(notes: Path) -> None:
    code = (
        "import os, subprocess, sys, multiprocessing as m\n"
        "subprocess.run([sys.executable, '-c', \"open('child','w')\"])\n"
        "m.get_context('fork').Process(target=open, args=('forked','w')).start()\n"
    )
    assert trace(code, notes).returncode == 0
    assert len(list(notes.glob("*.trace"))) == 3
    assert {Path(line[2]).name for line in lines(notes, "open") if line[3] == "w"} >= {"child", "forked"}


def test_a_shell_script_in_front_changes_nothing(notes: Path) -> None:
    assert trace("open('a','w')", notes, "bash", "-c", 'exec "$@"', "bash").returncode == 0
    assert lines(notes, "open")


SERVER = """
import http.server, threading
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302 if self.path == "/old" else 200)
        self.send_header("Location" if self.path == "/old" else "X-Any", "/new")
        self.send_header("Content-Length", "0" if self.path == "/old" else "4")
        self.end_headers()
        if self.path != "/old": self.wfile.write(b"body")
    def log_message(self, *words): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
at = f"http://127.0.0.1:{server.server_port}"
"""


def test_urllib_is_noted_with_redirects_sizes_and_who_asked_but_without_secrets(notes: Path) -> None:
    code = (
        SERVER
        + "import urllib.request as u; assert u.urlopen(at + '/old').read() == b'body'; u.urlopen(at + '/x?token=hush')"
    )
    assert trace(code, notes).returncode == 0
    http = lines(notes, "http")
    assert [(line[2], line[3].rpartition("/")[2], line[4], line[5]) for line in http] == [
        ("GET", "old", 302, 0),
        ("GET", "new", 200, 4),
        ("GET", "x", 200, 4),
    ]
    assert http[0][6] == "/new"
    assert http[0][7] == ["__main__"]
    assert "hush" not in "".join(path.read_text() for path in notes.iterdir())
    assert [line[2] for line in lines(notes, "connect")] == ["127.0.0.1"] * 3


def test_an_app_that_closes_everything_it_finds_goes_on_and_is_noted(notes: Path) -> None:
    code = "import os; os.closerange(3, 256); f = open('mine','w'); f.write('only mine'); f.close(); open('after','w')"
    assert trace(code, notes).returncode == 0
    assert (notes.parent / "mine").read_text() == "only mine"
    assert [line for line in lines(notes, "open") if line[2].endswith("/after")]


def test_where_nothing_can_be_noted_the_app_runs_all_the_same(notes: Path) -> None:
    assert trace("print('fine')", notes, PREHEAT_TRACE="/nowhere").stdout == "fine\n"
    notes.chmod(0o500)
    assert trace("print('fine')", notes).stdout == "fine\n"


def test_another_sitecustomize_is_still_run(notes: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("print('own')\n")
    assert trace("print('app')", notes, PYTHONPATH=f"{SHIM}{os.pathsep}{own}").stdout == "own\napp\n"
    assert lines(notes, "start")


@pytest.mark.parametrize("kernel", [True, False])
def test_native_opens_are_seen_by_the_kernels_word_or_by_looking(tmp_path: Path, kernel: bool) -> None:
    (tmp_path / "read.bin").write_bytes(b"x" * 9000)
    pids: list[int] = []
    opens = Opens([str(tmp_path)], lambda: pids[0] if pids else 0, kernel=kernel)
    script = f"sleep 0.3; exec 5<{tmp_path}/read.bin; : >{tmp_path}/made; sleep 1.2"
    with subprocess.Popen(["sh", "-c", script]) as child:
        pids.append(child.pid)
        (tmp_path / "ours.bin").write_bytes(b"not the program's")
    seen = {(Path(one.path).name, one.wrote) for one in opens.close()}
    assert ("read.bin", False) in seen
    assert not [name for name, _ in seen if name == "ours.bin"]
    if opens.how == FANOTIFY:
        assert ("made", True) in seen
        assert not opens.lost


def test_strace_tells_opens_and_how_much_was_read_and_leaves_the_app_its_end(tmp_path: Path) -> None:
    if not Strace.available():
        pytest.skip("strace is not here, or may not trace")
    odd = tmp_path / 'a "b"\n文<c>.bin'
    odd.write_bytes(b"secret" * 2000)
    notes = tmp_path / "calls"
    notes.mkdir()
    straced = Strace(str(notes), amounts=True)
    code = f"""
import mmap, os, sys
name = {os.fspath(odd)!r}
file = os.open(name, os.O_RDONLY)
os.read(file, 100), os.pread(file, 50, 7)
mapped = mmap.mmap(file, 4096, prot=mmap.PROT_READ)
open("made", "w").close()
if os.fork() == 0:
    open(name, "rb", buffering=0).read(1000)
    os._exit(0)
os.wait()
sys.exit(3)
"""
    done = subprocess.run(straced.around([sys.executable, "-c", code]), cwd=tmp_path, check=False)
    assert done.returncode == 3
    seen = {(one.path, one.wrote): one for one in straced.close()}
    assert seen[str(odd), False].read == 100 + 50 + 4096 + 1000
    assert (str(tmp_path / "made"), True) in seen
    assert "secret" not in "".join(path.read_text("latin-1") for path in notes.iterdir())


def test_strace_stops_a_program_at_its_opens_only(tmp_path: Path) -> None:
    if not Strace.available():
        pytest.skip("strace is not here, or may not trace")
    straced = Strace(str(tmp_path))
    code = "import mmap, sys; [mmap.mmap(-1, 4096).close() for _ in range(100)]; open(sys.executable, 'rb').read()"
    subprocess.run(straced.around([sys.executable, "-c", code]), check=True)
    seen = {one.path: one.read for one in straced.close()}
    assert seen[os.path.realpath(sys.executable)] is None
    lines = "".join(path.read_text("latin-1") for path in tmp_path.iterdir()).splitlines()
    assert {line.split("(")[0].split()[1] for line in lines} <= {"open", "openat", "openat2", "creat"}


def test_whether_strace_may_trace_is_found_out_as_any_user_and_leaves_nothing() -> None:
    if shutil.which("strace") is None or os.geteuid() != 0:
        pytest.skip("strace is not here, or nobody else can be")
    before = set(Path("/dev").iterdir())
    code = """
import os
from preheat.guard.witness.strace import Strace
os.chdir("/"), os.setgroups([]), os.setgid(65534), os.setuid(65534)
print(Strace.available())
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert said.stdout.strip() == str(Strace.available()).encode(), said.stderr
    assert set(Path("/dev").iterdir()) == before


def test_what_ends_the_app_does_not_end_the_tracer_first(tmp_path: Path) -> None:
    if not Strace.available():
        pytest.skip("strace is not here, or may not trace")
    straced = Strace(str(tmp_path))
    code = """
import os, signal, sys
# Each line in one call, whether or not Python writes unbuffered; and a signal that comes early still waits.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.write(1, b"up\\n")
signal.sigwait([signal.SIGTERM])
open("/etc/hostname").read()
os.write(1, b"ended well\\n")
sys.exit(0)
"""
    process = Process(App(straced.around([sys.executable, "-c", code]), dict(os.environ), str(tmp_path)))
    assert until(lambda: "up" in process.tail.lines(5), 60)
    process.stop(60)
    assert list(process.tail.lines(5)) == ["up", "ended well"]
    assert process.status == 0


@pytest.mark.parametrize(
    "name",
    [
        "signature", "token", "access_token", "credential", "credentials", "password", "passwd", "secret",
        "auth", "authorization", "api-key", "apikey", "access-key", "key", "jwt", "session", "sig", "policy", "pwd",
        "X-Amz-Date", "x-goog-expires",
    ],
)  # fmt: skip
def test_a_logged_url_has_no_parameter_that_a_recipe_must_not_have(name: str) -> None:
    url = f"https://h/a.bin?x=1&{name}=SECRET"
    assert response_log._harmless(url) == "https://h/a.bin"
    with pytest.raises(UsageError):
        Ref.parse(f"{url}#sha256={'d' * 64}")
