"""Apps' views, read by others: GGUF files through the links, Ollama's store, safetensors in ComfyUI's folders."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.outsiders.conftest import Outsider
from tests.stories.desk import comfyui, safetensors, write

pytestmark = pytest.mark.slow

# A llama of one block with noise for weights, and a token for each byte.
_WRITE = """
import sys, gguf, numpy
E, F, V = 64, 128, 320
w = gguf.GGUFWriter(sys.argv[1], "llama")
w.add_name("Tiny"); w.add_size_label("1B"); w.add_block_count(1); w.add_context_length(128); w.add_embedding_length(E)
w.add_feed_forward_length(F); w.add_head_count(4); w.add_head_count_kv(4); w.add_layer_norm_rms_eps(1e-5)
w.add_rope_dimension_count(16); w.add_vocab_size(V); w.add_tokenizer_model("llama")
letters, others = [b"<0x%02X>" % n for n in range(256)], [b"t%d" % n for n in range(V - 259)]
w.add_token_list([b"<unk>", b"<s>", b"</s>"] + letters + others)
w.add_token_scores([0.0] * V); w.add_token_types([2, 3, 3] + [6] * 256 + [1] * (V - 259))
w.add_bos_token_id(1); w.add_eos_token_id(2); w.add_unk_token_id(0)
noise = numpy.random.default_rng(0)
for name, shape in {
    "token_embd": (V, E), "output_norm": (E,), "output": (V, E), "blk.0.attn_norm": (E,), "blk.0.ffn_norm": (E,),
    "blk.0.attn_q": (E, E), "blk.0.attn_k": (E, E), "blk.0.attn_v": (E, E), "blk.0.attn_output": (E, E),
    "blk.0.ffn_gate": (F, E), "blk.0.ffn_up": (F, E), "blk.0.ffn_down": (E, F),
}.items():
    w.add_tensor(name + ".weight", (noise.standard_normal(shape) * 0.02).astype(numpy.float32))
w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
"""
_GENERATE = """
import sys, xllamacpp
for path in sys.argv[1:]:
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.warmup = path, 64, 1, False
    params.cpuparams.n_threads = 1
    answer = xllamacpp.Server(params).handle_completions({"prompt": "hello", "max_tokens": 2, "temperature": 0})
    print("tokens:", answer["usage"]["completion_tokens"])
"""
_READ = """
import sys, gguf
reader = gguf.GGUFReader(sys.argv[1])
print(reader.get_field("general.architecture").contents(), len(reader.tensors))
"""
# Ramalama looks below the registry's folder; models of hf.co lie beside it.
_FIND = """
import json, sys
from ramalama.transports.ollama import OllamaRepository, in_existing_cache
found = in_existing_cache("../hf.co/acme", "talk-GGUF", "Q4_K_M")
repository = OllamaRepository("talk-GGUF", "acme")
manifest = json.load(open(sys.argv[1]))
files = [(file.name, file.hash) for file in repository.get_file_list("Q4_K_M", [], False, manifest)]
print(json.dumps([found, files]))
"""
_OPEN = """
import sys
from safetensors import safe_open
with safe_open(sys.argv[1], "np") as opened:
    print(sorted(opened.keys()), opened.get_tensor("lora_unet_a.lora_up.weight").size)
"""


def said(python: Path, script: str, *words: str, **env: str) -> str:
    return subprocess.run(
        (str(python), "-c", script, *words),
        env={"HOME": "/nonexistent", **env},
        check=True,
        text=True,
        capture_output=True,
    ).stdout


def test_gguf_readers_ramalama_and_llama_cpp_use_models_in_the_views(
    outsider: Outsider, preheat: Preheat, tmp_path: Path
) -> None:
    python = outsider("ramalama==0.25.0", "gguf==0.19.0")
    (tmp_path / "talk-GGUF").mkdir()
    model = tmp_path / "talk-GGUF/talk-1b-Q4_K_M.gguf"
    said(python, _WRITE, str(model))
    write(tmp_path / "talk-GGUF/template", b"{{ .Prompt }}")
    ref = f"file:{model.parent}"
    assert preheat("pull", ref).status == 0
    placed = []
    for kind, below in (
        ("llama-cpp", model.name),
        ("lm-studio", f"local/talk-GGUF/{model.name}"),
        ("text-generation-webui", f"user_data/models/{model.name}"),
    ):
        told = preheat("view", kind, kind, ref)
        assert told.status == 0, told.err
        assert said(python, _READ, str(preheat.folder / kind / below)) == "llama 12\n"
        placed.append(str(preheat.folder / kind / below))
    store = preheat.folder / "ollama"
    assert preheat("view", "ollama", str(store), ref).status == 0
    # Ramalama looks in a store only where there is an Ollama; it does not start it.
    ollama = write(tmp_path / "bin/ollama", b"#!/bin/sh\n", mode=0o755)
    manifest = store / "manifests/preheat.local/local/talk-GGUF/Q4_K_M"
    (store / "manifests/registry.ollama.ai").mkdir()
    (store / "manifests/hf.co").mkdir()
    (store / "manifests/hf.co/acme").symlink_to("../preheat.local/local")
    told_by = said(python, _FIND, str(manifest), OLLAMA_MODELS=str(store), PATH=f"{ollama.parent}:{os.environ['PATH']}")
    found, files = json.loads(told_by)
    assert Path(found).read_bytes() == model.read_bytes()
    named = dict(files)
    assert sorted(named) == ["chat_template", "config.json", "talk-GGUF"]
    assert named["talk-GGUF"] == f"sha256:{Path(found).name.removeprefix('sha256-')}"
    for digest in named.values():
        assert (store / "blobs" / digest.replace(":", "-")).is_file()
    # And llama.cpp itself generates from each of them.
    llama = outsider("xllamacpp==2026.10.11549")
    assert said(llama, _GENERATE, *placed, found).splitlines() == ["tokens: 2"] * 4


def test_safetensors_are_opened_in_comfyuis_folders(outsider: Outsider, preheat: Preheat, tmp_path: Path) -> None:
    python = outsider("safetensors==0.6.2", "numpy==2.3.4")
    write(tmp_path / "style/style.safetensors", safetensors("lora_unet_a.lora_up.weight", size=4000))
    home = comfyui(tmp_path).parent
    ref = f"file:{tmp_path / 'style'}"
    assert preheat("pull", ref, "--view", f"comfyui={home}").status == 0
    placed = home / "models/loras/style.safetensors"
    assert said(python, _OPEN, str(placed)) == "['lora_unet_a.lora_up.weight'] 2000\n"
