"""Proxies, end to end: a pull through each kind, and the messages when one fails; passwords are never shown."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub, redirects_to
from tests.small_proxy import proxying

BASIC = "Basic " + base64.b64encode("joe:p@ss/w:rd é".encode()).decode()
LOGIN = "joe:p%40ss%2Fw%3Ard%20%C3%A9@"
SECRETS = ("p@ss", "p%40ss", BASIC.split()[1])


def with_login(url: str) -> str:
    return url.replace("://", f"://{LOGIN}")


def pull(preheat: Preheat, **env: str) -> Told:
    preheat.env |= env
    told = preheat("pull", "acme/tiny", "--json")
    for secret in SECRETS:
        assert secret not in told.out + told.err
    assert "Traceback" not in told.err
    return told


def failed(told: Told, *words: str) -> None:
    assert told.status == 3, told.out + told.err
    said = told.last["message"] + told.last["hint"]
    for word in words:
        assert word in said, said


@pytest.fixture
def plain_hub(model: Path) -> Iterator[FlakyHub]:
    """A hub over HTTP, whose requests a proxy reads and forwards."""
    with FlakyHub({"acme/tiny": model}, tls=False) as hub:
        yield hub


@pytest.mark.parametrize("tls", [False, True], ids=["http proxy", "https proxy"])
def test_a_pull_goes_through_a_tunnel_with_a_password(preheat: Preheat, hub: FlakyHub, tls: bool) -> None:
    with proxying(tls=tls) as proxy:
        told = pull(preheat, https_proxy=with_login(proxy.url))
        assert told.status == 0, told.out
        assert set(proxy.asked) == {f"CONNECT {hub.url.removeprefix('https://')}"}
        assert set(proxy.shown) == {BASIC}
    assert not any("proxy-authorization" in request.headers for request in hub.asked())


def test_a_pull_over_http_is_forwarded_with_a_password(preheat: Preheat, plain_hub: FlakyHub) -> None:
    with proxying() as proxy:
        told = pull(preheat, HF_ENDPOINT=plain_hub.url, http_proxy=with_login(proxy.url))
        assert told.status == 0, told.out
        assert all(asked.startswith(f"GET {plain_hub.url}/") for asked in proxy.asked)
        assert set(proxy.shown) == {BASIC}


def test_a_proxy_needs_no_scheme_and_upper_case_variables_count(preheat: Preheat) -> None:
    with proxying() as proxy:
        told = pull(preheat, HTTPS_PROXY=proxy.url.removeprefix("http://"))
        assert told.status == 0, told.out
        assert proxy.asked


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_pull_goes_through_socks(preheat: Preheat, hub: FlakyHub, scheme: str) -> None:
    pytest.importorskip("socks")
    port = hub.url.rpartition(":")[2]
    with proxying(socks=True, login=("joe", "p@ss/w:rd é")) as proxy:
        url = with_login(proxy.url.replace("socks5", scheme))
        told = pull(preheat, all_proxy=url, HF_ENDPOINT=f"https://localhost:{port}")
        assert told.status == 0, told.out
        # With the h, the proxy looks names up.
        assert set(proxy.asked) == {f"name localhost:{port}" if scheme == "socks5h" else f"address 127.0.0.1:{port}"}


def test_a_wrong_password_for_socks_is_reported(preheat: Preheat) -> None:
    pytest.importorskip("socks")
    with proxying(socks=True, login=("joe", "other")) as proxy:
        failed(pull(preheat, all_proxy=with_login(proxy.url)), "the proxy socks5://127.0.0.1:", "all_proxy")


@pytest.mark.parametrize("no_proxy", ["localhost, 127.0.0.0/8", "127.0.0.1:{port}", "*", "fe80::/10,127.0.0.1"])
def test_hosts_in_no_proxy_are_reached_directly(preheat: Preheat, hub: FlakyHub, no_proxy: str) -> None:
    with proxying() as proxy:
        port = hub.url.rpartition(":")[2]
        told = pull(preheat, https_proxy=proxy.url, NO_PROXY=no_proxy.format(port=port))
        assert told.status == 0, told.out
        assert proxy.asked == []


def test_each_redirect_uses_the_proxy_of_its_scheme(preheat: Preheat, hub: FlakyHub, plain_hub: FlakyHub) -> None:
    hub.fails("/resolve/", redirects_to(plain_hub.url))
    with proxying() as one, proxying() as other:
        told = pull(preheat, https_proxy=one.url, http_proxy=other.url)
        assert told.status == 0, told.out
        assert {asked.split()[0] for asked in one.asked} == {"CONNECT"}
        assert other.asked
        assert all(asked.startswith(f"GET {plain_hub.url}/") for asked in other.asked)


def answered(status: int) -> bytes:
    return f"HTTP/1.1 {status} No\r\nContent-Length: 4\r\nConnection: close\r\n\r\nno.\n".encode()


def test_a_proxy_that_requires_a_password_is_reported_with_its_variable(preheat: Preheat, plain_hub: FlakyHub) -> None:
    with proxying(answer=answered(407)) as proxy:
        failed(pull(preheat, https_proxy=proxy.url), proxy.url, "requires a user and a password", "https_proxy=http://")
        told = pull(preheat, http_proxy=with_login(proxy.url), HF_ENDPOINT=plain_hub.url)
        failed(told, proxy.url, "rejects the user or password", "http_proxy=http://")
        assert len(proxy.asked) == 2


def test_a_proxy_that_refuses_the_hub_is_reported_at_once(preheat: Preheat, hub: FlakyHub) -> None:
    with proxying(answer=answered(403)) as proxy:
        failed(pull(preheat, https_proxy=proxy.url), proxy.url, f"refuses to connect to {hub.url}")
        assert len(proxy.asked) == 1


@pytest.mark.parametrize("answer", [answered(503), b"SSH-2.0-OpenSSH_9.2\r\n", b"\r\n\r\n", b"HTTP/1.1 2"])
def test_a_temporary_proxy_error_is_retried(preheat: Preheat, answer: bytes) -> None:
    with proxying(answer=answer, answers=2) as proxy:
        told = pull(preheat, https_proxy=proxy.url)
        assert told.status == 0, told.out
        assert [event["reason"] for event in told.events if event["event"] == "retrying"]
        assert all(proxy.url in event["reason"] for event in told.events if event["event"] == "retrying")


def test_a_proxy_that_cuts_connections_costs_only_the_bytes_in_flight(preheat: Preheat, hub: FlakyHub) -> None:
    with proxying(cut=[700_000, 900_000, 1_200_000, 300]) as proxy:
        told = pull(preheat, https_proxy=proxy.url)
        assert told.status == 0, told.out
        assert proxy.cut == []


def test_an_unreachable_proxy_is_reported(preheat: Preheat, hub: FlakyHub) -> None:
    told = pull(preheat, https_proxy=f"http://{LOGIN}127.0.0.1:1")
    failed(told, "the proxy http://127.0.0.1:1 on the way to", "does not answer", "https_proxy", "no_proxy")


def test_a_proxy_without_tls_is_distinguished_from_one_with_it(preheat: Preheat) -> None:
    with proxying() as proxy:
        told = pull(preheat, https_proxy=proxy.url.replace("http:", "https:"))
        failed(told, "does not support TLS", "https_proxy=http://127.0.0.1:")


def test_the_hubs_certificate_error_is_distinguished_from_the_proxys(preheat: Preheat, hub: FlakyHub) -> None:
    with proxying() as proxy:
        told = pull(preheat, https_proxy=proxy.url, SSL_CERT_FILE="/etc/ssl/certs/ca-certificates.crt")
        failed(told, f"{hub.url} shows a certificate that is not trusted", "SSL_CERT_FILE")


@pytest.mark.parametrize("words", ["quic://joe:p%40ss@proxy:1", "http://joe:p%40ss@proxy:x", "joe:p%40ss@:"])
def test_an_invalid_proxy_address_is_reported_without_the_password(preheat: Preheat, words: str) -> None:
    told = pull(preheat, https_proxy=words)
    assert told.status == 2
    assert "https_proxy" in told.last["message"]
