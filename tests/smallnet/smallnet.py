"""SmallNet: the namespace with its DNS, its authority and its hosts, and how a command gets into it."""

import os
import queue
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from preheat.core.events import Event
from preheat.guard.net.network_namespace import enter, why_not
from preheat.mirror.access.authority import SiteAuthority
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.http.server import Server
from tests.smallnet.names import SERVER, NameServer
from tests.smallnet.site import Site, missing

_SYSTEM_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
# $1 resolv.conf, $2 authorities, $3 the folder for /tmp or nothing; $4 is a folder that only its owner may enter, and
# $5 one below it that all must be able to: the tests' interpreter may lie in root's home.
_ENTER = """set -e
mount --bind "$1" /etc/resolv.conf
mount --bind "$2" /etc/ssl/certs/ca-certificates.crt
[ -z "$3" ] || mount --bind "$3" /tmp
if [ -n "$4" ]; then
  mount -t tmpfs -o mode=755 none /mnt
  mkdir -p "/mnt${5#"$4"}"
  mount --bind "$5" "/mnt${5#"$4"}"
  mount --rbind /mnt "$4"
fi
shift 5
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that a host got, and the status of its answer; a lookup has the method DNS."""

    method: str
    host: str
    target: str = ""
    status: int = 0
    agent: str = ""


@dataclass(slots=True)
class _Log:
    turn: threading.Lock = field(default_factory=threading.Lock)
    asked: list[Asked] = field(default_factory=list)

    def add(self, one: Asked) -> None:
        with self.turn:
            self.asked.append(one)


class SmallNet:
    """A network namespace in which every host name leads to this process, between `with` and its end; as root.

    `sites` answer by host name; all others are answered with 404. `folder` is for the authority's certificate and the
    files that are mounted over those of the system for commands inside.
    """

    def __init__(self, folder: Path, sites: Mapping[str, Site]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.sites = dict(sites)
        self._authority = SiteAuthority(folder, "small internet")
        self._bundle, self._resolver = folder / "bundle.pem", folder / "resolv.conf"
        known = _SYSTEM_AUTHORITIES.read_bytes() if _SYSTEM_AUTHORITIES.is_file() else b""
        self._bundle.write_bytes(known + self._authority.certificate.read_bytes())
        self._resolver.write_text(f"nameserver {SERVER}\noptions single-request-reopen\n")
        self._log = _Log()
        self._over = threading.Event()
        self._ready: queue.Queue[Exception | None] = queue.Queue()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._namespace = -1

    @staticmethod
    def why_not() -> str:
        """Return why there can be none here, or an empty string."""
        return "it needs root" if os.geteuid() else why_not()

    def __enter__(self) -> Self:
        self._thread.start()
        failed = self._ready.get()
        if failed is not None:
            raise failed
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def environ(self) -> dict[str, str]:
        """The variables that a company with an authority of its own sets for its users' programs."""
        bundle = str(_SYSTEM_AUTHORITIES)
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO")
        return dict.fromkeys(names, bundle)

    def inside(self, command: Sequence[str], *, tmp: Path | None = None, user: int = 0) -> tuple[str, ...]:
        """Return the words that run `command` inside, with its own `/tmp` at `tmp`, as the user with that number."""
        into = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self._namespace}", "unshare", "--mount")
        interpreter = Path(sys.base_prefix)
        closed = [str(one) for one in interpreter.parents if not one.stat().st_mode & stat.S_IXOTH]
        words = (str(self._resolver), str(self._bundle), str(tmp or ""), *(closed[-1:] or [""]), str(interpreter))
        mounts = ("sh", "-c", _ENTER, "sh", *words)
        who = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups") if user else ()
        return (*into, *mounts, *who, *command)

    def asked(self) -> list[Asked]:
        """List what the hosts and the DNS were asked so far."""
        with self._log.turn:
            return list(self._log.asked)

    def forget(self) -> None:
        """Empty the list of what was asked."""
        with self._log.turn:
            self._log.asked.clear()

    def _serve(self) -> None:
        """Live in the namespace, in a thread of its own: a namespace belongs to a thread, and so do new sockets."""
        try:
            enter()
            # On loopback, each address of the two networks is one of this namespace's own.
            for network in ("100.79.0.1/16", "192.88.99.1/24"):
                subprocess.run(("ip", "address", "add", network, "dev", "lo"), check=True)
            names = NameServer(lambda host: self._log.add(Asked("DNS", host)))
            plain = Server(("0.0.0.0", 80), self._answer, _ignore)
            secure = Server(("0.0.0.0", 443), self._answer, _ignore, tls=self._authority.context)
            self._namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits for it
            self._ready.put(error)
            return
        with plain, secure:
            self._ready.put(None)
            self._over.wait()
        names.close()
        os.close(self._namespace)

    def _answer(self, request: Request) -> Answer:
        host = request.headers.get("host", "").partition(":")[0].lower()
        answer = self.sites.get(host, missing)(request)
        agent = request.headers.get("user-agent", "")
        self._log.add(Asked(request.method, host, request.target, answer.status, agent))
        return answer


def _ignore(event: Event) -> None:
    """Ignore what the servers report."""
