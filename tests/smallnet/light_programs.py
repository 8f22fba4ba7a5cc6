"""Light programs: those of the small internet that need neither torch nor any package beyond the tests' own."""

from tests.smallnet import content
from tests.smallnet.judge import Program

_READ = "python3 -c \"import os, sys; [open(n, 'rb').read() for n in sys.argv[1:]]; print('WORKS')\""

CURL_WGET = Program(
    "curl-wget-aria2c",
    {
        "start.sh": f"""#!/bin/bash
cd "$(dirname "$0")"; mkdir -p weights
[ -s weights/voice.ckpt ] || curl -fsSL -o weights/voice.ckpt https://download.example.ai/models/voice.ckpt
[ -s weights/vocoder.bin ] || wget -q -P weights https://download.example.ai/models/vocoder.bin
[ -s weights/config.yaml ] || wget -q -P weights https://download.example.ai/models/config.yaml
[ -s weights/model.bin ] || aria2c -q -x4 -d weights -o model.bin https://huggingface.co/acme/tiny/resolve/main/model.bin
exec {_READ} weights/voice.ckpt weights/vocoder.bin weights/config.yaml weights/model.bin
"""
    },
    ("bash", "start.sh"),
    content.weights,
)
GIT_LFS = Program(
    "git-lfs",
    {
        "start.sh": f"""#!/bin/bash
cd "$(dirname "$0")"
[ -d voice ] || {{ git lfs install > /dev/null; git clone -q https://git.example.org/acme/voice.git voice; }}
exec {_READ} voice/voice.ckpt
"""
    },
    ("bash", "start.sh"),
    content.git,
)
RANGES = Program(
    "requests, ranges",
    {
        "app.py": """import os, requests
path = "weights/voice.ckpt"
os.makedirs("weights", exist_ok=True)
if not os.path.exists(path):
    with open(path, "wb") as file:
        at = 0
        while at < 3_000_000:
            asked = {"Range": f"bytes={at}-{at + 999_999}"}
            got = requests.get("https://download.example.ai/models/voice.ckpt", headers=asked)
            assert got.status_code == 206
            file.write(got.content)
            at += len(got.content)
print("WORKS", len(open(path, "rb").read()))
"""
    },
    ("{python}", "app.py"),
    content.weights,
    ("requests",),
    "light",
)
ARCHIVES = Program(
    "urllib, zip and tar",
    {
        "app.py": """import io, os, pathlib, shutil, tarfile, urllib.request, zipfile
home = pathlib.Path.home() / ".lexicon"
if not (home / "lexicon/words.txt").exists():
    home.mkdir(parents=True, exist_ok=True)
    file, _ = urllib.request.urlretrieve("https://download.example.ai/models/lexicon.zip")
    zipfile.ZipFile(file).extractall(home)
    os.unlink(file)
    urllib.request.urlretrieve("https://download.example.ai/models/dictionary.tar.gz", "dictionary.tar.gz")
    tarfile.open("dictionary.tar.gz").extractall(home, filter="data")
words = (home / "lexicon/words.txt").read_text().split()
print("WORKS", len(words), len((home / "dictionary/sys.dic").read_bytes()))
"""
    },
    ("{python}", "app.py"),
    content.weights,
)
MEMORY = Program(
    "urllib, written from memory",
    {
        "app.py": """import os, urllib.request
cache = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "voices")
path = os.path.join(cache, "vocoder")
if not os.path.exists(path):
    os.makedirs(cache, exist_ok=True)
    body = urllib.request.urlopen("https://download.example.ai/models/vocoder.bin").read()
    with open(path + ".part", "wb") as file:
        file.write(body)
    os.rename(path + ".part", path)
print("WORKS", len(open(path, "rb").read()))
"""
    },
    ("{python}", "app.py"),
    content.weights,
)
HF_CLI = Program(
    "hf download",
    {
        "start.sh": f"""#!/bin/bash
cd "$(dirname "$0")"
hf download acme/tiny --local-dir checkpoints > /dev/null || exit 3
exec {_READ} checkpoints/model.bin checkpoints/config.json checkpoints/tokenizer.json
"""
    },
    ("bash", "start.sh"),
    content.tiny,
    ("huggingface_hub",),
    "light",
)

# What CI judges: no package but the tests' own.
STANDARD = (CURL_WGET, ARCHIVES, MEMORY)
LIGHT = (*STANDARD, GIT_LFS, RANGES, HF_CLI)
