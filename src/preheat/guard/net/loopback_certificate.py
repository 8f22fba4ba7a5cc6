"""Loopback certificate: a self-signed certificate for 127.0.0.1, made by the `openssl` program, for one start."""

from __future__ import annotations

import importlib.util
import os
import ssl
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import Mapping

_AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_PATIENCE_S = 30
# Not a CA: a client that trusts it trusts this server, and nothing that its key could sign.
_REQUEST = """\
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = preheat guard
[extensions]
subjectAltName = IP:127.0.0.1
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
"""


class NoCertificate(Exception):
    """No certificate can be made here; the message has the reason."""


@dataclass(frozen=True)
class LoopbackCertificate:
    """A TLS context for a server on 127.0.0.1, and the CA file by which clients trust it beside the usual ones."""

    context: ssl.SSLContext
    trusted: str


def make_certificate(folder: str, environ: Mapping[str, str]) -> LoopbackCertificate:
    """Make a certificate in `folder`, a private one. `environ` are the app's variables. Raise NoCertificate."""
    known = _authorities(environ)
    if not known:
        raise NoCertificate("the image has no file of certificate authorities")
    request, key, certificate = (os.path.join(folder, name) for name in ("request.cnf", "key.pem", "certificate.pem"))
    words = ["openssl", "req", "-x509", "-config", request, "-days", "825", "-nodes"]
    words += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", key, "-out", certificate]
    try:
        with open(request, "w") as file:
            file.write(_REQUEST)
        done = subprocess.run(words, capture_output=True, timeout=_PATIENCE_S, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise NoCertificate(f"openssl: {done.stderr.decode(errors='replace').strip()[-200:]}")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(certificate, key)
        os.remove(key)  # nobody else needs it, also if this process is killed
        trusted = os.path.join(folder, "trusted.pem")
        with open(trusted, "wb") as bundle:
            for path in (known, certificate):
                with open(path, "rb") as one:
                    bundle.write(one.read() + b"\n")
    except FileNotFoundError as error:
        raise NoCertificate(f"the image has no {error.filename}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise NoCertificate(str(error)) from error
    return LoopbackCertificate(context, trusted)


def _authorities(environ: Mapping[str, str]) -> str:
    """Return the CA file that the app's clients use: by a variable, else the system's, else certifi's; or ""."""
    named = [environ.get(name, "") for name in _AUTHORITIES] + [ssl.get_default_verify_paths().cafile or ""]
    with suppress(ImportError, ValueError):
        certifi = importlib.util.find_spec("certifi")
        if certifi is not None and certifi.origin:
            named.append(os.path.join(os.path.dirname(certifi.origin), "cacert.pem"))
    return next((path for path in named if path and os.path.isfile(path)), "")
