"""Screenshot: a picture of Speech WebUI at work, taken with a real browser. Standard library only.

Chromium types a sentence, presses Generate and waits for the waveform; chromedriver takes the orders, over WebDriver.
"""

import argparse
import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE_S = 60
WIDTH, HEIGHT = 1280, 800
SENTENCE = "The weights were already on this machine, so the page opened at once."

# Type as a person does: the page's framework listens for the input event, not for the value.
TYPE = """
const box = document.querySelector('#text textarea');
box.value = arguments[0];
box.dispatchEvent(new Event('input', {bubbles: true}));
"""
PRESS = "document.querySelector('button#generate, #generate button').click(); document.activeElement.blur();"
IS_THERE = "return !!document.querySelector('#text textarea') && !!document.querySelector('#generate')"
# The waveform is drawn on canvases inside a shadow root; the note below it comes with the speech.
IS_DRAWN = """
const wave = [...document.querySelectorAll('#speech *')].map(node => node.shadowRoot).find(root => root);
const canvas = wave && wave.querySelector('canvas');
const note = document.querySelector('#said');
return !!canvas && canvas.width > 0 && !!note && note.innerText.includes('s of speech');
"""

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Failed(Exception):
    """The screenshot could not be taken; the message contains the reason."""


def order(session: str, name: str, body: dict[str, Any] | None = None) -> Any:
    """Send chromedriver one command, and return its response."""
    data = json.dumps(body or {}).encode()
    request = urllib.request.Request(f"{session}/{name}", data, {"Content-Type": "application/json"})
    try:
        with OPENER.open(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        told = json.load(error)["value"]
        raise Failed(str(told["message"]).splitlines()[0]) from error


def script(session: str, text: str, *values: object) -> Any:
    """Run JavaScript in the page."""
    return order(session, "execute/sync", {"script": text, "args": values})


def wait_for(session: str, question: str, what: str) -> None:
    """Evaluate an expression in the page until it is true."""
    end = time.monotonic() + PATIENCE_S
    while not script(session, question):
        if time.monotonic() > end:
            raise Failed(f"{what} did not appear within {PATIENCE_S} s")
        time.sleep(0.1)


def found(*names: str) -> str:
    """Find a program by any of its names."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise Failed(
        f"{names[0]} is not installed\n  on Debian: apt-get install --no-install-recommends "
        "chromium chromium-driver fonts-dejavu-core fonts-noto-cjk"
    )


@contextlib.contextmanager
def browser(host: str) -> Iterator[str]:
    """Start Chromium with chromedriver so that it can reach only `host`; return the session's URL."""
    chromium, chromedriver = found("chromium", "chromium-browser", "google-chrome"), found("chromedriver")
    flags = [
        "--headless=new",
        "--disable-gpu",
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--hide-scrollbars",
        "--mute-audio",
        "--lang=en",
        f"--window-size={WIDTH},{HEIGHT}",
        f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {host}",
    ]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium's sandbox refuses to start for root
    with tempfile.TemporaryDirectory() as profile, contextlib.ExitStack() as stack:
        flags.append(f"--user-data-dir={profile}")
        driver = stack.enter_context(subprocess.Popen([chromedriver, "--port=0"], stdout=subprocess.PIPE, text=True))
        stack.callback(driver.terminate)
        address = f"http://127.0.0.1:{port_of(driver)}/session"
        wish = {"browserName": "chrome", "goog:chromeOptions": {"binary": chromium, "args": flags}}
        url = f"{address}/{session_id(address, wish)}"
        try:
            yield url
        finally:
            OPENER.open(urllib.request.Request(url, method="DELETE"), timeout=PATIENCE_S).close()


def port_of(driver: "subprocess.Popen[str]") -> str:
    """Read the port on which chromedriver listens."""
    assert driver.stdout is not None
    for line in driver.stdout:
        if "started successfully on port" in line:
            return line.rpartition(" ")[2].strip().rstrip(".")
    raise Failed("chromedriver did not start")


def session_id(address: str, wish: dict[str, Any]) -> str:
    """Open a browser session with these capabilities."""
    server, _, name = address.rpartition("/")
    return str(order(server, name, {"capabilities": {"alwaysMatch": wish}})["sessionId"])


def take(url: str, text: str) -> bytes:
    """Generate the sentence in a browser, and take the screenshot."""
    try:
        OPENER.open(url, timeout=PATIENCE_S).close()
    except (OSError, ValueError) as error:
        raise Failed(f"no page at {url}: {getattr(error, 'reason', error)}\n  start it with: python app.py") from error
    with browser(urllib.parse.urlsplit(url).hostname or "") as session:
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        order(session, "goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})
        order(session, "url", {"url": url})
        wait_for(session, IS_THERE, "the Speak tab")
        script(session, TYPE, text)
        script(session, PRESS)
        wait_for(session, IS_DRAWN, "the waveform")
        time.sleep(0.7)  # let the last fades end
        picture = order(session, "goog/cdp/execute", {"cmd": "Page.captureScreenshot", "params": {"format": "png"}})
        return base64.b64decode(picture["data"])


def main() -> int:
    """Take the screenshot and save it."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--url", default="http://127.0.0.1:7860/", help="where the page is (default: %(default)s)")
    words.add_argument("--output", type=Path, required=True, help="where to save the picture (PNG)")
    words.add_argument("--text", default=SENTENCE, help="the sentence to speak")
    asked = words.parse_args()
    try:
        picture = take(asked.url, asked.text)
    except (Failed, OSError) as error:
        print(f"screenshot: {error}", file=sys.stderr)
        return 1
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_bytes(picture)
    print(f"{asked.output}: {WIDTH}x{HEIGHT}, {len(picture):,} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
