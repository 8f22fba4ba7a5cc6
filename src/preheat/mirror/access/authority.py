"""Authority: a certificate authority with a limited life, and a certificate from it for each host that is asked for."""

import ipaddress
import secrets
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

_GOOD_FOR, _CLOCKS_DIFFER = timedelta(days=2), timedelta(hours=1)
_MOST_HOSTS = 4096


class SiteAuthority:
    """Issues certificates for host names, for a server that answers in the name of others. Thread-safe.

    Needs cryptography. The authority's own key exists only in memory: nobody can issue a certificate after this process
    has ended. `folder` gets the authority's certificate `ca.pem`, for clients to trust, and each host's key and
    certificate for the moment in which ssl loads them.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """`folder` must be private to the user; raise OSError if it cannot be written."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        self._folder = folder
        self._turn = threading.Lock()
        self._hosts: dict[str, ssl.SSLContext] = {}  # guarded by _turn
        self._key = ec.generate_private_key(ec.SECP256R1())
        # A new name for each authority: OpenSSL would mistake one for another of the same name.
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {secrets.token_hex(4)}")])
        made = (
            _begin(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = folder / "ca.pem"
        self.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        self._site_key = ec.generate_private_key(ec.SECP256R1())

    @property
    def context(self) -> ssl.SSLContext:
        """A TLS context for a server, which shows each client a certificate for the host that the client asks for."""
        context = self.context_of("localhost")

        def pick(chosen: ssl.SSLObject | ssl.SSLSocket, host: str | None, _before: ssl.SSLContext) -> None:
            if host:
                chosen.context = self.context_of(host)

        context.sni_callback = pick
        return context

    def context_of(self, host: str) -> ssl.SSLContext:
        """Return the TLS context with the certificate of one host: a name or an address."""
        host = host.lower()
        with self._turn:
            known = self._hosts.get(host)
            if known is None:
                known = self._issue(host, self._folder / f"site-{len(self._hosts) % _MOST_HOSTS}.pem")
                if len(self._hosts) >= _MOST_HOSTS:
                    self._hosts.clear()
                self._hosts[host] = known
            return known

    def _issue(self, host: str, path: Path) -> ssl.SSLContext:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        made = (
            _begin(subject, self._name, self._site_key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.SubjectAlternativeName([_general(host)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        secret = self._site_key.private_bytes(serialization.Encoding.PEM, *form)
        # ssl can load a key only from a file.
        path.touch(0o600)
        path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.set_alpn_protocols(["http/1.1"])
        path.unlink()
        return context


def _begin(subject: "x509.Name", issuer: "x509.Name", key: "ec.EllipticCurvePublicKey") -> "x509.CertificateBuilder":
    from cryptography import x509

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + _GOOD_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _general(host: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
