"""Lost host: the host and the cause are found in what clients of hubs print."""

import pytest

from preheat.proof.start.lost_host import lost_host

POOL = "HTTPSConnectionPool(host='hub.example', port=443): Max retries exceeded with url: /api/models/a/b (Caused by "
MISSING_LOCALLY = (
    "huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the file on the Hub and "
    "we cannot find the requested files in the local cache. Please check your connection and try again."
)


@pytest.mark.parametrize(
    ("tail", "said", "hint"),
    [
        (
            (f"requests.exceptions.ConnectionError: {POOL}NewConnectionError('<x>: [Errno 111] Connection refused'))",),
            "hub.example:443: it refuses connections",
            "--endpoint hf=URL",
        ),
        (
            (
                f'urllib3.exceptions.MaxRetryError: {POOL}NameResolutionError("<x>: Failed to resolve '
                "'hub.example' ([Errno -2] Name or service not known)\"))",
                "",
                "The above exception was the direct cause of the following exception:",
                "",
                "Traceback (most recent call last):",
                '  File "app.py", line 3, in <module>',
                MISSING_LOCALLY,
            ),
            "hub.example:443: its name was not found in DNS",
            "HTTPS_PROXY",
        ),
        (
            (
                "huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error. (Request ID: Root=1)",
                "",
                "Repository Not Found for url: https://hub.example/api/models/a/b.",
                "Please make sure you specified the correct `repo_id` and `repo_type`.",
            ),
            "https://hub.example: it answers with status 404",
            "check the name",
        ),
        (
            ("requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://hub.example/a",),
            "https://hub.example: it answers with status 401",
            "HF_TOKEN",
        ),
        (("httpx.ReadTimeout: The read operation timed out",), "a host: it does not answer in time", "--endpoint"),
        (("urllib.error.URLError: <urlopen error [Errno 111] Connection refused>",), "a host: it refuses", "mirror"),
        (
            (f"requests.exceptions.ProxyError: {POOL}ProxyError('Unable to connect to proxy', OSError('Tunnel'))",),
            "hub.example:443: the proxy on the way does not reach it",
            "NO_PROXY",
        ),
        (
            (f"requests.exceptions.SSLError: {POOL}SSLCertVerificationError(1, 'certificate verify failed'))",),
            "hub.example:443: its certificate is not trusted",
            "REQUESTS_CA_BUNDLE",
        ),
        (("curl: (6) Could not resolve host: hub.example",), "hub.example: its name was not found", "HTTPS_PROXY"),
        (
            ("curl: (7) Failed to connect to hub.example port 443 after 1 ms: Couldn't connect to server",),
            "hub.example port 443: it refuses connections",
            "--endpoint",
        ),
        (
            ("wget: unable to resolve host address \u2018hub.example\u2019",),
            "hub.example: its name was not found in DNS",
            "HTTPS_PROXY",
        ),
    ],
)
def test_the_cause_is_found(tail: tuple[str, ...], said: str, hint: str) -> None:
    found = lost_host(tail)
    assert found is not None
    assert str(found).startswith(said)
    assert hint in found.hint


@pytest.mark.parametrize(
    "tail",
    [
        (),
        ("no voice found",),
        (f"{POOL}Connection refused", "Traceback (most recent call last):", "KeyError: 'model'"),
        ("torch.OutOfMemoryError: CUDA out of memory",),
        ("ModuleNotFoundError: No module named 'requests'",),
    ],
)
def test_other_errors_are_not_blamed_on_a_host(tail: tuple[str, ...]) -> None:
    assert lost_host(tail) is None
