"""Every reader of what comes from outside, on what it never meant to read: an error of ours, and in no time."""

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.cli.typed_units import read_seconds, read_size
from preheat.core.errors import PreheatError
from preheat.core.ref import Ref
from preheat.hubs.hf_api import next_page, read_info, read_tree
from preheat.hubs.ms_api import read_page, read_revisions
from preheat.mirror.api.request_url import asked_at, asked_by
from preheat.oci.model.image_name import read_place
from preheat.oci.registry.response_parsing import read_challenge, read_errors, read_offset, resolved
from preheat.recipes.inference.trace_log import read_notes
from preheat.recipes.lock_file import understand_lock
from preheat.recipes.recipe import understand

HERE = Path("/nowhere/preheat.toml")
RECIPE = b'[app]\nname = "x"\ncommand = ["a"]\n[[needs]]\nref = "hf:acme/tiny@v1"\nfiles = ["*"]\nto = {"a" = "b"}\n'
LOCK = (
    b'version = 1\n[[needs]]\nref = "hf:acme/tiny"\ncommit = "%s"\nfiles = [\n    {path = "m.bin", size = 5, '
    b'digest = "sha256:%s"},\n]\n' % (b"a" * 40, b"d" * 64)
)
INFO = b'{"sha": "%s", "siblings": [{"rfilename": "a", "size": 5, "blobId": "%s"}]}' % (b"a" * 40, b"b" * 40)
PAGE = b'{"Code": 200, "Data": {"Files": [{"Path": "a", "Type": "blob", "Size": 5, "Sha256": "%s"}]}}' % (b"d" * 64)

# Each with one thing that it reads, to begin from.
READERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "recipe": (lambda body: understand(HERE, body, HERE.parent), RECIPE),
    "lock": (lambda body: understand_lock(HERE, body, HERE.parent), LOCK),
    "notes": (lambda body: read_notes([body.decode("utf-8", "replace")]), b'["open", 1.5, "/a", "r"]\n'),
    "ref": (lambda body: Ref.parse(body.decode("utf-8", "surrogateescape")).slug, b"hf:acme/tiny@v1"),
    "file": (lambda body: Ref.parse(body.decode("utf-8", "surrogateescape")).slug, b"file:/a/b"),
    "size": (lambda body: read_size(body.decode("latin-1")), b"1.5G"),
    "seconds": (lambda body: read_seconds(body.decode("latin-1")), b"10m"),
    "place": (lambda body: read_place(body.decode("latin-1")), b"docker://h:5000/a/b:t"),
    "challenge": (lambda body: read_challenge(body.decode("latin-1")), b'Bearer realm="https://x/t",service="a"'),
    "errors": (read_errors, b'{"errors":[{"code":"X","message":"m"}]}'),
    "offset": (lambda body: read_offset(body.decode("latin-1")), b"0-1023"),
    "location": (lambda body: resolved("https://h/a", body.decode("latin-1")), b"//h:5000/x?y=1"),
    "asked by": (lambda body: asked_by(body.decode("latin-1")), b"/acme/tiny/resolve/main/a?x=1"),
    "asked at": (lambda body: asked_at(body.decode("latin-1")), b"https://huggingface.co/acme/tiny/resolve/main/a"),
    "link": (lambda body: next_page(body.decode("latin-1")), b'<http://x/?a=1>; rel="next"'),
    "info": (lambda body: read_info(body, Ref.parse("acme/tiny")), INFO),
    "tree": (read_tree, b'[{"type": "file", "path": "a", "oid": "%s", "size": 5}]' % (b"b" * 40)),
    "page": (lambda body: read_page(body, "x"), PAGE),
    "revisions": (lambda body: read_revisions(body, "x"), b'{"Code": 200, "Data": {"RevisionMap": {"Branches": []}}}'),
}
# What readers break on: depth, digits, letters of other alphabets, halves of letters, length.
STRANGE = (
    b"[" * 100_000, b"{a=" * 50_000, b'{"a":' * 50_000, b"9" * 5000, b"1e999", b"\xb2", "٣".encode(), b"\xff", b"\x9c",
    b"\\ud800", b"\0", b"\x1b[2J", b"<" * 60_000, b"a" * 60_000, b'="' + b"\\" * 30_000, b"http://[bad/", b":99999/",
    b"NaN", b"-", b"", b" " * 60_000,
)  # fmt: skip


def read(name: str, body: bytes) -> None:
    with contextlib.suppress(PreheatError):
        READERS[name][0](body)


def strange(chance: random.Random, seed: bytes) -> bytes:
    """Change something good in a few places."""
    body = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(body) + 1)
        match chance.randrange(4):
            case 0:
                body[at:at] = chance.choice(STRANGE)
            case 1:
                body[at : at + 1] = bytes([chance.randrange(256)])
            case 2:
                del body[at : at + chance.randint(1, 8)]
            case _:
                body = body[:at]
    return bytes(body)


def corpus(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """The same inputs for the same seed, shared out evenly."""
    chance = random.Random(seed)
    names = list(READERS)
    for number in range(count):
        name = names[number % len(names)]
        yield name, strange(chance, READERS[name][1])


@pytest.mark.parametrize("name", READERS)
def test_what_is_good_is_read(name: str) -> None:
    READERS[name][0](READERS[name][1])


@pytest.mark.parametrize("name", READERS)
def test_each_strange_thing_alone_and_in_the_middle(name: str) -> None:
    seed = READERS[name][1]
    for one in STRANGE:
        read(name, one)
        read(name, seed + one)
        read(name, seed[: len(seed) // 2] + one + seed[len(seed) // 2 :])


@given(st.sampled_from(list(READERS)), st.binary(max_size=200))
def test_any_bytes(name: str, body: bytes) -> None:
    read(name, body)


def test_a_small_corpus() -> None:
    for name, body in corpus(1, 1900):
        read(name, body)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_corpus_of_100_000() -> None:
    for name, body in corpus(2, 100_000):
        read(name, body)
