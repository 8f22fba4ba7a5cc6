"""Secure: nginx' TLS before a hub, as hubs are reached in earnest: one connection to the hub for each of a client's."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.authority import authority

# Unbuffered, so that a hub that is paced is felt to be, and what a client did not take has not left the hub.
_NGINX = """\
{user}worker_processes 2; daemon off; pid {work}/nginx.pid; error_log {work}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000; tcp_nodelay on;
  client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3;
  uwsgi_temp_path {work}/t4; scgi_temp_path {work}/t5;
  upstream hub {{ server {behind}; keepalive 256; }}
  server {{
    listen {host}:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_session_cache off;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{
      proxy_pass http://hub; proxy_http_version 1.1; proxy_buffering off; proxy_buffer_size 128k;
      proxy_buffers 4 128k; proxy_busy_buffers_size 256k;
      proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto https;
    }}
  }}
}}
"""


class NoNginx(Exception):
    """nginx is not installed."""


@contextlib.contextmanager
def secured(host: str, behind: str) -> Iterator[str]:
    """Serve what `behind`, `host:port`, serves, over TLS; say where. Its certificate is that of tests/authority.py."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise NoNginx("nginx is not here (apt-get install nginx-light)")
    with tempfile.TemporaryDirectory(prefix="preheat-tls-") as name:
        with socket.create_server((host, 0)) as free:
            port = free.getsockname()[1]
        work, shown = Path(name), authority()
        text = _NGINX.format(
            user="user root; " if os.geteuid() == 0 else "", work=work, behind=behind, host=host, port=port,
            certificate=shown.certificate, key=shown.key,
        )  # fmt: skip
        (work / "nginx.conf").write_text(text)
        words = [program, "-c", str(work / "nginx.conf"), "-e", str(work / "nginx.log")]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as nginx:
            try:
                _until_listening(host, port, nginx, work / "nginx.log")
                yield f"https://{host}:{port}"
            finally:
                nginx.send_signal(signal.SIGTERM)


def _until_listening(host: str, port: int, nginx: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), 1).close()
            return
        if nginx.poll() is not None or time.monotonic() > deadline:
            raise NoNginx(f"nginx did not start: {log.read_text() if log.exists() else ''}")
        time.sleep(0.02)
