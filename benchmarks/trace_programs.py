"""Programs: what bench_trace.py judges: tests/smallnet's light ones, and those that need a library of their own."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.smallnet import content
from tests.smallnet.judge import Program
from tests.smallnet.light_programs import LIGHT
from tests.smallnet.native_programs import native

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "build" / "smallnet"
# What each environment has; the newest releases are judged.
VENVS = {
    "light": (
        "tiktoken nltk gensim fastembed rembg datasets spacy piper-tts gdown rapidocr onnxruntime gpt4all pywhispercpp "
        "huggingface_hub requests modelscope pip onnx gguf"
    ),
    "torch": "torch torchvision timm ultralytics easyocr open_clip_torch keras kokoro funasr kaldi-native-fbank",
}
NODE = PLACE / "node"
TRANSFORMERS_JS = NODE / "node_modules/@huggingface/transformers/dist/transformers.node.mjs"


def weights(name: str, venv: str) -> Callable[[Path], None]:
    """Return a function that has trace_weights.py make the weights of a program, with an environment's libraries."""

    def serve(root: Path) -> None:
        environ = {"PATH": os.environ["PATH"], "HOME": str(root), "KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT)}
        words = (str(PLACE / venv / "bin/python"), "-W", "ignore", "-m", "benchmarks.trace_weights", name, str(root))
        subprocess.run(words, cwd=root, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return serve


def _python(name: str, packages: str, venv: str, serve: Callable[[Path], None], code: str, *brings: str) -> Program:
    return Program(name, {"app.py": code}, ("{python}", "app.py"), serve, tuple(packages.split()), venv, brings)


def _shell(name: str, packages: str, venv: str, serve: Callable[[Path], None], code: str, *brings: str) -> Program:
    text = f'#!/bin/bash\ncd "$(dirname "$0")"\n{code}'
    return Program(name, {"start.sh": text}, ("bash", "start.sh"), serve, tuple(packages.split()), venv, brings)


SMALL = (
    _python("tiktoken", "tiktoken", "light", content.byte_pairs, """import tiktoken
from tiktoken.load import load_tiktoken_bpe
ranks = load_tiktoken_bpe("https://openaipublic.blob.core.windows.net/encodings/small.tiktoken")
e = tiktoken.Encoding("small", pat_str=r"\\\\w+|\\\\s+", mergeable_ranks=ranks, special_tokens={})
print("WORKS", e.encode("hello world"))
"""),
    _python("nltk", "nltk", "light", content.stopwords, """import nltk
nltk.download("stopwords")
from nltk.corpus import stopwords
print("WORKS", stopwords.words("english")[:3])
"""),
    _python("gensim", "gensim", "light", content.vectors, """import gensim.downloader as api
m = api.load("small-vectors"); print("WORKS", m["w1"][:3])
"""),
    _python("fastembed", "fastembed", "light", weights("fastembed", "light"), """from fastembed import TextEmbedding
m = TextEmbedding("BAAI/bge-small-en-v1.5"); print("WORKS", len(list(m.embed(["w7 w8"]))[0]))
"""),
    _python("rembg", "rembg", "light", weights("rembg", "light"), """import os
os.environ["MODEL_CHECKSUM_DISABLED"] = "1"
from rembg import new_session, remove
from PIL import Image
s = new_session("u2netp"); o = remove(Image.new("RGB", (64, 64)), session=s); print("WORKS", o.size)
"""),
    _python("datasets", "datasets", "light", content.rows, """from datasets import load_dataset
d = load_dataset("acme/toy"); print("WORKS", d["train"].num_rows, d["test"][0])
"""),
    _shell("spaCy", "spacy", "light", content.wheel, """
{ python -c "import en_core_web_sm" 2> /dev/null || python -m spacy download en_core_web_sm; } &&
exec python -c "import spacy; n = spacy.load('en_core_web_sm'); print('WORKS', [t.text for t in n('Hello there')])"
""", "en_core_web_sm*"),
    _shell("piper", "piper-tts", "light", weights("piper", "light"), """mkdir -p voices
[ -f voices/en_US-joe-medium.onnx ] || python -m piper.download_voices --data-dir voices en_US-joe-medium
echo "hello there" | python -m piper --data-dir voices -m en_US-joe-medium -f /tmp/o.wav &&
echo WORKS $(stat -c %s /tmp/o.wav)
"""),
    _python("gdown", "gdown", "light", content.drive, """import os, gdown
p = os.path.expanduser("~/.faces/resnet_face.pth"); os.makedirs(os.path.dirname(p), exist_ok=True)
if not os.path.exists(p): gdown.download(id="1AbCdEfGhIjKlMnOpQrStUvWxYz012345", output=p, quiet=True)
print("WORKS", len(open(p, "rb").read()))
"""),
    _python("rapidocr", "rapidocr", "light", weights("rapidocr", "light"), """from rapidocr import RapidOCR
from PIL import Image, ImageDraw, ImageFont
import numpy as np
picture = Image.new("RGB", (640, 120), "white")
ImageDraw.Draw(picture).text((30, 30), "HELLO WORLD 42", fill="black", font=ImageFont.load_default(48))
read = " ".join(RapidOCR()(np.array(picture)).txts or ())
assert "HELLO" in read and "42" in read, read
print("WORKS", read)
""", "rapidocr/models/PP-OCRv6_rec_small.onnx"),
    _python("gpt4all", "gpt4all", "light", weights("gpt4all", "light"), """from gpt4all import GPT4All
m = GPT4All("small.Q8_0.gguf", device="cpu", n_ctx=512); print("WORKS", m.config["filename"])
"""),
    _python("pywhispercpp", "pywhispercpp", "light", weights("whisper_cpp", "light"), """import pywhispercpp.model
m = pywhispercpp.model.Model("tiny.en"); print("WORKS", m.system_info()[:40])
"""),
    _python("modelscope", "modelscope", "light", content.tiny, """import os
from modelscope import snapshot_download
p = snapshot_download("acme/tiny"); print("WORKS", len(open(os.path.join(p, "model.bin"), "rb").read()))
"""),
    _python("HfFileSystem", "huggingface_hub", "light", content.tiny, """from huggingface_hub import HfFileSystem
f = HfFileSystem().open("acme/tiny/tokenizer.json"); print("WORKS", len(f.read()))
"""),
    Program(
        "transformers.js",
        {"app.mjs": f"""import {{ pipeline, env }} from "{TRANSFORMERS_JS}";
env.cacheDir = "./models-cache";
const p = await pipeline("feature-extraction", "Xenova/all-MiniLM-L6-v2", {{ dtype: "fp32" }});
const o = await p("w7 w8", {{ pooling: "mean" }});
console.log("WORKS", o.dims);
"""},
        ("node", "app.mjs"), weights("transformers_js", "light"), ("@huggingface/transformers",),
    ),
)  # fmt: skip
TORCH = (
    _python("easyocr", "easyocr torch", "torch", weights("easyocr", "torch"), """import easyocr, numpy as np
r = easyocr.Reader(["en"], gpu=False, verbose=False); print("WORKS", r.readtext(np.full((64, 200, 3), 255, np.uint8)))
"""),
    _python("torch.hub, silero", "torch", "torch", weights("silero", "torch"), """import torch
m, u = torch.hub.load("snakers4/silero-vad", "silero_vad", trust_repo=True)
print("WORKS", float(m(torch.zeros(512), 16000)))
"""),
    _python("timm", "timm", "torch", weights("timm", "torch"), """import timm, torch
m = timm.create_model("resnet10t", pretrained=True).eval(); print("WORKS", m(torch.zeros(1, 3, 64, 64)).shape)
"""),
    _python("torchvision", "torchvision", "torch", weights("torchvision", "torch"), """import torch, torchvision
w = torch.hub.load_state_dict_from_url("https://download.pytorch.org/models/squeezenet1_1-small.pth")
m = torchvision.models.squeezenet1_1().eval(); m.load_state_dict(w); print("WORKS", m(torch.zeros(1, 3, 64, 64)).shape)
"""),
    _python("ultralytics", "ultralytics", "torch", weights("ultralytics", "torch"), """from ultralytics import YOLO
import numpy as np
m = YOLO("yolo11n.pt"); print("WORKS", len(m.predict(np.zeros((64, 64, 3), np.uint8), verbose=False)))
"""),
    _python("keras", "keras", "torch", weights("keras", "torch"), """import os
os.environ["KERAS_BACKEND"] = "torch"
import keras
m = keras.applications.MobileNet(alpha=0.25, input_shape=(128, 128, 3), weights="imagenet")
print("WORKS", m.count_params())
"""),
    _python("open_clip", "open_clip_torch", "torch", weights("open_clip", "torch"), """import open_clip
m, _, p = open_clip.create_model_and_transforms("hf-hub:acme/tinyclip"); t = open_clip.get_tokenizer("ViT-B-32")
print("WORKS", m.encode_text(t(["a cat"])).shape)
"""),
    _python("kokoro", "kokoro spacy", "torch", weights("kokoro", "torch"), """from kokoro import KPipeline
p = KPipeline(lang_code="a", repo_id="hexgrad/Kokoro-82M")
for g, ph, a in p("Hello there.", voice="af_heart"): print("WORKS", a.shape)
""", "en_core_web_sm*"),
    _python("funasr", "funasr modelscope", "torch", weights("funasr", "torch"), """from funasr import AutoModel
import numpy as np
m = AutoModel(model="fsmn-vad", disable_update=True, device="cpu")
print("WORKS", m.generate(input=np.zeros(16000, dtype=np.float32), fs=16000))
"""),
)  # fmt: skip
PROGRAMS: tuple[Program, ...] = (*LIGHT, *SMALL, *TORCH, *native(PLACE / "native"))
