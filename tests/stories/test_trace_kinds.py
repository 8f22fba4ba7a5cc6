"""What an app's first start brings, in each of its kinds, is in the recipe and in the library when the trace ends."""

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from preheat.library.library import Library
from preheat.recipes.lock_file import Pinned, read_lock
from tests.authority import secured
from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.guard.apps import free_port
from tests.stories.test_trace import CLIENT

SCRIPT = (sys.executable, "-u", "app.py")
VOICE = bytes(range(256)) * 8000  # 2 MB
MEMBERS = {
    "lexicon-main/words.txt": b"one two\n" * 500,
    "lexicon-main/deep/__init__.py": b"",
    "lexicon-main/deep/a.py": b"A = 1\n",
}


@dataclass
class Site:
    """A server of files by path; it serves ranges too, and redirects from /latest/."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)


@pytest.fixture
def site() -> Iterator[Site]:
    """Serve weights, a zip and a tar over TLS."""
    found = Site(files={"/voice.ckpt": VOICE, "/lexicon.zip": _zip(), "/code.tar.gz": _tar()})

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/latest/"):
                self.send_response(302)
                self.send_header("Location", f"/{self.path.rpartition('/')[2]}?signature=hush")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = found.files[self.path.partition("?")[0]]
            asked = self.headers.get("Range")
            start, stop = (int(one) for one in asked[6:].split("-")) if asked else (0, len(body) - 1)
            part = body[start : stop + 1]
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            self.wfile.write(part)

        def log_message(self, format: str, *words: object) -> None:  # noqa: A002 - its base's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    found.url = secured(server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def _zip() -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    return body.getvalue()


def _tar() -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        entry = tarfile.TarInfo("model/weights.bin")
        entry.size = len(VOICE)
        archive.addfile(entry, io.BytesIO(VOICE))
    return body.getvalue()


@pytest.fixture
def traced(preheat: Preheat, hub: FlakyHub, tmp_path_factory: pytest.TempPathFactory) -> Preheat:
    """The command, in a folder of an app and with a home of its own, with a hub that has the other hub's name too."""
    preheat.env["MODELSCOPE_ENDPOINT"] = hub.url
    preheat.env["HOME"] = str(tmp_path_factory.mktemp("home"))
    return preheat


def needs_of(traced: Preheat, code: str, *words: str, script: tuple[str, ...] = SCRIPT) -> dict[str, Pinned]:
    """Trace an app; return its needs by where they go. The library has each of their files."""
    (traced.folder / "app.py").write_text(code)
    told = traced("trace", "--json", "--settle", "0s", *words, "--", *script)
    assert told.status == 0, told.err
    lock = read_lock(traced.folder / "preheat.lock")
    assert lock is not None
    library = Library(traced.library)
    for pinned in lock.needs:
        assert library.missing(pinned.snapshot) == ()
        assert library.find(pinned.snapshot.ref.at(pinned.snapshot.commit)) is not None
    text = (traced.folder / "preheat.toml").read_text().replace(sys.executable, "")
    assert str(traced.folder) not in text
    assert traced.env["HOME"] not in text
    assert not list(traced.library.glob("trace-*"))
    return {pinned.need.at: pinned for pinned in lock.needs}


def paths(pinned: Pinned) -> set[str]:
    """Return the paths of a need's files."""
    return {file.path for file in pinned.snapshot.files}


def test_a_download_is_found_by_its_bytes_through_a_redirect_and_two_renames(traced: Preheat, site: Site) -> None:
    code = f"""
import os, urllib.request
home = os.path.expanduser("~/.voices")
if not os.path.exists(home):
    os.makedirs("coming.tmp")
    open("coming.tmp/x.part", "wb").write(urllib.request.urlopen("{site.url}/latest/voice.ckpt").read())
    os.rename("coming.tmp/x.part", "coming.tmp/final")
    os.rename("coming.tmp", home)
open(home + "/final", "rb").read()
"""
    [(at, pinned)] = needs_of(traced, code).items()
    assert at == "{home}/.voices"
    assert pinned.need.to == {"voice.ckpt": "final"}
    assert str(pinned.need.ref) == f"{site.url}/latest/voice.ckpt#sha256={hashlib.sha256(VOICE).hexdigest()}"


def test_ranges_that_cover_a_file_together_are_one_download(traced: Preheat, site: Site) -> None:
    code = f"""
import os
from urllib.request import Request, urlopen
os.makedirs("weights", exist_ok=True)
if not os.path.exists("weights/voice.ckpt"):
    with open("weights/voice.ckpt", "wb") as file:
        for start in range(0, {len(VOICE)}, 700_000):
            asked = {{"Range": f"bytes={{start}}-{{start + 699_999}}"}}
            file.write(urlopen(Request("{site.url}/voice.ckpt", headers=asked)).read())
open("weights/voice.ckpt", "rb").read()
"""
    [(at, pinned)] = needs_of(traced, code).items()
    assert (at, pinned.need.ref.address) == ("weights", f"{site.url}/voice.ckpt")


def test_an_archive_that_was_unpacked_and_removed_is_needed_by_its_members(traced: Preheat, site: Site) -> None:
    code = f"""
import io, os, tarfile, urllib.request, zipfile
cache = os.path.expanduser("~/.cache/talk")
if not os.path.exists(cache):
    os.makedirs(cache)
    zipfile.ZipFile(io.BytesIO(urllib.request.urlopen("{site.url}/lexicon.zip").read())).extractall(cache)
    os.rename(cache + "/lexicon-main", cache + "/lexicon")
    urllib.request.urlretrieve("{site.url}/code.tar.gz", "code.tar.gz")
    tarfile.open("code.tar.gz").extractall(cache)
    os.remove("code.tar.gz")
open(cache + "/lexicon/words.txt").read()
open(cache + "/model/weights.bin", "rb").read()
"""
    found = needs_of(traced, code)
    assert set(found) == {"{cache}/talk/lexicon", "{cache}/talk"}
    lexicon, model = found["{cache}/talk/lexicon"], found["{cache}/talk"]
    assert (lexicon.need.unpack, lexicon.need.to, lexicon.need.files) == ("zip", {"lexicon-main/": ""}, ())
    assert paths(lexicon) == set(MEMBERS)
    assert (model.need.unpack, paths(model)) == ("tar", {"model/weights.bin"})


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_what_native_programs_fetch_and_what_is_made_is_kept(traced: Preheat, site: Site) -> None:
    script = f"""#!/bin/bash
mkdir -p weights ~/.cache/kernels
[ -s weights/voice.ckpt ] || curl -fsSL -o weights/voice.ckpt {site.url}/voice.ckpt
[ -s made.py ] || echo "A = 1" > made.py
[ -s ~/.cache/kernels/one.so ] || head -c 9000 /dev/zero > ~/.cache/kernels/one.so
echo started > app.log; echo $$ > app.pid; echo hush > ~/.netrc; mkfifo pipe
exec cat weights/voice.ckpt > /dev/null
"""
    (traced.folder / "start.sh").write_text(script)
    found = needs_of(traced, "", script=("bash", "start.sh"))
    assert {at: paths(pinned) for at, pinned in found.items()} == {
        "weights": {"voice.ckpt"},
        ".": {"made.py"},
        "{cache}/kernels": {"one.so"},
    }
    assert {pinned.need.ref.hub for pinned in found.values()} == {"made"}
    depends = found["{cache}/kernels"].depends
    assert depends is not None
    assert depends.machine


def test_what_the_user_has_in_the_hubs_cache_is_named_and_not_downloaded(traced: Preheat, hub: FlakyHub) -> None:
    code = CLIENT + "open(get('model.safetensors'), 'rb').read()"
    (traced.folder / "app.py").write_text(code)
    subprocess.run([sys.executable, "app.py"], env=traced.env, cwd=traced.folder, check=True, capture_output=True)
    hub.recovers()
    [(at, pinned)] = needs_of(traced, code).items()
    assert (str(pinned.need.ref), at, paths(pinned)) == ("hf:acme/tiny", "", {"model.safetensors"})
    assert hub.sent(r"/resolve/") == 0


def test_weights_in_the_apps_own_folder_are_named_by_the_library_or_kept(traced: Preheat, hub: FlakyHub) -> None:
    assert traced("pull", "acme/tiny").status == 0
    hub.recovers()
    folder = traced.folder / "checkpoints"
    folder.mkdir()
    (folder / "own.pth").write_bytes(VOICE)
    (folder / "config.yaml").write_text("a: 1\n")
    library = Library(traced.library)
    [model] = (file for one in library.snapshots() for file in one.files if file.path == "model.safetensors")
    shutil.copyfile(library.path(model.digest), folder / "renamed.bin")
    names = ("own.pth", "renamed.bin", "config.yaml")
    (traced.folder / "app.py").write_text(f"for name in {names}: open('checkpoints/' + name, 'rb').read()")
    told = traced("trace", "--json", "--settle", "0s", "--", *SCRIPT)
    assert told.status == 0, told.err
    lock = read_lock(traced.folder / "preheat.lock")
    assert lock is not None
    found = {pinned.need.ref.hub: pinned for pinned in lock.needs}
    assert found["hf"].need.to == {"model.safetensors": "renamed.bin"}
    assert (found["hf"].need.at, found["made"].need.at) == ("checkpoints", "checkpoints")
    assert paths(found["made"]) == {"own.pth", "config.yaml"}
    assert hub.sent(r"/resolve/") == 0


def test_the_first_use_and_the_choice_of_a_hub_are_written_down_and_its_answers_are_not(
    traced: Preheat, site: Site
) -> None:
    port = free_port()
    code = f"""
import os, http.server, urllib.request
if not os.path.exists("voice.ckpt"):
    urllib.request.urlretrieve("{site.url}/voice.ckpt", "voice.ckpt")
open("voice.ckpt", "rb").read()
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/say":
            open("said.txt", "w").write("said" * 9000)
        self.send_response(200); self.send_header("Content-Length", "36000"); self.end_headers()
        self.wfile.write(b"said" * 9000)
server = http.server.HTTPServer(("127.0.0.1", {port}), Page)
open("state", "w").write("a")
server.serve_forever()
"""
    use = "import urllib.request as u; open('answer.bin', 'wb').write(u.urlopen('http://127.0.0.1:PORT/say').read())"
    (traced.folder / "use.py").write_text(use.replace("PORT", str(port)))
    first = f"exec:{sys.executable} use.py"
    traced.env.update(USE_MODELSCOPE="false", HF_TOKEN="hf_abcdefghijklmnop")
    needs_of(traced, code, "--first", first)
    lock = read_lock(traced.folder / "preheat.lock")
    assert lock is not None
    assert {pinned.need.ref.hub: paths(pinned) for pinned in lock.needs} == {"url": {"voice.ckpt"}, "made": {"state"}}
    text = (traced.folder / "preheat.toml").read_text()
    assert f'first = "exec:{sys.executable} use.py"' in text
    assert 'env = {USE_MODELSCOPE = "false"}' in text
    assert "hf_abc" not in text


def test_what_the_recipes_user_must_allow_is_in_the_command_to_type_next(traced: Preheat, site: Site) -> None:
    code = f"""
import os, urllib.request
path = os.path.expanduser("~/voice.ckpt")
if not os.path.exists(path):
    open(path, "wb").write(urllib.request.urlopen("{site.url}/latest/voice.ckpt").read())
open(path, "rb").read()
"""
    (traced.folder / "app.py").write_text(code)
    told = traced("trace", "--settle", "0s", "--", *SCRIPT)
    assert told.status == 0, told.err
    assert "run --locked --network none --allow-place ~ preheat.toml" in told.err + told.out
    assert "need --allow-place ~: files directly in ~" in (traced.folder / "preheat.toml").read_text()
