"""Readers: every parser of untrusted data, each with a valid input."""

import atexit
import contextlib
import http.client
import io
import os
import shutil
import socket
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from preheat.api.addresses.endpoints import read_endpoints
from preheat.cli.output.sanitize import clean
from preheat.cli.page_address import read_page as read_page_address
from preheat.cli.typed_units import read_address, read_seconds, read_size, read_upstream_token
from preheat.cli.typed_words import arrange, with_command, without_pages
from preheat.core.digest import Digest
from preheat.core.errors import PreheatError
from preheat.core.ref import Ref, is_revision
from preheat.core.secret_text import hide, one_line
from preheat.core.snapshot import File
from preheat.disk.lfs_pointer import read_pointer
from preheat.guard import options as guard_options
from preheat.guard.memory_snapshot import saved_memory
from preheat.guard.memory_snapshot.intact import Unusable
from preheat.guard.model.tail import Tail
from preheat.guard.net import small_http
from preheat.guard.net.byte_ranges import read_range
from preheat.guard.probes.probes import parse_probe, port_of
from preheat.guard.shim import response_log
from preheat.guard.status.start_times import History
from preheat.guard.warm_up.warmed_file import read_ranges
from preheat.guard.witness import strace
from preheat.guard.witness.name_lookups import asked_of
from preheat.guard.witness.sockaddr import read_sockaddr
from preheat.hubs import hf_api, ms_api
from preheat.hubs.hf_api import next_page, read_info, read_tree
from preheat.hubs.http_errors import read_wait_s
from preheat.hubs.ms_api import read_page, read_revisions
from preheat.library.archive_members import read_members
from preheat.library.records.pins import Pins
from preheat.library.records.placement_log import PlacementLog
from preheat.mirror.access.host_check import is_foreign
from preheat.mirror.api import hf_routes
from preheat.mirror.api.request_url import asked_at, asked_by
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Refused, Request, read_target
from preheat.mirror.http.redact import redact
from preheat.mirror.http.request_head import read_head
from preheat.mirror.status.counters import RequestCounts
from preheat.mirror.status.metrics import write_metrics
from preheat.mirror.status.mirror_status import Model, Standing, write_standing
from preheat.mirror.status.status_page import write_page, write_words
from preheat.mirror.status.status_routes import preferred
from preheat.mirror.upstream.fetches import Counts, UnderWay
from preheat.mirror.upstream.requester import read_asker
from preheat.net.address_fence import kind_of
from preheat.net.final_response import FinalResponse
from preheat.net.proxies import read_proxy
from preheat.oci.config.annotations import license_of
from preheat.oci.layers.tar_reader import Damaged, TarEntries
from preheat.oci.model.descriptor import INDEX, MANIFEST
from preheat.oci.model.image import ImageDocument, read_index, read_json, read_manifest
from preheat.oci.model.image_name import read_name, read_place
from preheat.oci.model.platform import Platform
from preheat.oci.registry.credentials import find_login
from preheat.oci.registry.response_parsing import read_challenge, read_errors, read_offset, resolved
from preheat.proof.report.comparison import read_older
from preheat.proof.report.fail_if import read_criterion
from preheat.proof.start import import_times
from preheat.recipes.app_python import AppPython
from preheat.recipes.inference.bookkeeping import is_bookkeeping, is_output, is_secret
from preheat.recipes.inference.layout_paths import place_of
from preheat.recipes.inference.trace_log import file_name, read_notes
from preheat.recipes.lock_file import understand_lock
from preheat.recipes.places import Places, split_place
from preheat.recipes.recipe import understand
from preheat.scan import child, kinds
from preheat.scan.hidden import hidden_names
from preheat.scan.pickles import is_pickle
from preheat.scan.texts import configured_code
from preheat.verbs.tracing.observing.unpacked_archives import archive_kind
from preheat.verbs.tracing.secret_words import without_secrets
from tests.library.test_any_bytes import PARSERS

SAFETENSORS = b"\x39" + b"\0" * 7 + b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}   ' + b"\0" * 4
# In memory where possible: 100,000 files are written to it.
MEMORY = "/dev/shm"
SCRATCH = Path(tempfile.mkdtemp(prefix="preheat-readers-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)


class Reader(NamedTuple):
    """A parser, a valid input, and the errors that it may raise for others."""

    read: Callable[[bytes], object]
    honest: bytes
    errors: tuple[type[Exception], ...] = (PreheatError,)


def latin(read: Callable[[str], object], honest: bytes, *errors: type[Exception]) -> Reader:
    """A parser of text that may be any bytes, like a header."""
    return Reader(lambda body: read(body.decode("latin-1")), honest, errors or (PreheatError,))


def utf8(read: Callable[[str], object], honest: bytes, *errors: type[Exception]) -> Reader:
    """A parser of command line arguments, whose bytes need not be UTF-8."""
    return Reader(lambda body: read(body.decode("utf-8", "surrogateescape")), honest, errors or (PreheatError,))


def on_disk(read: Callable[[Path], object], name: str, honest: bytes, *errors: type[Exception]) -> Reader:
    """A parser of a file; `read` gets its folder."""

    folder = Path(tempfile.mkdtemp(dir=SCRATCH))
    (folder / name).parent.mkdir(parents=True, exist_ok=True)

    def reading(body: bytes) -> object:
        (folder / name).write_bytes(body)
        return read(folder)

    return Reader(reading, honest, errors or (PreheatError,))


def tar_entries(body: bytes) -> None:
    """Read all of a tar."""
    entries = TarEntries(io.BytesIO(body))
    for _ in entries:
        while entries.read(65536):
            pass


def a_tar() -> bytes:
    """Make a tar with a long name and a file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("a" * 120)
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"abc"))
    return made.getvalue()[:2560]


def a_zip() -> bytes:
    """Make a zip with a folder, a file and an empty file."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("d/", b"")
        archive.writestr("d/a.txt", b"abc" * 100)
        archive.writestr("b", b"")
    return made.getvalue()


def unpack(folder: Path, kind: str) -> None:
    """Read all members of an archive."""
    for member in read_members(folder / "archive", kind):
        for _ in member.pieces:
            pass


def final_head(body: bytes) -> None:
    """Read a response's head as a client does, and its body."""
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            here.sendall(body[: 64 << 10])
        here.shutdown(socket.SHUT_WR)
        there.settimeout(5)
        response = FinalResponse(there, method="GET")
        response.begin()
        response.read(1 << 20)


def guards_request(body: bytes) -> None:
    """Respond as the guard does."""
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            here.sendall(body)
        here.shutdown(socket.SHUT_WR)
        small_http._respond(
            there, lambda _method, path: small_http.HttpReply(200, "text/plain", path.encode("latin-1"))
        )


def status_of(words: str) -> None:
    """Write a mirror's status with a model of some name and a file of some path."""
    ref, file = Ref.parse(words), File(words, 5, Digest.parse("sha256:" + "d" * 64))
    model = Model(str(ref), "a" * 40, (words,), pinned=False, size=5, missing=0)
    counts = RequestCounts({200: 1})
    standing = Standing(1.0, (model,), 5, 0, (UnderWay(ref, file.path, 1, 5, 1),), Counts(), counts, 1, 1, 0)
    page = write_page(standing, "http://h:1", "zh")
    assert "<script>alert" not in page
    write_standing(standing)
    write_words(standing, "http://h:1").encode()
    write_metrics(standing).encode()


def command_line(words: str) -> None:
    """Read a command line as `preheat` does before argparse."""
    typed = arrange(words.replace("\0", "").split(" "), ("pull", "run", "view"))
    without_pages(with_command(typed, {"--ready": True, "--files": True}, lambda word: word.endswith(".toml")))


TOKEN = SCRATCH / "token"
TOKEN.write_text("secret")
HERE = Path("/nowhere/preheat.toml")
RECIPE = b'[app]\nname = "x"\ncommand = ["a"]\n[[needs]]\nref = "hf:acme/tiny@v1"\nfiles = ["*"]\nto = {"a" = "b"}\n'
MADE = (
    b'[app]\nname = "x"\ncommand = ["{python}", "a"]\nhub = true\nenv = { A = "{cache}/b" }\n[[needs]]\n'
    b'ref = "made:x/y"\nat = "{home}/.cache/x"\nview = "flat"\n'
    b'depends = { python = "3.11", machine = "x86_64", packages = { torch = "2.5" } }\n[[needs]]\n'
    b'ref = "https://h/a.zip#sha256=%s"\nunpack = "zip"\nview = "flat"\nat = "{site-packages}/x"\nfiles = ["d/*"]\n'
    b'link = "copy"\noptional = true\n' % (b"d" * 64)
)
MADE_LOCK = (
    b'version = 1\n[[needs]]\nref = "https://h/a.zip#sha256=%s"\nunpack = "zip"\ncommit = "%s"\n'
    b'archive = {size = 5, digest = "sha256:%s"}\n'
    b'files = [\n    {path = "m.bin", size = 5, digest = "sha256:%s"},\n]\n'
    % (b"d" * 64, b"d" * 40, b"d" * 64, b"d" * 64)
)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 5\n" % (b"d" * 64)
LOGIN = b'{"auths": {"h:5000": {"auth": "dTpw"}}, "credHelpers": {"x": "none"}, "credsStore": ""}'
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: x\r\n\r\nhello"
PLACES = Places(HERE.parent, Path("/home/u"), Path("/home/u/.cache"), Path("/tmp"))
LOCK = (
    b'version = 1\n[[needs]]\nref = "hf:acme/tiny"\ncommit = "%s"\nfiles = [\n    {path = "m.bin", size = 5, '
    b'digest = "sha256:%s"},\n]\n' % (b"a" * 40, b"d" * 64)
)
INFO = b'{"sha": "%s", "siblings": [{"rfilename": "a", "size": 5, "blobId": "%s"}]}' % (b"a" * 40, b"b" * 40)
PAGE = b'{"Code": 200, "Data": {"Files": [{"Path": "a", "Type": "blob", "Size": 5, "Sha256": "%s"}]}}' % (b"d" * 64)

DESCRIPTOR = b'{"mediaType": "x", "digest": "sha256:%s", "size": 5}' % (b"d" * 64)
QUERY = b'{"method": "io.systemd.Resolve.ResolveHostname", "parameters": {"name": "example.com"}}\0'
CALL = (
    b'1.5 openat(AT_FDCWD, "a", O_RDONLY) = 3</a/b\\303>\n2.5 mmap(NULL, 5, PROT_READ, MAP_SHARED, 3</a/b>, 0) = 0x7\n'
)
OLDER = b'{"schema": 1, "timelines": [], "app": "x", "spread": {"cold": {}}, "cold": {"ready_s": 1}}'
HEAD = b"GET /a?b=%20 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"

# From hubs, mirrors and registries.
WIRE = {
    "info": Reader(lambda body: read_info(body, Ref.parse("acme/tiny")), INFO),
    "tree": Reader(read_tree, b'[{"type": "file", "path": "a", "oid": "%s", "size": 5}]' % (b"b" * 40)),
    "page": Reader(lambda body: read_page(body, "x"), PAGE),
    "revisions": Reader(
        lambda body: read_revisions(body, "x"), b'{"Code": 200, "Data": {"RevisionMap": {"Branches": []}}}'
    ),
    "link": latin(next_page, b'<http://x/?a=1>; rel="next"'),
    "hf error": latin(
        lambda said: hf_api.read_error(403, {"X-Error-Code": said, "X-Error-Message": said}, "x"), b"Gated"
    ),
    "ms error": Reader(lambda body: ms_api.read_error(404, {}, body, "x"), b'{"Code": 404, "Message": "m"}'),
    "wait": latin(
        lambda said: read_wait_s({"Retry-After": said, "Date": said, "RateLimit": said}),
        b"Wed, 21 Oct 2015 07:28:00 GMT;t=55",
    ),
    "challenge": latin(read_challenge, b'Bearer realm="https://x/t",service="a"'),
    "errors": Reader(read_errors, b'{"errors":[{"code":"X","message":"m"}]}'),
    "offset": latin(read_offset, b"0-1023"),
    "location": latin(lambda said: resolved("https://h/a", said), b"//h:5000/x?y=1"),
    "address kind": latin(kind_of, b"fe80::1%eth0"),
    "document": Reader(lambda body: read_json(body, "x"), b'{"a": 1}'),
    "manifest": Reader(
        lambda body: read_manifest(ImageDocument(MANIFEST, body), "x"),
        b'{"config": %s, "layers": [%s]}' % (DESCRIPTOR, DESCRIPTOR),
    ),
    "index": Reader(lambda body: read_index(ImageDocument(INDEX, body), "x"), b'{"manifests": [%s]}' % DESCRIPTOR),
    "tar": Reader(tar_entries, a_tar(), (Damaged,)),
    "kind": Reader(lambda body: kinds.kind_of(body, body), b"\x1f\x8b"),
    "pickle": Reader(lambda body: is_pickle(io.BytesIO(body)), b"(cos\nsystem\n"),
    "hidden pickle": Reader(lambda body: hidden_names(io.BytesIO(body)), b"\0\x80\x04cos\nsystem\n)R."),
    "safetensors": Reader(lambda body: kinds.is_safetensors(io.BytesIO(body), len(body)), SAFETENSORS),
    "settings": Reader(lambda body: configured_code("a.json", body), b'{"auto_map": {"a": "b.c"}}'),
    "final head": Reader(final_head, RESPONSE, (http.client.HTTPException, OSError)),
    "kept zip": on_disk(lambda at: unpack(at, "zip"), "archive", a_zip()),
    "kept tar": on_disk(lambda at: unpack(at, "tar"), "archive", a_tar()),
    "archive kind": on_disk(lambda at: archive_kind(at / "archive"), "archive", a_zip()),
    "scan": on_disk(lambda at: child.look(at / "x.pt", "x.pt"), "x.pt", a_zip()),
    "license": utf8(license_of, b"---\nlicense: mit\n---\n"),
}
# From clients of the mirror.
CLIENTS = {
    "head": Reader(lambda body: read_head(body, ServerLimits()), HEAD, (Refused,)),
    "target": latin(read_target, b"/acme/tiny/resolve/main/a?x=1&y=%20", Refused),
    "asked by": latin(asked_by, b"/acme/tiny/resolve/main/a?x=1"),
    "asked at": latin(asked_at, b"https://huggingface.co/acme/tiny/resolve/main/a"),
    "range": latin(lambda said: read_range(said, 1000), b"bytes=0-10"),
    "route": latin(
        lambda said: hf_routes.answer(Request("GET", f"/{said}"), lambda _ref: None),
        b"api/models/a/b/tree/main?cursor=x",
    ),
    "via": latin(lambda said: read_asker(Request("GET", "/", {"via": said}), "x"), b"1.1 preheat-0123456789ab"),
    "language": latin(preferred, b"en-US, zh;q=0.5"),
    "host": latin(is_foreign, b"localhost:80"),
    "redacted": latin(redact, b"/a?b=hf_abcdefghijklmnop&c=d"),
    "guard's request": Reader(guards_request, b"GET /livez?x HTTP/1.1\r\nHost: x\r\n\r\n", (OSError,)),
    "status": utf8(status_of, b"acme/tiny@main"),
}
# From the app and what observes it.
APP = {
    "notes": utf8(lambda said: read_notes([said]), b'["open", 1.5, "/a", "r"]\n'),
    "imports": on_disk(import_times.read_notes, "a.imports", b"# 5\tpython\nos\t0\t1\t2\t1\n"),
    "calls": on_disk(lambda at: strace.Strace(str(at)).close(), "calls.1", CALL),
    "output": Reader(lambda body: Tail().feed(1, body), b"a\nb"),
    "sockaddr": Reader(read_sockaddr, bytes((2, 0, 0, 80, 127, 0, 0, 1)) + bytes(16)),
    "resolved": Reader(lambda body: asked_of("/run/systemd/resolve/io.systemd.Resolve", body), QUERY),
    "nscd": Reader(lambda body: asked_of("/run/nscd/socket", body), b"\2\0\0\0\4\0\0\0\4\0\0\0abc\0"),
    "place of": utf8(lambda said: place_of(said, "a", "acme/tiny", ()), b"/x/models--acme--tiny/snapshots/main/a"),
    "response's URL": utf8(response_log._harmless, b"https://u:p@h/a?token=x"),
    "response's size": latin(lambda said: response_log._size({"Content-Length": said}), b"5"),
    "file name": utf8(file_name, b"https://h/a/b.bin?x"),
    "path": utf8(lambda said: (is_bookkeeping(said), is_output(said), is_secret(said)), b"/home/u/.cache/x/.lock"),
    "shortened": utf8(PLACES.shorten, b"/home/u/.cache/a"),
    "secret words": utf8(lambda said: without_secrets(said.split()), b"a --token hf_abcdefghijklmnop --x=y"),
    "app's script": on_disk(
        lambda at: AppPython.of({}, at, [str(at / "run.sh")]).packages, "run.sh", b"#!/bin/sh\nexec /x/bin/python a\n"
    ),
    "hidden": utf8(lambda said: (hide(said, ("secret",)), one_line(said)), b"https://u:p@h a=secret"),
    "cleaned": utf8(lambda said: clean(said, ("secret",)), b"a\x1b[2Jb secret"),
}
# What users type, and files of theirs.
TYPED = {
    "recipe": Reader(lambda body: understand(HERE, body, HERE.parent), RECIPE),
    "lock": Reader(lambda body: understand_lock(HERE, body, HERE.parent), LOCK),
    "made recipe": Reader(lambda body: understand(HERE, body, HERE.parent), MADE),
    "made lock": Reader(lambda body: understand_lock(HERE, body, HERE.parent), MADE_LOCK),
    "app's place": utf8(lambda said: (split_place(said), PLACES.expand(said)), b"{cache}/a"),
    "page address": utf8(read_page_address, b"https://huggingface.co/acme/tiny/blob/main/a%20b.bin"),
    "command line": utf8(command_line, b"--json run python https://huggingface.co/a/b/tree/main --ready x"),
    "LFS pointer": Reader(read_pointer, POINTER),
    "login": on_disk(lambda at: find_login("h:5000", "a/b", [at / "config.json"], {}), "config.json", LOGIN),
    "pins": on_disk(lambda at: Pins(at).all(), "pins/hf/models--acme--voice/" + "a" * 40, b""),
    "placements": on_disk(lambda at: PlacementLog(at).below(["/"]), "a.log", b"preheat-placed 1\nplaced 1 2 3 4 /a\n"),
    "older": on_disk(lambda at: read_older(at / "old.json"), "old.json", OLDER),
    "ref": utf8(lambda said: (Ref.parse(said).slug, is_revision(said)), b"hf:acme/tiny@v1"),
    "file": utf8(lambda said: Ref.parse(said).slug, b"file:/a/b"),
    "url": utf8(lambda said: Ref.parse(said).slug, b"https://h/f#sha256=" + b"d" * 64),
    "digest": utf8(Digest.parse, b"sha256:" + b"d" * 64),
    "size": utf8(read_size, b"1.5G"),
    "seconds": utf8(read_seconds, b"10m"),
    "address": utf8(read_address, b"[::1]:8000"),
    "upstream token": utf8(read_upstream_token, b"https://h=" + str(TOKEN).encode()),
    "endpoints": utf8(lambda said: read_endpoints([said], {"hf": ()}), b"hf=https://h/x"),
    "proxy": utf8(lambda said: read_proxy(said, "https_proxy"), b"http://u:p%20@h:3128"),
    "place": utf8(read_place, b"docker://h:5000/a/b:t"),
    "name": utf8(read_name, b"h:5000/a/b:t@sha256:" + b"d" * 64),
    "platform": utf8(Platform.parse, b"linux/arm64/v8"),
    "criterion": utf8(read_criterion, b"preloaded.outbound > 0"),
    "probe": utf8(
        lambda said: (parse_probe(said, Tail()), port_of(said)), b"gradio@5s:http://127.0.0.1:1/x [1]", ValueError
    ),
    "line probe": utf8(lambda said: parse_probe(f"line:{said[:1000]}", Tail()), b"a+b", ValueError, FutureWarning),
    "exec probe": utf8(lambda said: parse_probe(f"exec:{said[:1000]}", Tail()), b"true a 'b'", ValueError),
    "guard's time": utf8(guard_options.read_time, b"40ms", ValueError),
    "guard's address": utf8(guard_options.read_address, b"[::1]:80", ValueError),
    "guard's words": utf8(lambda said: guard_options.read_settings(said.split(), {}), b"--status :1 -- a", ValueError),
    "guard's file": on_disk(
        lambda at: guard_options.read_settings(["--config", str(at / "guard.json"), "--", "a"], {}),
        "guard.json",
        b'{"status": ":1", "env": {"A": "b"}, "max_restarts": 3}',
        ValueError,
    ),
    "ranges": utf8(lambda said: read_ranges(said.splitlines()), b"/a\t0\t5\n", ValueError),
    "a memory snapshot": on_disk(
        lambda at: saved_memory.read_manifest(str(at)),
        "manifest.json",
        b'{"format": 2, "key": "0f", "pid": 301, "pipes": ["pipe:[1]", "pipe:[2]"], "port": 0, "start_s": 1.5,'
        b' "resident": 4096, "taken": 1.8e9, "loaded": {"/a": [5, 7, 9]}, "code": {"/app": "0f"},'
        b' "parts": {"pages-1.img": [4096, "0f"]}}',
        Unusable,
    ),
    "starts": on_disk(lambda at: History(str(at / "app")), "app", b"1.5\n2.5\n"),
}
LIBRARY = {name: on_disk(parser.read, parser.path, parser.honest) for name, parser in PARSERS.items()}
READERS = WIRE | CLIENTS | APP | TYPED | {f"library's {name}": reader for name, reader in LIBRARY.items()}
