"""Apps that download in odd ways: traced, and started from the recipe by another user in another folder, offline."""

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.stories.test_replay import CONFINED
from tests.stories.test_trace_kinds import VOICE, Site, site, traced

__all__ = ["site", "traced"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Each app ends with what it has read; `get` downloads to a path.
HEAD = """
import atexit, datetime, gzip, hashlib, json, mmap, os, shutil, sqlite3, subprocess, sys, tempfile, threading, time
import urllib.request
from pathlib import Path
URL = {url!r}
HOME = Path.home()
HERE = Path(__file__).parent

def fetch(name, **headers):
    with urllib.request.urlopen(urllib.request.Request(URL + name, headers=headers)) as response:
        return response.read()

def get(name, path):
    path = Path(path)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(fetch(name))
    return path

def read(*paths):
    print("read", sum(Path(path).stat().st_size and len(Path(path).read_bytes()) for path in paths))
"""
LATER = "read by the second start only"
APPS = {
    "renamed": """
path = HOME / ".cache/odd/voice.bin"
if not path.exists():
    path.parent.mkdir(parents=True)
    get("/voice.ckpt", path.with_suffix(".part")).rename(path)
read(path)
""",
    "unpacked beside its source": """
if not (HERE / "assets").exists():
    archive = get("/lexicon.zip", HERE / "assets.zip")
    shutil.unpack_archive(archive, HERE / "assets.tmp")
    os.rename(HERE / "assets.tmp/lexicon-main", HERE / "assets")
    archive.unlink()
read(HERE / "assets/words.txt", HERE / "assets/deep/a.py")
""",
    LATER: """
had = os.path.exists("cache/voice.bin")
get("/voice.ckpt", "cache/voice.bin"); get("/other.ckpt", "cache/other.bin")
if not had: get("/voice.gz", "cache/neither.bin")
if had: read("cache/voice.bin", "cache/other.bin")
else: print("read", 5_096_000)
""",
    "an index that the second start only reads": """
voice = get("/voice.ckpt", "cache/voice.bin")
if not os.path.exists("cache/done"):
    Path("cache/index.dat").write_bytes(hashlib.shake_256(voice.read_bytes()).digest(3_000_000))
    Path("cache/done").touch()
    print("read", 3_000_000)
else:
    read("cache/index.dat")
""",
    "a symlinked cache": """
cache = HOME / ".cache/odd"
if not cache.exists():
    (HOME / "big disk").mkdir(); cache.parent.mkdir(exist_ok=True); cache.symlink_to(HOME / "big disk")
read(get("/voice.ckpt", cache / "voice.bin"))
""",
    "spaces and Chinese names": """
read(get("/voice.ckpt", "模型 权重/声音 一 #1?.bin"), get("/other.ckpt", HOME / "下载 目录/声音\\u3000二%20.bin"))
""",
    "pip at run time": """
try:
    sys.path.insert(0, "packages")
    import oddpack
except ImportError:
    environ = {**os.environ, "PIP_CERT": os.environ["SSL_CERT_FILE"], "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    words = ["install", "-q", "--no-deps", "--no-index", "--target", "packages", URL + "/oddpack-1.0-py3-none-any.whl"]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, env=environ)
    sys.path_importer_cache.clear()
    import oddpack
print("read", len(oddpack.WORDS))
""",
    "keyed by date": """
read(get("/voice.ckpt", HOME / f".cache/odd/{datetime.date.today()}/voice.bin"))
""",
    "in a child process without the environment": """
if not os.path.exists("cache/voice.bin"):
    os.makedirs("cache")
    code = f"import ssl,urllib.request as u;open('cache/voice.bin','wb').write(u.urlopen({URL!r}+'/voice.ckpt').read())"
    subprocess.run([sys.executable, "-c", code], check=True, env={"SSL_CERT_FILE": os.environ["SSL_CERT_FILE"]})
read("cache/voice.bin")
""",
    "at exit": """
def last():
    read(get("/voice.ckpt", "cache/voice.bin"), get("/other.ckpt", "cache/other.bin"))
atexit.register(last)
""",
    "in ranges by threads": """
path = Path("cache/voice.bin")
if not path.exists():
    path.parent.mkdir()
    descriptor = os.open("cache/voice.tmp", os.O_CREAT | os.O_WRONLY)
    def part(start, stop):
        os.pwrite(descriptor, fetch("/voice.ckpt", Range=f"bytes={start}-{stop - 1}"), start)
    some = [threading.Thread(target=part, args=(at, at + 512_000)) for at in range(0, 2_048_000, 512_000)]
    [one.start() for one in some]; [one.join() for one in some]
    os.close(descriptor); os.rename("cache/voice.tmp", path)
read(path)
""",
    "moved from a temporary folder": """
path = HOME / "models/odd/voice.bin"
if not path.exists():
    path.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        shutil.move(get("/voice.ckpt", folder + "/x"), path)
with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
    print("read", len(mapped))
""",
    "decompressed": """
path = Path("cache/voice.bin")
if not path.exists():
    path.parent.mkdir(); path.write_bytes(gzip.decompress(fetch("/voice.gz")))
read(path)
""",
    "joined": """
path = Path("cache/all.bin")
if not path.exists():
    path.parent.mkdir(); path.write_bytes(fetch("/voice.ckpt") + fetch("/other.ckpt"))
read(path)
""",
    "a database that each start writes": """
path = get("/voice.ckpt", "cache/voice.bin")
base = sqlite3.connect("cache/index.db")
base.execute("create table if not exists starts (at, size)")
if os.path.exists("cache/was") and not base.execute("select * from starts").fetchall(): raise SystemExit("lost")
base.execute("insert into starts values (?, ?)", (time.time(), path.stat().st_size)); base.commit()
Path("cache/was").touch()
read(path)
""",
    "two hubs": """
hf = os.environ.get("HF_ENDPOINT", "https://huggingface.co"); ms = os.environ.get("MODELSCOPE_ENDPOINT", "https://modelscope.cn")
def load(url, path):
    if not Path(path).exists():
        Path(path).parent.mkdir(exist_ok=True); Path(path).write_bytes(urllib.request.urlopen(url).read())
    return path
read(load(hf + "/acme/tiny/resolve/main/model.safetensors", "hf/model.safetensors"),
     load(ms + "/api/v1/models/acme/tiny/repo?Revision=master&FilePath=voices/deep/low.bin", "ms/low.bin"))
""",
    "the same bytes in two places": """
read(get("/voice.ckpt", "one/voice.bin"), get("/voice.ckpt", HOME / ".local/share/odd/two.bin"))
""",
    "a marker beside each file": """
path = Path("cache/voice.bin"); marker = Path("cache/.voice.bin.complete")
if not marker.exists():
    path.unlink(missing_ok=True); get("/voice.ckpt", path); marker.touch()
read(path)
""",
    "by age": """
path = get("/voice.ckpt", HOME / ".cache/odd/voice.bin")
if time.time() - path.stat().st_mtime > 86400: path.unlink(); get("/voice.ckpt", path)
read(path)
""",
    "an empty folder": """
if not Path("cache/ready").is_dir():
    get("/voice.ckpt", "cache/voice.bin"); Path("cache/ready").mkdir()
read("cache/voice.bin")
""",
}


@pytest.fixture
def served(site: Site) -> Site:
    import gzip

    site.files["/other.ckpt"] = VOICE[1000:] + VOICE[:1000] * 1001
    site.files["/voice.gz"] = gzip.compress(VOICE, 0, mtime=0)
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("oddpack/__init__.py", "WORDS = 'x' * 1234\n")
        archive.writestr("oddpack-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: oddpack\nVersion: 1.0\n")
        archive.writestr(
            "oddpack-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("oddpack-1.0.dist-info/RECORD", "")
    site.files["/oddpack-1.0-py3-none-any.whl"] = wheel.getvalue()
    return site


@pytest.mark.parametrize("way", ["overlay", "in place"])
@pytest.mark.parametrize("name", APPS)
def test_an_app_starts_from_its_recipe_elsewhere(
    traced: Preheat, served: Site, tmp_path_factory: pytest.TempPathFactory, name: str, way: str
) -> None:
    if way == "in place" and subprocess.run([*CONFINED, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    if way == "in place" and name == LATER:
        pytest.skip("without a network namespace, the replay may download again from loopback, where the site is")
    (traced.folder / "app.py").write_text(HEAD.replace("{url!r}", repr(served.url)) + APPS[name])
    script = (sys.executable, "-u", "app.py")
    told = traced("trace", "--settle", "0s", "--", *script, inside=CONFINED if way == "in place" else ())
    text = (traced.folder / "preheat.toml").read_text() if (traced.folder / "preheat.toml").exists() else ""
    assert told.status == 0, told.err + text
    assert ("neither" in text or "voice.gz: 2.0 MB, downloaded, never opened" in text) == (name == LATER)
    assert "other.ckpt: 3.0 MB, downloaded" not in text
    said = next(line for line in told.err.splitlines() if line.startswith("read "))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for one in ("app.py", "preheat.toml", "preheat.lock"):
        shutil.copy(traced.folder / one, elsewhere)
    allowed = [word for at in ("{home}", "{cache}", "{dir}", ".") for word in ("--allow-place", at)]
    for _ in range(2):
        other = Preheat(elsewhere, "http://127.0.0.1:9")
        other.library = traced.library
        other.env["HOME"] = str(elsewhere.with_name(elsewhere.name + "-home"))
        Path(other.env["HOME"]).mkdir(exist_ok=True)
        told = other("run", "--locked", "--network", "none", *allowed)
        assert told.status == 0, told.err + text
        assert told.out.strip() == said, told.err + text
        assert "outbound attempts: 0" in told.err, told.err
