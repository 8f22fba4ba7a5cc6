"""Chat page: a page that answers questions with a small language model.

It loads its model with transformers when it starts, from wherever huggingface_hub finds it, and knows nothing of
preheat.
"""

import argparse
import html
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL = "preheat-demo/SmolLM2-135M-Instruct"
PAGE = """<!doctype html><meta charset="utf-8"><title>Chat page</title>
<form><input name="ask" size="60" value="{ask}" autofocus> <button>Ask</button></form><p>{answer}</p>"""


class Chat:
    """The model, and a method to ask it."""

    def __init__(self) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(MODEL)
        self._model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.bfloat16)

    def answer(self, question: str) -> str:
        """Generate a short answer, always the same for one question."""
        asked = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            said = self._model.generate(**asked, max_new_tokens=24, do_sample=False)
        return self._tokenizer.decode(said[0][asked["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def page_for(chat: Chat) -> type[BaseHTTPRequestHandler]:
    """Build the page for the model."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fields = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            ask = fields.get("ask", [""])[0]
            answer = chat.answer(ask) if ask else ""
            body = PAGE.format(ask=html.escape(ask), answer=html.escape(answer)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    return Page


def main() -> None:
    """Load the model, then open the page."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--port", type=int, default=7870, help="port to listen on (default: %(default)s)")
    port = words.parse_args().port
    chat = Chat()
    print(f"Chat page at http://127.0.0.1:{port}/", flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), page_for(chat)).serve_forever()


if __name__ == "__main__":
    main()
