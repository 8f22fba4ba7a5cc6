"""Browser: a real Chromium, driven by the client that the example's own screenshots are taken with."""

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_CLIENT = Path(__file__).parents[2] / "examples/speech_webui/screenshot.py"


class Page:
    """A browser tab."""

    def __init__(self, client: Any, session: str) -> None:
        self._client = client
        self._session = session

    def open(self, url: str) -> None:
        """Go to a URL."""
        self._client.order(self._session, "url", {"url": url})

    def run(self, script: str) -> Any:
        """Run JavaScript; return what it returns."""
        return self._client.script(self._session, script)

    def until(self, question: str) -> None:
        """Evaluate an expression in the page until it is true."""
        self._client.wait_for(self._session, f"return {question}", question)

    def tell(self, command: str, **words: object) -> Any:
        """Send Chromium a command of its DevTools protocol."""
        return self._client.order(self._session, "goog/cdp/execute", {"cmd": command, "params": words})


@contextmanager
def chromium(host: str) -> Iterator[Page]:
    """Start Chromium so that it can reach only `host`; skip the test if it is not installed."""
    if not (shutil.which("chromium") or shutil.which("google-chrome")) or not shutil.which("chromedriver"):
        pytest.skip("chromium and chromedriver are not here (apt-get install chromium chromium-driver)")
    spec = importlib.util.spec_from_file_location("screenshot", _CLIENT)
    assert spec is not None
    assert spec.loader is not None
    client = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(client)
    with client.browser(host) as session:
        yield Page(client, session)
