"""Real proxies: squid and tinyproxy from Debian's packages, each on a port of this machine."""

import contextlib
import hashlib
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.authority import authority
from tests.guard.apps import free_port

_NCSA = Path("/usr/lib/squid/basic_ncsa_auth")


@contextmanager
def squid(login: str = "", *, tls: bool = False) -> Iterator[str]:
    """Run squid, which requires `login`, `user:password`, if there is one; its URL has none. `tls`: to the proxy."""
    program = _program("squid")
    # Started by root, it changes to another user, which cannot enter root's folders.
    with tempfile.TemporaryDirectory(prefix="squid-") as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        words = [
            "pid_filename none", "cache deny all", "cache_mem 8 MB",
            f"access_log stdio:{folder}/access.log", f"cache_log {folder}/cache.log", f"coredump_dir {folder}",
            "shutdown_lifetime 0 seconds", "pinger_enable off", "max_filedescriptors 1024",
            "visible_hostname proxy.test",
        ]  # fmt: skip
        shown = ""
        if tls:
            pair = folder / "pair.pem"
            pair.write_bytes(authority().certificate.read_bytes() + authority().key.read_bytes())
            shown = f" tls-cert={pair}"
        words.append(f"{'https' if tls else 'http'}_port 127.0.0.1:{port}{shown}")
        if login:
            if not _NCSA.exists():
                pytest.skip("squid's basic_ncsa_auth is not installed")
            user, _, password = login.partition(":")
            (folder / "users").write_text(f"{user}:{_hashed(password)}\n")
            words += [
                f"auth_param basic program {_NCSA} {folder}/users", "auth_param basic utf8 off",
                "acl known proxy_auth REQUIRED", "http_access allow known",
            ]  # fmt: skip
        words.append("http_access deny all" if login else "http_access allow all")
        (folder / "squid.conf").write_text("\n".join(words) + "\n")
        _give_to("proxy", folder)
        command = [program, "-N", "-f", str(folder / "squid.conf"), "-n", f"t{secrets.token_hex(4)}"]
        with _running(command, port, folder / "cache.log"):
            yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"


@contextmanager
def tinyproxy(login: str = "", upstream: str = "") -> Iterator[str]:
    """Run tinyproxy; it may require `login`, and use another proxy, `user:password@host:port`."""
    program = _program("tinyproxy")
    with tempfile.TemporaryDirectory(prefix="tinyproxy-") as name:
        folder, port = Path(name), free_port()
        words = [f"Port {port}", "Listen 127.0.0.1", "Timeout 60", "MaxClients 300", f'LogFile "{folder}/log"']
        if login:
            words.append(f"BasicAuth {login.replace(':', ' ')}")
        if upstream:
            words.append(f"Upstream http {upstream}")
        (folder / "tinyproxy.conf").write_text("\n".join(words) + "\n")
        with _running([program, "-d", "-c", str(folder / "tinyproxy.conf")], port, folder / "log"):
            yield f"http://127.0.0.1:{port}"


def _program(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _give_to(user: str, folder: Path) -> None:
    with contextlib.suppress(KeyError, PermissionError):
        ids = pwd.getpwnam(user)
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, ids.pw_uid, ids.pw_gid)


def _hashed(password: str) -> str:
    """Return the password in a form that basic_ncsa_auth reads: MD5 in hex."""
    return hashlib.md5(password.encode("latin-1")).hexdigest()


@contextmanager
def _running(command: list[str], port: int, log: Path) -> Iterator[None]:
    out = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
    with out, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out) as process:
        try:
            deadline = time.monotonic() + 30
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    out.seek(0)
                    said = out.read().decode(errors="replace") + (log.read_text() if log.exists() else "")
                    pytest.fail(f"{command[0]} does not start: {said}")
                time.sleep(0.02)
            yield
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
