"""Needs that no hub lists: members of archives, and what an app's first start made; for any user, also offline."""

import hashlib
import http.server
import io
import json
import shlex
import shutil
import signal
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from preheat.core.ref import MADE, Ref
from preheat.core.snapshot import File, Snapshot, listing_commit
from preheat.library.adopt.intake import Intake
from preheat.library.library import Library
from preheat.recipes.lock_file import read_lock
from tests.authority import secured
from tests.command import Preheat
from tests.flaky_hub import FlakyHub, refuses
from tests.guard.apps import free_port
from tests.mirroring import mirroring
from tests.oci.bases import Files, layer, layout
from tests.stories.kept import contents

MEMBERS = {"stopwords/english": b"a\nthe\n" * 300, "stopwords/nested/zh": "的\n".encode(), "README": b"words\n"}
READS = """\
import os, pathlib, sys
for path in sys.argv[1:]:
    at = pathlib.Path(os.path.expanduser(path))
    sys.stdout.write(f"{at.name} {len(at.read_bytes())} {'link' if at.is_symlink() else 'file'}\\n")
"""


LOCK = """\
version = 1
[[needs]]
ref = "{url}"
commit = "{digest:.40}"
patterns = ["README"]
view = "flat"
at = "words"
unpack = "zip"
link = "hardlink"
files = [{{path = "README", size = 6, digest = "sha256:{readme}"}}]
"""


def zipped(members: dict[str, bytes]) -> bytes:
    """Return a zip of these files."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return body.getvalue()


class Site:
    """A server with an archive, and apps of several users that need it."""

    def __init__(self, hub: FlakyHub, files: Path) -> None:
        self.hub = hub
        self.body = zipped(MEMBERS)
        (files / "stopwords.zip").write_bytes(self.body)
        self.digest = hashlib.sha256(self.body).hexdigest()
        self.url = f"{hub.url}/acme/files/resolve/main/stopwords.zip#sha256={self.digest}"

    def app(self, folder: Path, need: str, reads: str) -> None:
        """Write an app that reads a file at a place of its user's, and its recipe."""
        folder.mkdir(parents=True)
        (folder / "reads.py").write_text(READS)
        command = f'["python3", "{{dir}}/reads.py", "{reads}"]'
        (folder / "preheat.toml").write_text(f'[app]\nname = "reads"\ncommand = {command}\n\n[[needs]]\n{need}\n')

    def unpacked(self, at: str, more: str = "") -> str:
        """Return the need for the archive's members."""
        return f'ref = "{self.url}"\nunpack = "zip"\nview = "flat"\nat = "{at}"\n{more}'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    files = tmp_path / "served"
    files.mkdir()
    with FlakyHub({"acme/files": files}) as hub:
        yield Site(hub, files)


@contextmanager
def without_sizes(body: bytes) -> Iterator[str]:
    """Serve a body as GitHub serves archives that it packs while it sends them: without a size, and without ranges."""

    class Packs(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Packs) as server:
        url = secured(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield url
        server.shutdown()


def user(folder: Path, name: str, library: Path | None = None) -> Preheat:
    """Return the command of a user with a home of his own, no hub, and perhaps another's library."""
    home = folder / name
    home.mkdir()
    preheat = Preheat(home, "http://127.0.0.1:1")
    preheat.library = library or home / "library"
    return preheat


def test_members_are_placed_for_any_user_and_the_second_time_without_network(site: Site, tmp_path: Path) -> None:
    anne = user(tmp_path, "anne")
    at = "{home}/nltk_data/corpora"
    site.app(tmp_path / "anne/app", site.unpacked(at), "~/nltk_data/corpora/stopwords/english")
    told = anne("pull", "app/preheat.toml", "--json")
    assert told.status == 0, told.err + told.out
    assert contents(tmp_path / "anne/nltk_data/corpora") == MEMBERS
    assert len(list((anne.library / "blobs/sha256").rglob("*/*"))) == len(MEMBERS), "the archive is gone"
    assert anne("lock", "app/preheat.toml").status == 0
    lock = (tmp_path / "anne/app/preheat.lock").read_text()
    assert f'archive = {{size = {len(site.body)}, digest = "sha256:{site.digest}"}}' in lock
    assert 'path = "stopwords/nested/zh"' in lock
    site.hub.recovers()

    bert = user(tmp_path, "bert", anne.library)
    site.app(tmp_path / "bert/elsewhere/app", site.unpacked(at), "~/nltk_data/corpora/stopwords/english")
    (tmp_path / "bert/elsewhere/app/preheat.lock").write_text(lock)
    told = bert("run", "elsewhere/app/preheat.toml", "--locked", "--max-restarts", "0")
    assert told.status == 0, told.err
    assert f"english {len(MEMBERS['stopwords/english'])}" in told.out + told.err
    assert bert("pull", "elsewhere/app/preheat.toml", "--locked").status == 0
    assert not site.hub.asked(), "nothing is downloaded again"
    listed = bert("ls").out
    assert f"zip:{site.url}" in listed


@pytest.mark.slow
def test_the_plan_counts_the_archive_and_its_members(site: Site, tmp_path: Path) -> None:
    anne = user(tmp_path, "anne")
    site.app(tmp_path / "anne/app", site.unpacked("words"), "words/README")
    first = anne("pull", "app/preheat.toml", "--dry-run", "--json").last
    assert (first["size"], first["missing"]) == (len(site.body), len(site.body))
    assert not anne.library.exists()
    assert anne("pull", "app/preheat.toml").status == 0
    assert anne("lock", "app/preheat.toml").status == 0
    other = ("--library", str(tmp_path / "other"), "--json")
    second = anne("pull", "app/preheat.toml", "--dry-run", *other).last
    assert second["size"] == len(site.body) + sum(map(len, MEMBERS.values()))
    assert second["missing"] == len(site.body)
    assert second["views"][0]["files"] == len(MEMBERS)
    told = anne("pull", "app/preheat.toml", *other)
    assert told.status == 0, told.out
    assert anne("rm", f"zip:{site.url}").status == 0


def test_only_the_chosen_members_are_placed_and_renamed(site: Site, tmp_path: Path) -> None:
    anne = user(tmp_path, "anne")
    more = 'files = ["stopwords/*"]\nto = { "stopwords/" = "" }\nlink = "copy"\n'
    site.app(tmp_path / "anne/app", site.unpacked("{cache}/words", more), "~/.cache/words/english")
    told = anne("run", "--pull", "app/preheat.toml", "--max-restarts", "0")
    assert told.status == 0, told.err
    assert "english 1800 file" in told.out + told.err
    assert sorted(contents(tmp_path / "anne/.cache/words")) == ["english", "nested/zh"]
    assert all(path.stat().st_nlink == 1 for path in (tmp_path / "anne/.cache/words").rglob("*") if path.is_file())


@pytest.mark.parametrize(("link", "links"), [("symlink", (True, 1)), ("hardlink", (False, 2)), ("copy", (False, 1))])
def test_a_need_is_linked_as_the_app_accepts_it(site: Site, tmp_path: Path, link: str, links: tuple[bool, int]) -> None:
    anne = user(tmp_path, "anne")
    site.app(tmp_path / "anne/app", site.unpacked("words", f'link = "{link}"\n'), "words/README")
    told = anne("pull", "app/preheat.toml")
    assert told.status == 0, told.err
    placed = tmp_path / "anne/app/words/README"
    assert placed.is_symlink() == links[0]
    assert links[0] or placed.stat().st_nlink >= links[1]
    assert links[1] == 2 or links[0] or placed.stat().st_nlink == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="it needs a second filesystem")
def test_a_link_that_the_filesystem_cannot_have_is_told_before_the_download(site: Site, tmp_path: Path) -> None:
    anne = user(tmp_path, "anne")
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="preheat-test-") as other:
        site.app(Path(other) / "app", site.unpacked("words", 'link = "hardlink"\nfiles = ["README"]\n'), "words/README")
        lock = Path(other) / "app/preheat.lock"
        lock.write_text(LOCK.format(url=site.url, digest=site.digest, readme=hashlib.sha256(b"words\n").hexdigest()))
        told = anne("pull", f"{other}/app/preheat.toml")
        assert told.status == 5, told.err
        assert "hardlink" in told.err
        assert "another filesystem" in told.err
        assert site.hub.sent("stopwords.zip") <= 1, "one byte, for its size"
        assert anne("pull", f"{other}/app/preheat.toml", "--link", "copy").status == 0


def test_a_lying_archive_is_refused_and_nothing_is_placed(site: Site, tmp_path: Path) -> None:
    body = zipped({"good": b"good", "../evil": b"evil"})
    (tmp_path / "served/evil.zip").write_bytes(body)
    anne = user(tmp_path, "anne")
    url = f"{site.hub.url}/acme/files/resolve/main/evil.zip#sha256={hashlib.sha256(body).hexdigest()}"
    site.app(tmp_path / "anne/app", site.unpacked("words").replace(site.url, url), "words/good")
    told = anne("pull", "app/preheat.toml")
    assert told.status == 4, told.err
    assert "'../evil' leads out of it" in told.err
    assert not (tmp_path / "anne/app/words").exists()
    assert not (tmp_path / "anne/app/evil").exists()
    assert anne("ls", "--json").last["versions"] == []


@pytest.mark.slow
def test_members_that_differ_from_the_lock_are_refused(site: Site, tmp_path: Path) -> None:
    anne = user(tmp_path, "anne")
    site.app(tmp_path / "anne/app", site.unpacked("words"), "words/README")
    assert anne("pull", "app/preheat.toml").status == 0
    assert anne("lock", "app/preheat.toml").status == 0
    lock = tmp_path / "anne/app/preheat.lock"
    lock.write_text(lock.read_text().replace(hashlib.sha256(MEMBERS["README"]).hexdigest(), "0" * 64))
    shutil.rmtree(tmp_path / "anne/app/words")
    told = anne("pull", "app/preheat.toml", "--library", str(tmp_path / "other"))
    assert told.status == 4, told.err
    assert "README does not match the lock" in told.err


def test_members_come_from_a_mirror_by_the_digests_of_the_lock(site: Site, tmp_path: Path) -> None:
    anne, bert = user(tmp_path, "anne"), user(tmp_path, "bert")
    for one in ("anne", "bert"):
        site.app(tmp_path / one / "app", site.unpacked("words"), "words/README")
    assert anne("pull", "app/preheat.toml").status == 0
    assert anne("lock", "app/preheat.toml").status == 0
    site.hub.recovers()
    site.hub.fails("stopwords.zip", refuses(404))
    _, url = mirroring(anne)
    told = bert("pull", "app/preheat.toml", HF_ENDPOINT=url)
    assert told.status == 3, "without a lock, a mirror proves nothing"
    lock = tmp_path / "bert/app/preheat.lock"
    lock.write_text((tmp_path / "anne/app/preheat.lock").read_text())
    told = bert("pull", "app/preheat.toml", "--json", HF_ENDPOINT=url)
    assert told.status == 0, told.out
    assert told.last["fetched"] == sum(map(len, MEMBERS.values()))
    assert contents(tmp_path / "bert/app/words") == MEMBERS
    assert bert("run", "app/preheat.toml", "--locked", "--max-restarts", "0").status == 0
    anne.close()


@pytest.mark.slow
def test_a_server_that_sends_no_size_is_enough_with_a_lock(site: Site, tmp_path: Path) -> None:
    anne = user(tmp_path, "anne")
    site.app(tmp_path / "anne/app", site.unpacked("words"), "words/README")
    assert anne("pull", "app/preheat.toml").status == 0
    assert anne("lock", "app/preheat.toml").status == 0
    with without_sizes(site.body) as url:
        for path in (tmp_path / "anne/app/preheat.toml", tmp_path / "anne/app/preheat.lock"):
            path.write_text(path.read_text().replace(site.url, f"{url}/stopwords.zip#sha256={site.digest}"))
        told = anne("pull", "app/preheat.toml", "--library", str(tmp_path / "other"))
        assert told.status == 0, told.err
        (tmp_path / "anne/app/preheat.lock").unlink()
        told = anne("pull", "app/preheat.toml", "--library", str(tmp_path / "third"))
        assert told.status == 3
        assert "does not send the file's size" in told.err


def test_a_composed_service_has_the_folders_of_its_users_home(site: Site, tmp_path: Path) -> None:
    anne = user(tmp_path, "anne")
    site.app(tmp_path / "anne/app", site.unpacked("{home}/nltk_data"), "~/nltk_data/README")
    assert anne("pull", "app/preheat.toml").status == 0
    told = anne("serve-config", "compose", "app/preheat.toml")
    assert told.status == 0, told.err
    assert f"{tmp_path}/anne/nltk_data" in told.out
    assert f"HOME: {tmp_path}/anne" in told.out.replace('"', "")


# ---- made


def keep_made(library: Library, name: str, files: dict[str, Path]) -> Snapshot:
    """Store files as `trace` stores what an app's start made; return their snapshot, `made:NAME`."""
    ref = Ref.parse(f"{MADE}:{name}")
    library.prepare(sum(path.stat().st_size for path in files.values()))
    intake = Intake(library.root, library.path, lambda _: None, copy=True)
    kept = []
    for path, source in sorted(files.items()):
        taken = intake.take(source, None)
        library.seals.note(taken.digest, library.path(taken.digest))
        kept.append(File(path, taken.size, taken.digest))
    snapshot = Snapshot(ref, listing_commit(kept), tuple(kept))
    library.record(snapshot)
    return snapshot


def made(preheat: Preheat, folder: Path) -> str:
    """Keep what an app's start made in a library; return the need."""
    folder.mkdir()
    (folder / "9b5ad7").write_bytes(b"tokens\n" * 50)
    snapshot = keep_made(Library(preheat.library), "reads/tiktoken", {"9b5ad7": folder / "9b5ad7"})
    assert snapshot.files[0].path == "9b5ad7"
    return 'ref = "made:reads/tiktoken"\nview = "flat"\nat = "{cache}/tiktoken"\n'


def test_made_files_are_run_and_listed_and_kept(site: Site, tmp_path: Path) -> None:
    anne = user(tmp_path, "anne")
    site.app(tmp_path / "anne/app", made(anne, tmp_path / "written"), "~/.cache/tiktoken/9b5ad7")
    told = anne("lock", "app/preheat.toml")
    assert told.status == 0, told.err
    told = anne("run", "app/preheat.toml", "--locked", "--max-restarts", "0")
    assert told.status == 0, told.err
    assert "9b5ad7 350" in told.out + told.err
    assert "made:reads/tiktoken" in anne("ls").out
    assert "9b5ad7" in anne("show", "made:reads/tiktoken").out
    # Traced again, it has other bytes; the lock still has the first ones.
    (tmp_path / "written/9b5ad7").write_bytes(b"other\n")
    keep_made(Library(anne.library), "reads/tiktoken", {"9b5ad7": tmp_path / "written/9b5ad7"})
    assert anne("pull", f"zip:{site.url}").status == 0
    assert anne("prune", "--old").status == 0
    told = anne("run", "app/preheat.toml", "--locked", "--max-restarts", "0")
    assert "9b5ad7 350" in told.out + told.err
    assert f"zip:{site.url}" in anne("ls").out
    assert anne("rm", "made:reads/tiktoken").status == 0
    assert anne("rm", f"zip:{site.url}").status == 0


def test_made_files_come_from_another_preheats_mirror(site: Site, tmp_path: Path) -> None:
    anne, bert = user(tmp_path, "anne"), user(tmp_path, "bert")
    need = made(anne, tmp_path / "written")
    site.app(tmp_path / "bert/app", need, "~/.cache/tiktoken/9b5ad7")
    told = bert("pull", "app/preheat.toml")
    assert told.status == 3, told.err
    for words in ("no hub has it", "first start wrote it", "--endpoint made=URL", "preheat trace"):
        assert words in told.err
    told = bert("run", "app/preheat.toml", "--json")
    assert told.status == 5
    hint = json.loads(told.err.splitlines()[-1])["hint"]
    assert "preheat trace -- " in hint
    running, url = mirroring(anne)
    cleo = user(tmp_path, "cleo")
    told = cleo(*shlex.split(hint.partition(";")[0].replace("URL", url))[1:])
    assert told.status == 0, told.err
    assert "made:reads/tiktoken" in cleo("ls").out
    running.kill(signal.SIGTERM)
    _, url = mirroring(anne, "--token-file", str(_token(tmp_path)))
    assert bert("pull", "app/preheat.toml", "--endpoint", f"made={url}").status == 3, "it needs the mirror's token"
    told = bert("pull", "app/preheat.toml", HF_ENDPOINT=url, HF_TOKEN="letmein-0123456789")
    assert told.status == 0, told.err
    assert contents(tmp_path / "bert/.cache/tiktoken") == {"9b5ad7": b"tokens\n" * 50}
    assert bert("run", "app/preheat.toml", "--max-restarts", "0").status == 0
    anne.close()


def _token(folder: Path) -> Path:
    (folder / "token").write_text("letmein-0123456789\n")
    (folder / "token").chmod(0o600)
    return folder / "token"


def test_made_files_of_another_environment_are_not_used(site: Site, tmp_path: Path) -> None:
    anne = user(tmp_path, "anne")
    need = made(anne, tmp_path / "written")
    depends = 'depends = { python = "2.7", packages = { pynini = "2.1.6" } }\n'
    site.app(tmp_path / "anne/app", need + depends, "~/app/reads.py")
    packages = tmp_path / "anne/app/.venv/lib/python3.11/site-packages"
    (packages / "pynini-2.1.5.dist-info").mkdir(parents=True)
    recipe = tmp_path / "anne/app/preheat.toml"
    python = tmp_path / "anne/app/.venv/bin/python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    recipe.write_text(recipe.read_text().replace('"python3"', '"{dir}/.venv/bin/python"'))
    told = anne("run", "app/preheat.toml", "--max-restarts", "0")
    assert "Python is 3.11, not 2.7; pynini is 2.1.5, not 2.1.6" in told.err + told.out, told.err
    assert not (tmp_path / "anne/.cache/tiktoken").exists()
    recipe.write_text(recipe.read_text().replace("2.7", "3.11").replace("2.1.6", "2.1.5"))
    assert anne("pull", "app/preheat.toml").status == 0
    assert (tmp_path / "anne/.cache/tiktoken/9b5ad7").exists()


# ---- images

VENV: Files = {
    "usr/bin/python3": "python3.11",
    "usr/bin/python3.11": b"#!",
    "opt/venv/bin/python": "/usr/bin/python3.11",
    "opt/venv/lib/python3.11/site-packages/pynini-2.1.6.dist-info/METADATA": b"",
    "home/anne": None,
    "etc/passwd": b"root:x:0:0::/root:/bin/sh\nweb:x:1001:1001::/srv/web:/bin/sh\nbroken\n",
    "app": None,
}


@pytest.mark.parametrize(
    ("config", "home"),
    [
        ({"User": "anne"}, "home/anne"),
        ({}, "root"),
        ({"User": "1000", "Env": ["HOME=/data"]}, "data"),
        ({"User": "1000"}, ""),
        ({"User": "web"}, "srv/web"),
        ({"User": "1001:1001"}, "srv/web"),
    ],
    ids=str,
)
def test_an_image_has_them_where_its_own_user_and_python_look(
    site: Site, tmp_path: Path, config: dict[str, object], home: str
) -> None:
    anne = user(tmp_path, "anne")
    depends = 'depends = { python = "3.11", packages = { pynini = "2.1.6" } }'
    needs = [
        made(anne, tmp_path / "written").replace("{cache}/tiktoken", "{site-packages}/tn") + depends,
        site.unpacked("{home}/nltk_data/corpora", 'link = "copy"\n'),
        site.unpacked("{cache}/words"),
        site.unpacked("words"),
    ]
    site.app(tmp_path / "anne/app", "\n[[needs]]\n".join(needs), "~/x")
    recipe = tmp_path / "anne/app/preheat.toml"
    recipe.write_text(recipe.read_text().replace('"python3"', '"/opt/venv/bin/python"'))
    assert anne("pull", f"zip:{site.url}").status == 0
    base = layout(tmp_path / "bases", [layer(VENV)], {"WorkingDir": "/app", **config})
    told = anne("build", "app/preheat.toml", "--base", base, "--output", "oci:out:v1", "--json")
    if not home:
        assert told.status == 2, told.out
        assert "{home} is unknown" in told.out
        return
    assert told.status == 0, told.out + told.err
    root = tmp_path / "root"
    root.mkdir()
    for body in sorted((tmp_path / "anne/out/blobs/sha256").iterdir()):
        if tarfile.is_tarfile(body):
            with tarfile.open(body) as tar:
                tar.extractall(root, filter="fully_trusted")
    assert contents(root / home / "nltk_data/corpora") == MEMBERS
    assert contents(root / home / ".cache/words") == MEMBERS
    assert contents(root / "app/words") == MEMBERS
    assert (root / "opt/venv/lib/python3.11/site-packages/tn/9b5ad7").read_bytes() == b"tokens\n" * 50
    lock = read_lock(root / "opt/preheat/preheat.lock")
    assert lock is not None
    files = {pinned.need.at: len(pinned.snapshot.files) for pinned in lock.needs}
    assert files == {"{site-packages}/tn": 1, "{home}/nltk_data/corpora": 3, "{cache}/words": 3, "words": 3}


# ---- proofs

UNPACKS = """\
import http.server, io, os, pathlib, sys, urllib.request, zipfile
at = pathlib.Path(os.path.expanduser("~/words"))
if not at.exists():
    assert os.environ.get("HF_HUB_OFFLINE") != "1", "it is offline, and its words are not there"
    body = urllib.request.urlopen(sys.argv[2]).read()
    zipfile.ZipFile(io.BytesIO(body)).extractall(at)
    made = pathlib.Path(os.environ["XDG_CACHE_HOME"], "made", "9b5ad7")
    made.parent.mkdir(parents=True)
    made.write_bytes(bytes(350))
assert (at / "README").read_bytes()

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words):
        pass

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


@pytest.mark.slow
def test_a_proof_gives_each_start_a_home_of_its_own(site: Site, tmp_path: Path) -> None:
    anne, port = user(tmp_path, "anne"), free_port()
    needs = made(anne, tmp_path / "written").replace("{cache}/tiktoken", "{cache}/made")
    site.app(tmp_path / "anne/app", f"{needs}\n[[needs]]\n{site.unpacked('{home}/words')}", "")
    (tmp_path / "anne/app/reads.py").write_text(UNPACKS)
    recipe = tmp_path / "anne/app/preheat.toml"
    text = recipe.read_text().replace('"python3"', f'"{sys.executable}"')
    text = text.replace('reads.py", ""]', f'reads.py", "{port}", "{site.url.partition("#")[0]}"]')
    recipe.write_text(text.replace("\n\n", f'\nready = "http://127.0.0.1:{port}/"\n\n', 1))
    words = ("--conditions", "cold,preloaded", "--runs", "1", "--observe", "0s", "--json")
    told = anne("prove", "app/preheat.toml", *words)
    assert told.status == 0, told.out
    members = sum(map(len, MEMBERS.values()))
    assert told.last["weights"] == 350 + members
    # What the app made was not downloaded.
    assert told.last["cold"]["fetched"] == members
    assert [(one["files"], one["size"]) for one in told.last["made"]] == [(1, 350)]
    assert told.last["preloaded"]["outbound"] in (0, None)
    assert not (tmp_path / "anne/words").exists()
    assert not (tmp_path / "anne/.cache").exists()
