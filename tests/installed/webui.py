"""Webui: a small app that downloads its weights into the cache at its first start, and then serves a page."""

import json
import sys
import urllib.request
from pathlib import Path

from tests.command import Preheat, Running

# Standard library only, for any Python. Optional arguments: REPOSITORY FILE… --port PORT.
CODE = """
import http.server, json, os, sys, urllib.request

words = sys.argv[1:]
port = int(words[words.index("--port") + 1])
repository, files = "{repository}", {files}
hub = os.environ.get("HF_ENDPOINT", "")
home = os.environ.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface")
cache = os.environ.get("HF_HUB_CACHE") or home + "/hub"
folder = cache + "/models--" + repository.replace("/", "--")

def fetched(path):
    return urllib.request.urlopen(hub + path).read()

def kept(path, body):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".incomplete", "wb") as file:
        file.write(body)
    os.replace(path + ".incomplete", path)

if not os.path.exists(folder + "/refs/main"):
    assert not os.environ.get("HF_HUB_OFFLINE"), "not in the cache, and offline"
    kept(folder + "/refs/main", json.loads(fetched("/api/models/" + repository + "/revision/main"))["sha"].encode())
commit = open(folder + "/refs/main").read()
size = 0
for name in files:
    path = folder + "/snapshots/" + commit + "/" + name
    if not os.path.exists(path):
        kept(path, fetched("/" + repository + "/resolve/" + commit + "/" + name))
    size += len(open(path, "rb").read())

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"%d bytes are loaded" % size
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", port), Page).serve_forever()
"""

FIRST = """
import sys, urllib.request
assert urllib.request.urlopen("http://127.0.0.1:" + sys.argv[1]).read() == b"9000046 bytes are loaded"
"""


def write_webui(folder: Path, repository: str, files: list[str]) -> None:
    """Write `webui.py`, which needs `files` of `repository`."""
    (folder / "webui.py").write_text(CODE.replace("{repository}", repository).replace("{files}", repr(files)))


def write_recipe(preheat: Preheat, port: int) -> None:
    """Write the app with a recipe, and a program that uses it once."""
    files = ["model.safetensors", "config.json", "same.json"]
    write_webui(preheat.folder, "acme/tiny", files)
    (preheat.folder / "first.py").write_text(FIRST)
    command = [sys.executable, "{dir}/webui.py", "--port", str(port)]
    (preheat.folder / "preheat.toml").write_text(
        f'[app]\nname = "tiny"\ncommand = {json.dumps(command)}\nready = "http://127.0.0.1:{port}/"\n'
        f'first = "exec:{sys.executable} {{dir}}/first.py {port}"\n'
        f'[[needs]]\nref = "hf:acme/tiny"\nfiles = {json.dumps(files)}\n'
    )


def answer(running: Running, url: str) -> bytes:
    """Wait until a server responds at `url`, and return the body."""
    bodies: list[bytes] = []

    def answers(_: Running) -> bool:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                bodies.append(response.read())
        except OSError:
            return False
        return True

    running.until(answers)
    return bodies[-1]
