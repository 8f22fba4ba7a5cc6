"""Authority: a certificate authority, created once per test run, and the certificate of all test servers."""

import atexit
import functools
import http.client
import http.server
import ipaddress
import shutil
import ssl
import tempfile
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from preheat.net.http import NetworkSettings

_NAMES = ("localhost", "hub.test", "proxy.test")
# The last address is the hub's, in the network namespace of benchmarks/.
_ADDRESSES = ("127.0.0.1", "127.0.0.2", "::1", "10.79.0.1")


@dataclass(frozen=True, slots=True)
class Authority:
    """The files of one authority: the CA file for clients, and the certificate and key of servers."""

    ca_file: Path
    certificate: Path
    key: Path

    @property
    def context(self) -> ssl.SSLContext:
        """Return a new TLS context for a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    @property
    def environ(self) -> dict[str, str]:
        """Return the environment variables that make Python, requests and curl trust the authority."""
        return dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), str(self.ca_file))


_turn = threading.Lock()


def authority() -> Authority:
    """Return the authority; the first call creates it, and its folder is removed when the process ends."""
    with _turn:
        return _made()


@functools.cache
def _made() -> Authority:
    folder = Path(tempfile.mkdtemp(prefix="preheat-test-ca-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return _make(folder)


def trusting(settings: NetworkSettings | None = None) -> NetworkSettings:
    """Return `settings` with the authority trusted."""
    return replace(settings or NetworkSettings(), ca_file=authority().ca_file)


def trust() -> ssl.SSLContext:
    """Return a TLS context for a client in this process."""
    return ssl.create_default_context(cafile=authority().ca_file)


def connect(url: str, timeout_s: float = 30.0) -> http.client.HTTPConnection:
    """Return a connection to the origin of `url`, over TLS for https."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=timeout_s, context=trust())
    return http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=timeout_s)


def secured(server: http.server.HTTPServer) -> str:
    """Make a server of the standard library use TLS; return its URL."""
    # The handshake takes place at the first read, in the connection's own thread.
    server.socket = authority().context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return f"https://127.0.0.1:{server.server_address[1]}"


def _make(folder: Path) -> Authority:
    made = Authority(folder / "ca.pem", folder / "server.pem", folder / "server-key.pem")
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "preheat test authority")])
    root = (
        _begin(issuer, issuer, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in _NAMES]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES]
    leaf = (
        _begin(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "preheat test server")]), issuer, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    made.ca_file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    made.certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    made.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    return made


def _begin(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False,
    )  # fmt: skip
