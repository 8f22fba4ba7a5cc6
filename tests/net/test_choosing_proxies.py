"""Proxies: which one is chosen, and how its address is parsed."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.errors import UsageError
from preheat.net.proxies import bypasses, choose, read_proxy

HERE = "no_proxy"


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("*", "hub.example", 443),
        ("hub.example", "hub.example", 443),
        ("HUB.Example", "hub.EXAMPLE.", 443),
        ("example", "hub.example", 443),
        (".example", "hub.example", 443),
        (".example", "example", 443),
        ("*.example", "hub.example", 443),
        ("*.corp.example", "a.b.corp.example", 443),
        ("hub.*", "hub.example", 443),
        ("192.168.*", "192.168.3.4", 80),
        ("hub.example:443", "hub.example", 443),
        (".example:8080", "hub.example", 8080),
        ("10.0.0.0/8", "10.250.0.1", 80),
        ("10.1.2.3/8", "10.250.0.1", 80),
        ("10.0.0.0/8:80", "10.250.0.1", 80),
        ("127.0.0.1", "127.0.0.1", 80),
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("127.0.0.0/8", "::ffff:127.0.0.5", 80),
        ("::1", "::1", 80),
        ("[::1]", "[::1]", 80),
        ("[::1]:8443", "::1", 8443),
        ("fe80::/10", "fe80::1", 80),
        ("fe80::/10", "fe80::1%eth0", 80),
        ("[fd00::/8]", "fd12::1", 80),
        ("a.example, hub.example ,", "hub.example", 443),
        ("a.example hub.example\t*.b", "hub.example", 443),
        (" , ,hub.example", "hub.example", 443),
    ],
)
def test_no_proxy_matches_hosts(entry: str, host: str, port: int) -> None:
    assert bypasses(host, port, entry)


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("", "hub.example", 443),
        ("example", "badexample", 443),
        (".example", "badexample", 443),
        ("hub.example", "example", 443),
        ("hub.example:80", "hub.example", 443),
        ("10.0.0.0/8", "11.0.0.1", 80),
        ("10.0.0.0/8", "10.example", 80),
        ("10.0.0.0/99", "10.0.0.1", 80),
        ("127.0.0.1", "127.0.0.11", 80),
        ("[::1]:8443", "::1", 443),
        ("fe80::/10", "10.0.0.1", 80),
        ("[", "hub.example", 443),
        (".", "hub.example", 443),
    ],
)
def test_no_proxy_does_not_match_other_hosts(entry: str, host: str, port: int) -> None:
    assert not bypasses(host, port, entry)


@given(st.text(), st.text(), st.integers(0, 65535))
def test_any_no_proxy_entry_is_accepted(entry: str, host: str, port: int) -> None:
    assert bypasses(host, port, entry) in (True, False)


@pytest.mark.parametrize(
    ("words", "url", "login"),
    [
        ("proxy:3128", "http://proxy:3128", ("", "")),
        ("//proxy:3128", "http://proxy:3128", ("", "")),
        ("http://proxy", "http://proxy:80", ("", "")),
        ("http://proxy:3128/", "http://proxy:3128", ("", "")),
        ("HTTP://proxy:3128", "http://proxy:3128", ("", "")),
        ("https://proxy", "https://proxy:443", ("", "")),
        ("http://[::1]:3128", "http://[::1]:3128", ("", "")),
        ("http://joe:s3cret@proxy:3128", "http://proxy:3128", ("joe", "s3cret")),
        ("joe:s3cret@proxy:3128", "http://proxy:3128", ("joe", "s3cret")),
        ("http://joe:p%40ss%2Fw%3Ard@proxy:3128", "http://proxy:3128", ("joe", "p@ss/w:rd")),
        ("http://joe:p@s/s#?@proxy:3128", "http://proxy:3128", ("joe", "p@s/s#?")),
        ("http://corp%5Cjoe:gr%C3%BCn@proxy:3128", "http://proxy:3128", ("corp\\joe", "grün")),
        ("http://joe:100%@proxy:3128", "http://proxy:3128", ("joe", "100%")),
        ("http://joe@proxy:3128", "http://proxy:3128", ("joe", "")),
        ("socks5://proxy", "socks5://proxy:1080", ("", "")),
        ("socks5h://joe:x@proxy:7891", "socks5h://proxy:7891", ("joe", "x")),
        ("socks://127.0.0.1:1080/", "socks5h://127.0.0.1:1080", ("", "")),
    ],
)
def test_a_proxys_address_is_parsed(words: str, url: str, login: tuple[str, str]) -> None:
    proxy = read_proxy(words, "https_proxy")
    assert (proxy.url, (proxy.user, proxy.password)) == (url, login)


@pytest.mark.parametrize(
    "words",
    [
        "http://joe:s3cret@", "http://joe:s3cret@proxy:99999", "http://joe:s3cret@proxy:x", "http://joe:s3cret@[::1",
        "quic://joe:s3cret@proxy", "http://", "joe:s3cret://proxy", "http://joe:s3cret@a b:1", "http://joe:s3cret@proxy:0",
    ],
)  # fmt: skip
def test_an_invalid_address_error_names_the_variable_and_not_the_password(words: str) -> None:
    with pytest.raises(UsageError) as error:
        read_proxy(words, "https_proxy")
    said = error.value.message + error.value.hint
    assert "https_proxy" in said
    assert "s3cret" not in said


@given(st.text(max_size=40))
def test_any_text_is_a_proxy_or_an_error(words: str) -> None:
    with suppress(UsageError):
        assert 1 <= read_proxy(words, "http_proxy").port <= 65535


def test_each_scheme_has_its_proxy_and_all_proxy_is_the_default() -> None:
    proxies = {"http": "one:1", "https": "two:2", "all": "socks5://three:3", "no": "near.example"}

    def port(url: str, **more: str) -> int:
        found = choose(url, {**proxies, **more})
        return found.port if found else 0

    assert port("http://hub.example/") == 1
    assert port("https://hub.example/") == 2
    assert port("https://hub.example/", https="") == 3
    assert port("https://near.example/") == 0
    assert port("HTTPS://hub.example/") == 2
    assert choose("https://hub.example/", {}) is None
