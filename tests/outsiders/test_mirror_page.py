"""The mirror's page in a real browser."""

import os
import signal
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.mirroring import mirroring
from tests.outsiders.browser import Page, chromium

pytestmark = pytest.mark.slow

# As a hub could call a file.
NAME = "<img src=x onerror=\"document.title='owned'\">.bin"


class Room:
    """A mirror that is downloading a large file from a slow upstream, for a client that reads it."""

    def __init__(self, preheat: Preheat, folder: Path) -> None:
        assert preheat("pull", "acme/tiny").status == 0
        assert preheat("pin", "acme/tiny").status == 0
        (folder / "large").mkdir()
        (folder / "large" / NAME).write_bytes(os.urandom(20_000_000))
        words = ("--folder", f"acme/large={folder}/large", "--pace", "150K")
        far = Preheat(folder / "far", "http://127.0.0.1:1")
        far.folder.mkdir()
        _, upstream = mirroring(far, *words)
        # The browser knows nothing of the tests' authority, so that its page comes over HTTP.
        self.mirror, self.url = mirroring(preheat, "--upstream", f"hf={upstream}", tls=False)
        self._far = far
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        path = urllib.parse.quote(NAME, safe="")
        with (
            suppress(OSError),
            urllib.request.urlopen(f"{self.url}/acme/large/resolve/main/{path}", timeout=60) as answer,
        ):
            while answer.read(100_000):
                pass

    def close(self) -> None:
        self._far.close()


@pytest.fixture
def room(preheat: Preheat, tmp_path: Path) -> Iterator[Room]:
    room = Room(preheat, tmp_path)
    yield room
    room.close()


@pytest.fixture
def page() -> Iterator[Page]:
    with chromium("127.0.0.1") as page:
        yield page


def test_the_page_updates_itself_escapes_names_and_fits(room: Room, page: Page) -> None:
    page.open(room.url)
    page.until("document.querySelector('progress') !== null")
    # It is the same page that is brought up to date: the script may run, and the style applies.
    page.run("window.same = true")
    before = page.run("return document.querySelector('progress').value")
    page.until(f"document.querySelector('progress').value > {before}")
    assert page.run("return window.same") is True
    shown = page.run("return document.body.innerText")
    assert NAME in shown
    assert "hf:acme/tiny" in shown
    assert "pinned" in shown
    assert f"export HF_ENDPOINT={room.url}" in shown
    assert page.run("return document.title") == "preheat mirror"
    assert page.run("return document.querySelectorAll('img').length") == 0
    light = page.run("return getComputedStyle(document.body).backgroundColor")
    page.tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert page.run("return getComputedStyle(document.body).backgroundColor") != light
    page.tell("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    page.until("document.documentElement.clientWidth <= 360")
    assert page.run("return document.documentElement.scrollWidth") <= 360
    assert room.mirror.kill(signal.SIGKILL).status < 0
    page.until("!document.getElementById('gone').hidden")


def test_a_chinese_browser_gets_the_chinese_page(room: Room, page: Page) -> None:
    page.tell("Network.enable")
    page.tell("Network.setExtraHTTPHeaders", headers={"Accept-Language": "zh-CN,zh;q=0.9"})
    page.open(room.url)
    page.until("document.documentElement.lang === 'zh-CN'")
    assert "本地模型库" in page.run("return document.body.innerText")
