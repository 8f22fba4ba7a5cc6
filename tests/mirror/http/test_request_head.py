"""Request heads: parsed strictly, into a head or a refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Refused
from preheat.mirror.http.redact import redact
from preheat.mirror.http.request_head import Head, HeadReader, end_of_head, read_head

GOOD = b"GET /a/b?c=d HTTP/1.1\r\nHost: mirror.lan:8000\r\nUser-Agent: hf/1\r\n\r\n"


def read(raw: bytes) -> Head | int:
    """Parse a head; return the status of the refusal if it is refused."""
    try:
        return read_head(raw, ServerLimits())
    except Refused as refused:
        return refused.answer.status


def request(*lines: str, method: str = "GET", target: str = "/", host: str = "a") -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", "")).encode("latin-1")


def test_a_valid_head_is_parsed() -> None:
    head = read_head(GOOD, ServerLimits())
    assert (head.method, head.target, head.length) == ("GET", "/a/b?c=d", 0)
    assert head.fields == {"host": "mirror.lan:8000", "user-agent": "hf/1"}
    assert head.keep
    assert not head.old
    old = read_head(b"GET / HTTP/1.0\r\n\r\n", ServerLimits())
    assert old.old
    assert not old.keep


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("Content-Length: 1", "Content-Length: 1", method="POST"), 400),
        (request("Content-Length: 1", "content-length : 2", method="POST"), 400),
        (request("Content-Length: 1, 1", method="POST"), 400),
        (request("Content-Length: +1", method="POST"), 400),
        (request("Content-Length: 1", "Transfer-Encoding: chunked", method="POST"), 400),
        (request("Transfer-Encoding: chunked", method="POST"), 411),
        (request("Transfer-Encoding: chunked"), 400),
        (request("Transfer-Encoding: xchunked", method="POST"), 501),
        (request("A: b", " folded"), 400),
        (request("A: b", "\tfolded"), 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (GOOD.replace(b"\r\n", b"\n"), 400),
        (GOOD.replace(b"hf/1\r\n", b"hf/1\n"), 400),
        (GOOD.replace(b"hf/1", b"hf\r1"), 400),
        (GOOD.replace(b"hf/1", b"hf\x001"), 400),
        (request(target="http://other/"), 400),
        (request(target="*", method="OPTIONS"), 400),
        (request(target="other:443"), 400),
        (request(target="/a b"), 400),
        (request(host="a, b"), 400),
        (request(host="user@a"), 400),
        (request(host="a/b"), 400),
        (request(host="a:b"), 400),
        (request(host="[::1"), 400),
        (request("Host: b"), 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (request("No colon"), 400),
        (request("Bad name: a"), 400),
        (request(": a"), 400),
        (request(method="BREW"), 501),
        (request(method="CONNECT"), 501),
        (GOOD.replace(b"/1.1", b"/2.0"), 505),
        (GOOD.replace(b"HTTP/1.1", b"http/1.1"), 400),
        (request(target="/" + "a" * 9000), 414),
        (request(*["A: a"] * 200), 431),
    ],
)
def test_an_ambiguous_head_is_rejected(raw: bytes, status: int) -> None:
    assert read(raw) == status


@pytest.mark.parametrize("host", ["a", "a.b:1", "127.0.0.1:8000", "[::1]", "[::1]:8000", "[fe80::1%25eth0]:1"])
def test_valid_hosts_are_accepted(host: str) -> None:
    assert isinstance(read(request(host=host)), Head)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_head_or_a_refusal(raw: bytes) -> None:
    end = end_of_head(raw)
    assert end <= len(raw)
    assert isinstance(read(raw[:end] if end else raw), Head | int)


_NOISE = st.sampled_from([b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b"Content-Length: 5\r\n", b"chunked"])


@given(at=st.integers(0, len(GOOD) - 1), noise=st.one_of(_NOISE, st.binary(max_size=4)), cut=st.integers(0, 4))
def test_a_damaged_head_never_has_a_second_line_in_a_value(at: int, noise: bytes, cut: int) -> None:
    raw = GOOD[:at] + noise + GOOD[at + cut :]
    end = end_of_head(raw)
    found = read(raw[:end] if end else raw + b"\r\n\r\n")
    if isinstance(found, Head):
        said = found.target + "".join(f"{name}{value}" for name, value in found.fields.items())
        assert not set(said) & set("\r\n\0")
        assert found.target.startswith("/")


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?&="), min_size=1),
    st.text(st.sampled_from("abcdefXYZ0189"), min_size=12, max_size=40),
)
def test_secrets_in_a_url_are_not_shown(path: str, secret: str) -> None:
    assert secret not in redact(f"/x?token={secret}&revision=main&{secret[:3]}={secret}")
    assert f"hf_{secret}" not in redact(f"/{path}/hf_{secret}/?Revision=hf_{secret}")
    assert redact(f"/{path.replace('hf_', '').replace('ms-', '')}?Revision=main&cursor=1000").endswith(
        "?Revision=main&cursor=1000"
    )


HEADS = (
    GOOD,
    GOOD.replace(b"GET", b"HEAD"),
    GOOD.replace(b"/a/b?c=d", b"/other"),
    GOOD.replace(b"/a/b", b"no-slash"),
    GOOD.replace(b"/a/b", b"/a\x01b"),
    GOOD.replace(b"/a/b", b"/\xff"),
    GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
    GOOD.replace(b"HTTP/1.1", b"HTTP/2.0"),
    GOOD.replace(b"hf/1", b"hf/2"),
    GOOD.replace(b"GET /a", b"FETCH /a"),
    GOOD.replace(b"/a/b", b"/" + b"a" * 9000),
    GOOD.replace(b"hf/1", b"h" * 5000),
    request("Content-Length: 5", method="POST", target="/one"),
    request("Content-Length: 5", method="POST", target="/two"),
    request("Transfer-Encoding: chunked", method="POST"),
    request("Transfer-Encoding: chunked"),
    request("Connection: close"),
)


@given(st.lists(st.sampled_from(HEADS), max_size=8))
def test_a_head_is_read_the_same_whatever_came_before_it_on_the_connection(raws: list[bytes]) -> None:
    reader = HeadReader(ServerLimits())
    for raw in raws:
        try:
            told: Head | int = reader.read(raw)
        except Refused as refused:
            told = refused.answer.status
        assert told == read(raw)
