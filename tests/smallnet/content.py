"""Content: small files in the forms that programs download, made by the standard library alone."""

import base64
import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path


def put(path: Path, body: bytes | str) -> Path:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body.encode() if isinstance(body, str) else body)
    return path


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    """Return a zip archive."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return held.getvalue()


def tarred(files: Mapping[str, bytes]) -> bytes:
    """Return a gzipped tar archive."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return held.getvalue()


def chance(name: str, size: int) -> bytes:
    """Return bytes that no archive makes smaller, the same ones for a name."""
    return random.Random(name).randbytes(size)


def stopwords(root: Path) -> None:
    """nltk's index, and a corpus as a zip."""
    base = root / "raw.githubusercontent.com/nltk/nltk_data/gh-pages"
    words = {"stopwords/": "", "stopwords/english": "i\nme\nmyself\n" * 300, "stopwords/german": "ich\nmich\n" * 400}
    body = zipped(words)
    put(base / "packages/corpora/stopwords.zip", body)
    told = (
        f'id="stopwords" name="Stopwords Corpus" version="1" subdir="corpora" size="{len(body)}" unzip="1" '
        f'unzipped_size="9000" checksum="{hashlib.md5(body).hexdigest()}" '
        f'sha256_checksum="{hashlib.sha256(body).hexdigest()}" '
        'url="https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/stopwords.zip"'
    )
    put(base / "index.xml", f"<nltk_data><packages><package {told}/></packages><collections/></nltk_data>")


def byte_pairs(root: Path) -> None:
    """tiktoken's vocabulary: all bytes, and some pairs."""
    tokens = [bytes([byte]) for byte in range(256)] + [b"he", b"ll", b"hell", b"hello", b" w", b"or", b"ld"]
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens))
    put(root / "openaipublic.blob.core.windows.net/encodings/small.tiktoken", "".join(lines))


_READER = """import os
from gensim.downloader import base_dir
from gensim.models import KeyedVectors
def load_data():
    return KeyedVectors.load_word2vec_format(os.path.join(base_dir, "small-vectors", "small-vectors.gz"), binary=False)
"""


def vectors(root: Path) -> None:
    """gensim's list of models, one of them, and the code that reads it."""
    found = random.Random(1)
    lines = (f"w{n} {' '.join(f'{found.gauss(0, 1):.4f}' for _ in range(25))}\n" for n in range(2000))
    body = gzip.compress(f"2000 25\n{''.join(lines)}".encode(), mtime=0)
    release = "RaRe-Technologies/gensim-data/releases/download/small-vectors"
    put(root / "github.com" / release / "__init__.py", _READER)
    put(root / "github.com" / release / "small-vectors.gz", body)
    told = {
        "num_records": 2000, "file_size": len(body), "parameters": {"dimension": 25}, "description": "", "license": "",
        "reader_code": f"https://github.com/{release}/__init__.py", "checksum": hashlib.md5(body).hexdigest(),
        "file_name": "small-vectors.gz", "parts": 1, "read_more": [], "base_dataset": "",
    }  # fmt: skip
    listed = json.dumps({"corpora": {}, "models": {"small-vectors": told}})
    put(root / "raw.githubusercontent.com/RaRe-Technologies/gensim-data/master/list.json", listed)


def weights(root: Path) -> None:
    """Files of a plain download host, some archives among them, and a repository of a hub."""
    host = root / "download.example.ai/models"
    put(host / "voice.ckpt", chance("voice", 3_000_000))
    put(host / "vocoder.bin", chance("vocoder", 400_000))
    put(host / "config.yaml", "rate: 22050\n")
    put(host / "lexicon.zip", zipped({"lexicon/words.txt": "hello\n" * 5000, "lexicon/more/tones.txt": "1\n" * 9}))
    put(host / "dictionary.tar.gz", tarred({"dictionary/sys.dic": chance("dic", 200_000), "dictionary/unk.dic": b"x"}))
    tiny(root)


def tiny(root: Path) -> None:
    """A repository of a hub."""
    hub = root / "hub/acme/tiny"
    put(hub / "model.bin", chance("model", 1_000_000))
    put(hub / "config.json", '{"model_type": "tiny"}\n')
    put(hub / "tokenizer.json", json.dumps({"vocab": {f"w{n}": n for n in range(2000)}}))


def drive(root: Path) -> None:
    """A file that Google Drive sends only after a question."""
    put(root / "drive.google.com/1AbCdEfGhIjKlMnOpQrStUvWxYz012345/resnet_face.pth", chance("face", 6_000_000))


def git(root: Path) -> None:
    """A repository with a file in LFS, as plain files that git reads over HTTP."""
    host = root / "git.example.org"
    if (host / "acme/voice.git").is_dir():
        return
    body = chance("lfs", 800_000)
    digest = hashlib.sha256(body).hexdigest()
    put(host / "lfs" / digest, body)
    work = root / "git-work"
    put(work / ".gitattributes", "*.ckpt filter=lfs diff=lfs merge=lfs -text\n")
    put(work / "README.md", "# A voice\n")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(body)}\n"
    put(work / "voice.ckpt", pointer)
    environ = {
        "PATH": os.environ["PATH"], "HOME": str(root), "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_AUTHOR_DATE": "2025-01-01T00:00:00Z",
        "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_COMMITTER_DATE": "2025-01-01T00:00:00Z",
    }  # fmt: skip
    # Without git-lfs' filters, what is written here are the pointers.
    plain = ("-c", "filter.lfs.clean=cat", "-c", "filter.lfs.smudge=cat", "-c", "filter.lfs.required=false")
    bare = host / "acme/voice.git"
    bare.parent.mkdir(parents=True, exist_ok=True)
    for words in (
        ("init", "-q", "-b", "main"), (*plain, "add", "."), (*plain, "commit", "-q", "-m", "A voice"),
        ("clone", "-q", "--bare", str(work), str(bare)), ("-C", str(bare), "update-server-info"),
    ):  # fmt: skip
        subprocess.run(("git", *words), cwd=work, env=environ, check=True)


def wheel(root: Path) -> None:
    """spaCy's table of models, and one as a wheel that pip installs at run time."""
    table = {"spacy": {version: {"en_core_web_sm": ["3.8.0"]} for version in ("3.7", "3.8", "3.9", "4.0")}}
    put(root / "raw.githubusercontent.com/explosion/spacy-models/master/compatibility.json", json.dumps(table))
    name, info = "en_core_web_sm", "en_core_web_sm-3.8.0.dist-info"
    model = f"{name}/{name}-3.8.0"
    about = {"lang": "en", "name": "core_web_sm", "version": "3.8.0", "spacy_version": ">=3.7", "pipeline": []}
    config = (
        '[nlp]\nlang = "en"\npipeline = []\ndisabled = []\nbefore_creation = null\nafter_creation = null\n'
        'after_pipeline_creation = null\nbatch_size = 1000\n[nlp.tokenizer]\n@tokenizers = "spacy.Tokenizer.v1"\n'
        '[nlp.vectors]\n@vectors = "spacy.Vectors.v1"\n[components]\n'
    )
    loads = (
        "from pathlib import Path\nfrom spacy.util import load_model_from_init_py, get_model_meta\n"
        "__version__ = get_model_meta(Path(__file__).parent)['version']\n"
        "def load(**overrides):\n    return load_model_from_init_py(__file__, **overrides)\n"
    )
    files: dict[str, bytes | str] = {
        f"{name}/__init__.py": loads,
        f"{name}/meta.json": json.dumps(about),
        f"{model}/meta.json": json.dumps(about),
        f"{model}/config.cfg": config,
        f"{model}/tokenizer": b"\x80",
        f"{model}/vocab/strings.json": "[]",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: en_core_web_sm\nVersion: 3.8.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: smallnet\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{one},,\n" for one in (*files, f"{info}/RECORD"))
    release = root / "github.com/explosion/spacy-models/releases/download/en_core_web_sm-3.8.0"
    put(release / "en_core_web_sm-3.8.0-py3-none-any.whl", zipped({**files, f"{info}/RECORD": record}))


def rows(root: Path) -> None:
    """A data set as comma-separated files."""
    for name, size in (("train", 2000), ("test", 20)):
        lines = (f"{n},row {n}\n" for n in range(size))
        put(root / f"hub/datasets/acme/toy/{name}.csv", f"number,text\n{''.join(lines)}")
    put(root / "hub/datasets/acme/toy/README.md", "# Toy\n")
