"""TLS: a given certificate, a self-signed one, and another one loaded while the server runs."""

import http.client
import ssl
from pathlib import Path

import pytest

from preheat.core.errors import UsageError
from preheat.mirror.access.certificate import given, names_of, own, place
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Answer, Request, Slice
from preheat.mirror.http.server import Server

pytest.importorskip("cryptography", reason="preheat[tls] is not installed")

NAMES = ("localhost", "127.0.0.1", "mirror.lan")
BODY = b"weights" * 300_000


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(BODY)
    return path


def served(weights: Path, tls: ssl.SSLContext) -> Server:
    def answer(request: Request) -> Answer:
        return Answer(200, {"Content-Length": str(len(BODY))}, Slice(weights, 0, len(BODY)))

    return Server(("127.0.0.1", 0), answer, lambda event: None, tls=tls, limits=ServerLimits(head_s=2))


def get(server: Server, trusted: Path) -> bytes:
    trust = ssl.create_default_context(cafile=trusted)
    # As strict as Python 3.13 is by default.
    trust.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    port = int(server.url.rpartition(":")[2])
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=trust, timeout=20)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read()
    finally:
        connection.close()


def test_a_self_signed_certificate_is_trusted_by_clients_that_have_it_and_is_reused(
    tmp_path: Path, weights: Path
) -> None:
    with served(weights, own(tmp_path, NAMES)) as server:
        assert server.url.startswith("https://127.0.0.1:")
        assert get(server, place(tmp_path)) == BODY
    made = place(tmp_path).read_bytes()
    own(tmp_path, NAMES[:2])
    assert place(tmp_path).read_bytes() == made
    own(tmp_path, (*NAMES, "other.lan"))
    assert place(tmp_path).read_bytes() != made
    assert (tmp_path / "mirror-key.pem").stat().st_mode & 0o777 == 0o600


def test_other_clients_do_not_trust_it(tmp_path: Path, weights: Path) -> None:
    other = tmp_path / "other"
    own(other, NAMES)
    with served(weights, own(tmp_path, NAMES)) as server, pytest.raises(ssl.SSLCertVerificationError):
        get(server, place(other))


def test_new_connections_get_the_new_certificate(tmp_path: Path, weights: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    with served(weights, own(old, NAMES)) as server:
        assert get(server, place(old)) == BODY
        server.secure(own(new, NAMES))
        assert get(server, place(new)) == BODY
        with pytest.raises(ssl.SSLCertVerificationError):
            get(server, place(old))


def test_a_plain_http_request_gets_an_error_message(tmp_path: Path, weights: Path) -> None:
    with served(weights, own(tmp_path, NAMES)) as server:
        plain = http.client.HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=20)
        plain.request("GET", "/")
        response = plain.getresponse()
        assert response.status == 400
        assert b"https" in response.read()
        plain.close()
        assert get(server, place(tmp_path)) == BODY


def test_an_invalid_certificate_is_rejected_with_a_message(tmp_path: Path) -> None:
    own(tmp_path, NAMES)
    (tmp_path / "text.pem").write_text("no certificate")
    key, certificate = tmp_path / "mirror-key.pem", place(tmp_path)
    for one, other in ((tmp_path / "none.pem", key), (tmp_path / "text.pem", key), (certificate, certificate)):
        with pytest.raises(UsageError) as caught:
            given(one, other)
        assert "PEM" in caught.value.hint


def test_it_is_valid_for_all_names_of_this_machine_and_the_given_ones() -> None:
    assert {"localhost", "127.0.0.1", "::1", "m.lan"} <= set(names_of("0.0.0.0", ["m.lan"]))
    assert "192.0.2.7" in names_of("192.0.2.7", [])
    assert "0.0.0.0" not in names_of("0.0.0.0", [])
