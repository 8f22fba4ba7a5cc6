"""Say: ask a running Speech WebUI for a sentence, as a user would. Standard library only."""

import argparse
import http.client
import io
import json
import sys
import time
import urllib.error
import urllib.request
import uuid
import wave
from pathlib import Path
from typing import Any

PATIENCE_S = 120
NOT_OURS = "is this the address of Speech WebUI?"

# The page is on this machine or near it; a proxy for the outside world must not come between.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Failed(Exception):
    """The page failed; the message contains the reason, the hint a remedy."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def ask(url: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
    """Request `url`, or post `body` to it."""
    request = urllib.request.Request(url, body, {"Content-Type": kind} if body is not None else {})
    try:
        with OPENER.open(request, timeout=PATIENCE_S) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        detail = error.read(300).decode(errors="replace").strip()
        raise Failed(f"{url} answered {error.code}: {detail}", NOT_OURS) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise Failed(f"no answer from {url}: {reason}", "is the page up? start it with: python app.py") from error


def call(page: str, endpoint: str, *values: object) -> list[Any]:
    """Call one of the page's endpoints: post the values, then read the events until it is complete."""
    there = f"{page}/gradio_api/call/{endpoint}"
    ticket = read_json(ask(there, json.dumps({"data": values}).encode()), there)
    if not isinstance(ticket, dict) or "event_id" not in ticket:
        raise Failed(f"{there} did not answer as a Gradio page does", NOT_OURS)
    events = ask(f"{there}/{ticket['event_id']}").decode()
    for event in events.split("\n\n"):
        name, _, rest = event.partition("\n")
        if name == "event: complete":
            return read_json(rest.removeprefix("data: ").encode(), there)
        if name == "event: error":
            told = read_json(rest.removeprefix("data: ").encode(), there) or {}
            reason = told.get("error") if isinstance(told, dict) else told
            raise Failed(f"/{endpoint} failed: {reason or 'the page does not say why'}", "see the page's own log")
    raise Failed(f"/{endpoint} stopped before it was complete", "see the page's own log")


def read_json(text: bytes, source: str) -> Any:
    """Parse JSON that came from `source`."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failed(f"{source} did not answer in JSON", NOT_OURS) from error


def say(page: str, text: str) -> bytes:
    """Request the spoken sentence, and download the WAV."""
    speech = call(page, "say", text)[0]
    return ask(f"{page}/gradio_api/file={speech['path']}")


def length_s(sound: bytes) -> float:
    """Return the length of the speech; raise Failed without any."""
    try:
        with wave.open(io.BytesIO(sound)) as speech:
            seconds = speech.getnframes() / speech.getframerate()
    except (wave.Error, EOFError) as error:
        raise Failed(f"what came back is not a WAV file ({error})", "see the page's own log") from error
    if not seconds:
        raise Failed("the speech that came back is empty", "try another sentence")
    return seconds


def transcribe(page: str, sound: bytes) -> str:
    """Upload the WAV, and return its transcription."""
    line = uuid.uuid4().hex
    head = f'--{line}\r\nContent-Disposition: form-data; name="files"; filename="speech.wav"\r\n'
    body = f"{head}Content-Type: audio/wav\r\n\r\n".encode() + sound + f"\r\n--{line}--\r\n".encode()
    there = f"{page}/gradio_api/upload"
    [path] = read_json(ask(there, body, f"multipart/form-data; boundary={line}"), there)
    return str(call(page, "transcribe", {"path": path, "meta": {"_type": "gradio.FileData"}})[0]).strip()


def address(text: str) -> str:
    """Parse the page's address."""
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} does not start with http://")
    return text.rstrip("/")


def main() -> int:
    """Say one sentence; print the transcription to stdout, everything else to stderr."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument(
        "--url", type=address, default="http://127.0.0.1:7860", help="where the page is (default: %(default)s)"
    )
    words.add_argument("--text", required=True, help="the sentence to speak")
    words.add_argument("--wav", type=Path, help="save the speech in this file")
    words.add_argument("--transcribe", action="store_true", help="have the page write the speech down, and print it")
    asked = words.parse_args()
    try:
        began = time.monotonic()
        sound = say(asked.url, asked.text)
        took = time.monotonic() - began
        print(f"{length_s(sound):.1f} s of speech after {took:.2f} s", file=sys.stderr)
        if asked.wav:
            asked.wav.parent.mkdir(parents=True, exist_ok=True)
            asked.wav.write_bytes(sound)
            print(f"saved as {asked.wav}", file=sys.stderr)
        if asked.transcribe:
            heard = transcribe(asked.url, sound)
            if not heard:
                raise Failed("nothing was heard in the speech", "listen to it with --wav FILE")
            print(heard)
    except Failed as error:
        print(f"say: {error}\n  {error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
