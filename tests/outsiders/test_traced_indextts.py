"""IndexTTS' own webui.py, with USE_MODELSCOPE=true, is traced, and started from its recipe without a request.

Its download and start path is the real one, from a checkout that PREHEAT_INDEXTTS names; its networks are stood in for
by a module that reads the same files. The hubs are those of the small internet.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.outsiders.conftest import Outsider
from tests.smallnet.content import chance, put
from tests.smallnet.hosts import hosts
from tests.smallnet.judge import Judge, Program
from tests.smallnet.smallnet import SmallNet

_CHECKOUT = Path(os.environ.get("PREHEAT_INDEXTTS", "/nowhere"))
_TOOLS = ("ip", "nsenter", "setpriv")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(SmallNet.why_not()), reason=SmallNet.why_not()),
    pytest.mark.skipif(not all(map(shutil.which, _TOOLS)), reason=f"needs {', '.join(_TOOLS)}"),
    pytest.mark.skipif(not (_CHECKOUT / "webui.py").is_file(), reason="PREHEAT_INDEXTTS names no checkout of IndexTTS"),
]
SOMEBODY = 12345

# Enough of torch for webui.py, and for the annotations in what modelscope's client imports.
TORCH = """
import types
from torch import distributed, multiprocessing
class cuda:
    is_available = staticmethod(lambda: False)
class _Part(types.SimpleNamespace):
    def __getattr__(self, name):
        if name.startswith("__"): raise AttributeError(name)
        return _Part()
nn = Tensor = device = _Part()
"""
NOTHING = "is_available = is_initialized = lambda: False\n"
# The rest of the start: the files that the class of this version opens, in its order, after its own downloads.
NETWORKS = """
import os
from pathlib import Path
from types import SimpleNamespace
from omegaconf import OmegaConf
from indextts.utils.model_download import ensure_models_available

class IndexTTS2:
    def __init__(self, model_dir="checkpoints", cfg_path="", aux_paths=None, **options):
        at = Path(model_dir)
        {before}
        self.cfg = OmegaConf.load(cfg_path)
        self.model_version = self.cfg.version
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            (at / self.cfg.qwen_emo_path / name).read_bytes()
        for name in {files!r}:
            (at / name).read_bytes()
        for name in {aux!r}:
            (at / "hf_cache" / name).read_bytes()
        self.normalizer = SimpleNamespace(enable_glossary=False, term_glossary={{}})
"""
AUX = [
    "w2v-bert-2.0/config.json",
    "w2v-bert-2.0/preprocessor_config.json",
    "w2v-bert-2.0/model.safetensors",
    "campplus_cn_common.bin",
    "bigvgan/config.json",
    "bigvgan/bigvgan_generator.pt",
]
STATS = ["wav2vec2bert_stats.pt", "s2mel.pth", "feat2.pt", "feat1.pt"]
V2 = NETWORKS.format(
    before="aux_paths = aux_paths or ensure_models_available(model_dir)",
    files=["gpt.pth", "bpe.model", *STATS],
    aux=[*AUX, "semantic_codec_model.safetensors"],
)
V25 = NETWORKS.format(
    before='if not (at / "hf_cache/w2v-bert-2.0").is_dir(): ensure_models_available(model_dir)',
    files=["gpt.pth", "codec.pth", "multilingual_zh_ja_yue_char_del.tiktoken", *STATS],
    aux=AUX,
)
# The page is asked as a browser does, and the app is stopped when it has answered.
START = """
import os, subprocess, sys, time, urllib.request
words = [sys.executable, "webui.py", "--host", "127.0.0.1", "--port", "7860", "--version", {version!r}]
app = subprocess.Popen(words)
while app.poll() is None:
    try:
        if b"gradio" in urllib.request.urlopen("http://127.0.0.1:7860/", timeout=5).read():
            print("WORKS", flush=True)
            time.sleep(5)
            break
    except OSError:
        time.sleep(0.3)
app.terminate()
sys.exit(app.wait() not in (0, -15))
"""
VOICES = [f"voice_{number:02}.wav" for number in (*range(1, 10), 11, 12)] + ["emo_hate.wav", "emo_sad.wav"]


def serve(root: Path) -> None:
    """The repositories under the names that ModelScope has, and those that only Hugging Face's mirror has."""
    hub = root / "hub"
    for version, more in (("2", ["bpe.model"]), ("2.5", ["codec.pth", "multilingual_zh_ja_yue_char_del.tiktoken"])):
        at = hub / "IndexTeam" / ("IndexTTS-2.5" if version == "2.5" else "IndexTTS-2")
        config = "{max_mel_tokens: 1815, max_text_tokens: 600}"
        put(at / "config.yaml", f"version: {float(version)}\ngpt: {config}\nqwen_emo_path: qwen0.6bemo4-merge\n")
        for name in ["gpt.pth", *STATS, *more]:
            put(at / name, chance(f"{version} {name}", 3_000_000 if name == "gpt.pth" else 200_000))
        put(at / "README.md", "# IndexTTS\n")
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            put(at / "qwen0.6bemo4-merge" / name, chance(f"qwen {name}", 100_000))
    w2v = hub / "AI-ModelScope/w2v-bert-2.0"
    for name in ("config.json", "preprocessor_config.json"):
        put(w2v / name, '{"model_type": "wav2vec2-bert"}\n')
    put(w2v / "model.safetensors", chance("w2v", 2_000_000))
    put(w2v / "conformer_shaw.pt", chance("shaw", 2_500_000))
    put(hub / "amphion/MaskGCT/semantic_codec/model.safetensors", chance("codec", 300_000))
    put(hub / "iic/speech_campplus_sv_zh-cn_16k-common/campplus_cn_common.bin", chance("campplus", 300_000))
    # Not on ModelScope under this name: webui.py then downloads from hf-mirror.com.
    mirror = root / "hf-mirror.com/nvidia/bigvgan_v2_22khz_80band_256x/resolve/main"
    put(mirror / "config.json", '{"resblock": "1"}\n')
    put(mirror / "bigvgan_generator.pt", chance("bigvgan", 500_000))
    for name in VOICES:
        put(root / "hf-mirror.com/spaces/IndexTeam/IndexTTS-2-Demo/resolve/main/examples" / name, chance(name, 20_000))


def program(version: str) -> Program:
    """Return IndexTTS as its users clone it, without its networks."""
    files = {"torch/__init__.py": TORCH, "start.py": START.format(version=version)}
    files |= {f"torch/{name}.py": NOTHING for name in ("distributed", "multiprocessing")}
    kept = ["webui.py", "examples/cases.jsonl", "indextts/__init__.py"]
    for folder in ("indextts/utils", "tools"):
        kept += [
            str(one.relative_to(_CHECKOUT)) for one in (_CHECKOUT / folder).rglob("*") if one.suffix in (".py", ".json")
        ]
    files |= {name: (_CHECKOUT / name).read_text() for name in kept}
    files |= {"indextts/infer_v2.py": V2, "indextts/infer_v2_5.py": V25}
    # A user sets it in the shell that starts the app; the recipe must have it on another machine.
    command = ("{python}", "start.py")
    return Program(f"indextts-{version}", files, command, serve, ("gradio", "modelscope"), "indextts")


class UsersShell(Judge):
    """Judge, with a variable that only the user who traces has set."""

    def _environ(self, place: Path, program: Program, user: int) -> dict[str, str]:
        own = {"USE_MODELSCOPE": "true"} if user == self.user else {}
        return super()._environ(place, program, user) | own


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="preheat-indextts-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("user", [0, SOMEBODY], ids=["root", "somebody"])
@pytest.mark.parametrize("version", ["2", "2.5"])
def test_webui_starts_elsewhere_without_a_request(outsider: Outsider, place: Path, version: str, user: int) -> None:
    python = outsider(
        "gradio==5.45.0",
        "modelscope==1.27.0",
        "huggingface_hub==0.36.2",
        "requests",
        "omegaconf",
        "pandas",
        "pydantic<2.12",
    )
    root = place / "www"
    serve(root)
    with SmallNet(place / "net", hosts(root)) as net:
        verdict = UsersShell(net, place, {"indextts": str(python)}, user=user).judge(program(version))
    assert verdict.plain.works, verdict.plain.said
    assert verdict.traced.status == 0, verdict.traced.said
    assert verdict.replays, (verdict.places, verdict.pulled, verdict.replayed)
    asked = {"ms:AI-ModelScope/w2v-bert-2.0", "ms:amphion/MaskGCT", "ms:iic/speech_campplus_sv_zh-cn_16k-common"}
    own = f"ms:IndexTeam/IndexTTS-{version}"
    assert {ref.partition("@")[0] for ref in verdict.refs if ref.startswith("ms:")} == {*asked, own}
    # 13 examples and two files of bigvgan, from the mirror that is written into the app.
    assert len([ref for ref in verdict.refs if ref.startswith("https://hf-mirror.com/")]) == 15
    assert verdict.made == 0
    assert "conformer_shaw.pt: 2.5 MB, downloaded, never opened" in verdict.traced.said
