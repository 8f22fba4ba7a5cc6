"""Lost host: find in an app's last output the host that it could not reach, the cause, and a remedy; pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# The last error of a program that failed for the network; a client may hide the cause behind an error of its own.
_ABOUT_NETWORK = re.compile(
    r"\b(?:requests|httpx|httpcore|urllib3?|aiohttp|huggingface_hub|modelscope|socket|ssl|http\.client)\.\w"
    r"|(?:Connect|Timeout|URL|HTTP|Proxy|SSL|MaxRetry|NameResolution|gaierror|EntryNotFound|RepositoryNotFound|GatedRepo"
    r"|OfflineMode|FileMetadata)"
    r"|connect to|timed out|HTTP Error|curl: \(|wget: |[Cc]onnection refused|resol|certificate"
)
_ERROR = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Timeout|Refused|gaierror|NotFound|Disconnected)(?::|$)")
_NAME, _REFUSED, _UNREACHABLE, _LATE = "name", "refused", "unreachable", "late"
_CLOSED, _TLS, _PROXY, _STATUS = "closed", "tls", "proxy", "status"
# Of one line, the first that matches is the most exact.
_ENDINGS = (
    (_PROXY, r"ProxyError|Tunnel connection failed|[Cc]annot connect to proxy|through proxy"),
    (_TLS, r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSL certificate problem"),
    (
        _NAME,
        r"Failed to resolve|Could not resolve host|unable to resolve host|Name or service not known"
        r"|name resolution|No address associated with hostname|nodename nor servname",
    ),
    (_REFUSED, r"[Cc]onnection refused|ConnectionRefusedError|Couldn't connect to server"),
    (_UNREACHABLE, r"Network is unreachable|No route to host"),
    (
        _STATUS,
        r"\b(?P<a>[45]\d\d) (?:Client|Server) Error|HTTP Error (?P<b>[45]\d\d)|(?:Client|Server) error '(?P<c>[45]\d\d)"
        r"|returned error: (?P<d>[45]\d\d)|ERROR (?P<e>[45]\d\d): ",
    ),
    (_CLOSED, r"Connection reset|RemoteDisconnected|Connection aborted|Server disconnected"),
    (_LATE, r"timed out|\bTimeoutError\b|(?:Connect|Read|Pool)Timeout|Timeout was reached"),
)
_WORDS = {
    _NAME: "its name was not found in DNS",
    _REFUSED: "it refuses connections",
    _UNREACHABLE: "it cannot be reached",
    _CLOSED: "it closes the connection",
    _LATE: "it does not answer in time",
    _TLS: "its certificate is not trusted",
    _PROXY: "the proxy on the way does not reach it",
}
_HOSTS = (
    r"(?:url|URL):? '?(https?://[^\s/'\"),]+)",
    r"host='(?P<host>[^']+)', port=(?P<port>\d+)",
    r"Failed to resolve '([^']+)'",
    r"(?:Could not resolve host|host address)[: ]+['\u2018]?([^\s'\u2019]+)",
    r"(?:connect to|Failed to connect to) '?(https?://[^\s/'\"),]+|[\w.-]+\.\w+(?: port \d+)?)",
    r"Cannot connect to host ([\w.-]+:\d+)",
)
_PROXIES = "through a proxy: export HTTPS_PROXY=http://HOST:PORT"
_UP = f"check that it is up and reachable; another endpoint, or a mirror: --endpoint hf=URL; {_PROXIES}"
_HINTS = {
    _TLS: "the authority of a proxy that decrypts TLS: export SSL_CERT_FILE=FILE REQUESTS_CA_BUNDLE=FILE",
    _PROXY: "check HTTPS_PROXY, or add the host to NO_PROXY to reach it directly",
}
_BY_STATUS = {
    401: "it requires a token: hf auth login, or export HF_TOKEN=TOKEN",
    403: "it denies access: is the token allowed to read this? hf auth login, or export HF_TOKEN=TOKEN",
    404: "check the name; if another hub or a mirror has it: --endpoint hf=URL",
    429: "wait, or use an account, which has a higher limit: export HF_TOKEN=TOKEN",
}
_NO_HOST = "a host"


@dataclass(frozen=True, slots=True)
class LostHost:
    """A `host`, with a scheme or a port if known, empty if not; how it failed an app, as a sentence; and what helps."""

    host: str
    said: str
    hint: str

    def named(self, host: str) -> "LostHost":
        """Return the same with a host."""
        return LostHost(host, self.said, self.hint)

    def __str__(self) -> str:
        return f"{self.host or _NO_HOST}: {self.said}"


def lost_host(tail: Sequence[str]) -> LostHost | None:
    """Return the host for which an app failed, by its last lines; None if its last error is about something else."""
    if not is_about_network(tail):
        return None
    for at in range(len(tail) - 1, -1, -1):
        for kind, pattern in _ENDINGS:
            found = re.search(pattern, tail[at])
            if found is not None:
                host = next(_hosts([tail[at], *tail[at + 1 :], *reversed(tail[:at])]), "")
                if kind != _STATUS:
                    return LostHost(host, _WORDS[kind], _HINTS.get(kind, _UP))
                status = int(next(filter(None, found.groups())))
                return LostHost(host, f"it answers with status {status}", _BY_STATUS.get(status, _UP))
    return None


def is_about_network(tail: Sequence[str]) -> bool:
    """Return whether the last error in these lines, or else the last line, is about a connection or a hub."""
    lines = [at for at, line in enumerate(tail) if line.strip()]
    last = next((at for at in reversed(lines) if _ERROR.match(tail[at])), lines[-1] if lines else 0)
    return any(_ABOUT_NETWORK.search(line) for line in tail[last:])


def _hosts(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        for pattern in _HOSTS:
            for found in re.finditer(pattern, line):
                yield ":".join(one for one in found.groups() if one)
