"""The apps that the guard is measured with."""

# Answers with 200 after loading for a while.
WEB = """
import http.server, os, sys, time
time.sleep(float(os.environ.get("LOADS_S", "0.2")))
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
Server(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""

# 1 GB of safetensors: what stands before "# load" makes the file, all of it loads it and reads every tensor.
TENSORS = """
import os
import torch
from safetensors.torch import load_file, save_file
weights = os.environ["WEIGHTS"]
if not os.path.exists(weights):
    save_file({f"layer.{n}": torch.randn(1000, 5000) for n in range(50)}, weights)
# load
model = load_file(weights)
total = sum(float(tensor[::16].sum()) for tensor in model.values())
print("loaded", total, flush=True)
if "TRACED" not in os.environ:
    import time
    time.sleep(600)
"""

# Notes every file that is opened, in order, to $TRACE; at the end those too that were only mapped.
TRACED = """
import atexit, os, sys
os.environ["TRACED"] = "1"
_seen = {}
def _note(path):
    if isinstance(path, (str, os.PathLike)) and os.path.isabs(os.fspath(path)): _seen.setdefault(os.path.realpath(path))
def _hook(event, arguments):
    if event == "open": _note(arguments[0])
    elif event == "import" and arguments[1]: _note(arguments[1])
    elif event == "import": _mapped()
_count = [0]
def _mapped():
    _count[0] += 1
    if _count[0] % 50 and _count[0] > 0: return
    for line in os.popen("") if False else open("/proc/self/maps"):
        words = line.split(None, 5)
        if len(words) == 6 and words[5].startswith("/"): _note(words[5].rstrip("\\n"))
def _write():
    _count[0] = -1
    _mapped()
    weights = os.path.realpath(os.environ["WEIGHTS"])
    order = [p for p in _seen if p != weights and os.path.isfile(p) and not p.startswith(("/proc", "/sys", "/dev"))]
    open(os.environ["TRACE"], "w").write("\\n".join([*order, weights]) + "\\n")
atexit.register(_write)
sys.addaudithook(_hook)
"""

# Imports what a speech or language WebUI imports, and serves a page.
GRADIO = """
import os
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline
import gradio
with gradio.Blocks() as page:
    gradio.Textbox(label="text")
page.launch(server_name="127.0.0.1", server_port=int(os.environ["GRADIO_SERVER_PORT"]), quiet=True)
"""
