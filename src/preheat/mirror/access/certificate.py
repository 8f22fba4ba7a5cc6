"""Certificate: load the mirror's TLS certificate, or create a self-signed one."""

import ipaddress
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from preheat.core.errors import PreheatError, UsageError
from preheat.core.installation import how_to_install, is_installed
from preheat.disk.regular_file import open_regular, read_regular, why
from preheat.disk.temporary_file import tidy, write_whole

if TYPE_CHECKING:
    from cryptography.x509 import GeneralName

# The longest validity that all clients accept (Apple's limit), and how long before expiry it is renewed.
_GOOD_FOR, _RENEWED_BEFORE = timedelta(days=825), timedelta(days=30)


def given(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a TLS context for a certificate chain and its key. Raise UsageError if they cannot be used."""
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown.set_alpn_protocols(["http/1.1"])
    for path in (certificate, key):
        try:
            open_regular(path).close()
        except OSError as error:
            hint = "--tls-cert and --tls-key take PEM files"
            raise UsageError(f"{path} cannot be read: {why(error)}", hint=hint) from error
    try:
        # An empty password, so that OpenSSL does not prompt for one.
        shown.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(
            f"{certificate} and {key} are not a matching certificate and key: {reason}",
            hint="use two matching PEM files, the key without a password",
        ) from error
    return shown


def own(folder: Path, names: Sequence[str]) -> ssl.SSLContext:
    """Return a TLS context for `names`, with a self-signed certificate in `folder`, created or renewed as needed.

    Raise UsageError if `cryptography` is not installed, PreheatError if the folder cannot be written.
    """
    certificate, key = place(folder), folder / "mirror-key.pem"
    if not is_installed("cryptography"):
        raise UsageError(
            "cannot create a certificate: cryptography is not installed",
            hint=how_to_install("cryptography"),
        )
    if not _fits(certificate, key, names):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _make(certificate, key, names)
        except OSError as error:
            raise PreheatError(
                f"{folder} cannot be written: {error.strerror}", hint="use --tls-cert and --tls-key"
            ) from error
    return given(certificate, key)


def place(folder: Path) -> Path:
    """Return the path of the certificate that `own` creates, for clients to trust."""
    return folder / "mirror.pem"


def trusted_beside(certificate: Path, others: Path, to: Path) -> None:
    """Write a CA bundle for clients: the trusted certificates in `others`, and the mirror's."""
    to.write_bytes(b"\n".join((read_regular(others), certificate.read_bytes())))


def names_of(host: str, more: Sequence[str]) -> tuple[str, ...]:
    """Return the names by which clients may reach a mirror that listens on `host`."""
    names = [*more, "localhost", "127.0.0.1", "::1", socket.gethostname()]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        with suppress(OSError):
            names += [str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None)]
    else:
        names.append(host)
    return tuple(dict.fromkeys(name.partition("%")[0] for name in names if name))


def _fits(certificate: Path, key: Path, names: Sequence[str]) -> bool:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        told = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    there = {str(name.value) for name in told}
    return key.is_file() and set(names) <= there and found.not_valid_after_utc - datetime.now(UTC) > _RENEWED_BEFORE


def _make(certificate: Path, key: Path, names: Sequence[str]) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    secret = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "preheat mirror")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + _GOOD_FOR)
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        # Not a CA: clients that trust it trust this mirror, but no other certificate that its key could sign.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(secret.public_key()), critical=False)
        .sign(secret, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    # Write the key first: a certificate without a key is created again.
    for path in (key, certificate):
        tidy(path)
    write_whole(key, secret.private_bytes(serialization.Encoding.PEM, *form), 0o600)
    write_whole(certificate, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _name(name: str) -> "GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode("ascii"))
