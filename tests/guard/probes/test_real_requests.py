"""Real requests to servers that respond as gradio, vLLM and text-to-speech servers do."""

import io
import json
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from preheat.guard.model.tail import Tail
from preheat.guard.probes.probes import parse_probe, port_of
from preheat.guard.probes.real_requests import whole_wav


def sound(samples: int = 800) -> bytes:
    body = io.BytesIO()
    with wave.open(body, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\1\2" * samples)
    return body.getvalue()


class Models(BaseHTTPRequestHandler):
    """A server with Gradio at /gradio_api, an older one at /call, OpenAI-style at /v1, sound at /tts."""

    asked: list[tuple[str, object]]

    def do_GET(self) -> None:
        answers = {
            "/gradio_api/call/say/e1": b'event: generating\ndata: [1]\n\nevent: complete\ndata: ["hi"]\n\n',
            "/gradio_api/call/fail/e1": b"event: error\ndata: null\n\n",
            "/call/old/e1": b"event: complete\ndata: []\n\n",
            "/v1/models": b'{"data": [{"id": "tiny"}]}',
            "/empty/models": b'{"data": []}',
            "/tts?text=hi": sound(),
            "/silence": sound(0),
            "/cut": sound()[:-10],
            "/drip": b"",
        }
        if self.path == "/drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            try:
                while True:
                    self.wfile.write(b"X-Drip: 1\r\n")
                    time.sleep(0.05)
            except OSError:
                return
        self.say(answers.get(self.path))

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, said))
        answers = {
            "/gradio_api/call/say": b'{"event_id": "e1"}',
            "/gradio_api/call/fail": b'{"event_id": "e1"}',
            "/call/old": b'{"event_id": "e1"}',
            "/v1/completions": b'{"choices": [{"text": "!"}]}',
            "/v1/audio/speech": sound(),
        }
        self.say(answers.get(self.path))

    def say(self, body: bytes | None) -> None:
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has it so
        pass


@contextmanager
def serving() -> Iterator[tuple[str, list[tuple[str, object]]]]:
    asked: list[tuple[str, object]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Asked", (Models,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ready(text: str) -> bool:
    return parse_probe(text, Tail(), each_time=True).ready()


def test_a_gradio_call_is_made_and_its_result_awaited() -> None:
    with serving() as (url, asked):
        assert ready(f'gradio:{url}/say ["hi", 3]')
        assert asked == [("/gradio_api/call/say", {"data": ["hi", 3]})]
        assert ready(f"gradio:{url}/old")
        assert not ready(f"gradio:{url}/fail")
        assert not ready(f"gradio:{url}/nowhere")


def test_an_openai_style_server_without_chat_is_asked_for_a_completion() -> None:
    with serving() as (url, asked):
        assert ready(f"openai:{url}/v1")
        assert [path for path, _ in asked] == ["/v1/chat/completions", "/v1/completions"]
        assert not ready(f"openai:{url}/empty")
        assert not ready(f"openai:{url}/nowhere")


def test_sound_counts_as_ready_only_if_it_is_complete() -> None:
    with serving() as (url, asked):
        assert ready(f"wav:{url}/tts?text=hi")
        assert ready(f'wav:{url}/v1/audio/speech {{"input": "hi"}}')
        assert asked == [("/v1/audio/speech", {"input": "hi"})]
        assert not any(ready(f"wav:{url}{path}") for path in ("/silence", "/cut", "/v1/models", "/nowhere"))


def test_streamed_sound_has_no_known_length() -> None:
    streamed = bytearray(sound())
    streamed[40:44] = b"\xff\xff\xff\xff"
    assert whole_wav(bytes(streamed))
    assert not whole_wav(b"RIFF")


def test_a_dripping_response_is_abandoned_at_the_deadline() -> None:
    with serving() as (url, _):
        began = time.monotonic()
        assert not ready(f"wav@0.5s:{url}/drip")
        assert time.monotonic() - began < 10


def test_after_its_first_success_a_real_request_is_not_repeated() -> None:
    with serving() as (url, asked):
        probe = parse_probe(f"gradio:{url}/say", Tail())
        assert all(probe.ready() for _ in range(5))
        assert len(asked) == 1
    assert not probe.ready()


def test_a_real_request_knows_its_port_and_invalid_ones_are_rejected() -> None:
    assert port_of("openai@60s:http://127.0.0.1:8000/v1") == 8000
    for text, words in (("wav:7860", "is not a real request"), ("gradio:http://h:1/x [", "Expecting value")):
        with pytest.raises(ValueError, match=words):
            parse_probe(text, Tail())
