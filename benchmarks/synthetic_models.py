"""Synthetic models: files of real formats, names and shapes of tensors, and sizes, with made bytes.

A dense one is random bytes; a sparse one is a hole with some random pages, so that a box of them needs little disk.
The shapes are those of Stable Diffusion 1.5, its VAE, a ControlNet and LoRAs of it, T5-XXL in 8 bits, and Llama 3.2 1B.
"""

import json
import math
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Shapes = Mapping[str, tuple[int, ...]]
_STEP, _PAGE, _PAGE_EVERY = 8 << 20, 4096, 16 << 20
_BYTES = {"F16": 2, "F8_E4M3": 1}
_Q4_K, _F32 = 12, 0
_GGUF_BLOCKS = {_Q4_K: (256, 144), _F32: (1, 4)}


@dataclass(frozen=True, slots=True)
class Model:
    """A model: its file's name, the header, the size of what follows, and whether that is written."""

    name: str
    header: bytes
    body: int
    dense: bool

    @property
    def size(self) -> int:
        """Return the size of the file."""
        return len(self.header) + self.body

    def write(self, path: Path) -> None:
        """Write the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "xb") as file:
            file.write(self.header)
            if self.dense:
                for start in range(0, self.body, _STEP):
                    file.write(os.urandom(min(_STEP, self.body - start)))
            else:
                file.truncate(self.size)
                for at in range(len(self.header), self.size - _PAGE, _PAGE_EVERY):
                    file.seek(at)
                    file.write(os.urandom(_PAGE))
            file.flush()
            os.fsync(file.fileno())


def safetensors(name: str, shapes: Shapes, *, dense: bool, form: str = "F16") -> Model:
    """Return a model in safetensors' format."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for tensor, shape in shapes.items():
        end = at + math.prod(shape) * _BYTES[form]
        header[tensor] = {"dtype": form, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    body = json.dumps(header).encode()
    body += b" " * (-len(body) % 8)
    return Model(name, struct.pack("<Q", len(body)) + body, at, dense)


def gguf(name: str, shapes: Shapes, *, dense: bool, words: int) -> Model:
    """Return a model in GGUF's format: matrices as Q4_K, vectors as F32."""

    def text(said: str) -> bytes:
        return struct.pack("<Q", len(said.encode())) + said.encode()

    values = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("general.name") + struct.pack("<I", 8) + text("Llama 3.2 1B Instruct"),
        text("tokenizer.ggml.tokens")
        + struct.pack("<IIQ", 9, 8, words)
        + b"".join(text(f"w{n}") for n in range(words)),
    ]
    infos, at = [], 0
    for tensor, shape in shapes.items():
        kind = _Q4_K if len(shape) > 1 else _F32
        block, size = _GGUF_BLOCKS[kind]
        infos.append(text(tensor) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, at))
        at += -(-math.prod(shape) // block * size // 32) * 32
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(values)) + b"".join(values) + b"".join(infos)
    return Model(name, head + bytes(-len(head) % 32), at, dense)


def models() -> Sequence[Model]:
    """Return the models of the box: 10.7 GB."""
    return (
        safetensors("v1-5-pruned-emaonly-fp16.safetensors", dict(_checkpoint()), dense=True),
        safetensors("dreamshaper_8.safetensors", dict(_checkpoint()), dense=False),
        safetensors("control_v11p_sd15_canny_fp16.safetensors", dict(_controlnet()), dense=False),
        safetensors("vae-ft-mse-840000-ema-pruned.safetensors", dict(_vae("")), dense=False),
        *(safetensors(f"style-{n}.safetensors", dict(_lora(128)), dense=n < 2) for n in range(6)),
        safetensors("t5xxl_fp8_e4m3fn.safetensors", dict(_t5()), dense=False, form="F8_E4M3"),
        gguf("Llama-3.2-1B-Instruct-Q4_K_M.gguf", dict(_llama()), dense=False, words=128_256),
    )


def _unet_blocks() -> Iterator[tuple[str, int, bool]]:
    """Yield the blocks of Stable Diffusion's UNet, with their channels, and whether they have attention."""
    for n, (channels, attends) in enumerate(
        [(320, True)] * 2
        + [(320, False)]
        + [(640, True)] * 2
        + [(640, False)]
        + [(1280, True)] * 2
        + [(1280, False)] * 3
    ):
        yield f"input_blocks.{n + 1}", channels, attends
    yield "middle_block", 1280, True


def _resnet(at: str, inside: int, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{at}.in_layers.0.weight", (inside,)
    yield f"{at}.in_layers.2.weight", (channels, inside, 3, 3)
    yield f"{at}.emb_layers.1.weight", (channels, 1280)
    yield f"{at}.out_layers.0.weight", (channels,)
    yield f"{at}.out_layers.3.weight", (channels, channels, 3, 3)
    if inside != channels:
        yield f"{at}.skip_connection.weight", (channels, inside, 1, 1)


def _attention(at: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{at}.proj_in.weight", (channels, channels, 1, 1)
    block = f"{at}.transformer_blocks.0"
    for name, context in (("attn1", channels), ("attn2", 768)):
        yield f"{block}.{name}.to_q.weight", (channels, channels)
        yield f"{block}.{name}.to_k.weight", (channels, context)
        yield f"{block}.{name}.to_v.weight", (channels, context)
        yield f"{block}.{name}.to_out.0.weight", (channels, channels)
    yield f"{block}.ff.net.0.proj.weight", (8 * channels, channels)
    yield f"{block}.ff.net.2.weight", (channels, 4 * channels)
    yield f"{at}.proj_out.weight", (channels, channels, 1, 1)


def _half_unet(at: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{at}.time_embed.0.weight", (1280, 320)
    yield f"{at}.time_embed.2.weight", (1280, 1280)
    yield f"{at}.input_blocks.0.0.weight", (320, 4, 3, 3)
    before = 320
    for block, channels, attends in _unet_blocks():
        yield from _resnet(f"{at}.{block}.0", before, channels)
        if attends:
            yield from _attention(f"{at}.{block}.1", channels)
        before = channels


def _checkpoint() -> Iterator[tuple[str, tuple[int, ...]]]:
    at = "model.diffusion_model"
    yield from _half_unet(at)
    blocks = [1280] * 6 + [640] * 3 + [320] * 3
    beside = [1280, 1280, 1280, 1280, 1280, 640, 640, 640, 320, 320, 320, 320]
    before = 1280
    for n, (channels, skipped) in enumerate(zip(blocks, beside, strict=True)):
        yield from _resnet(f"{at}.output_blocks.{n}.0", before + skipped, channels)
        if n > 2:
            yield from _attention(f"{at}.output_blocks.{n}.1", channels)
        before = channels
    yield f"{at}.out.2.weight", (4, 320, 3, 3)
    yield from _vae("first_stage_model.")
    text = "cond_stage_model.transformer.text_model"
    yield f"{text}.embeddings.token_embedding.weight", (49408, 768)
    for n in range(12):
        layer = f"{text}.encoder.layers.{n}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield f"{layer}.self_attn.{name}.weight", (768, 768)
        yield f"{layer}.mlp.fc1.weight", (3072, 768)
        yield f"{layer}.mlp.fc2.weight", (768, 3072)


def _controlnet() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _half_unet("control_model")
    yield "control_model.input_hint_block.0.weight", (16, 3, 3, 3)
    for n in range(12):
        yield f"control_model.zero_convs.{n}.0.weight", (320, 320, 1, 1)


def _vae(at: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    for side, levels in (("encoder", "down"), ("decoder", "up")):
        yield f"{at}{side}.conv_in.weight", (128, 3, 3, 3)
        for n, channels in enumerate((128, 256, 512, 512)):
            for block in range(2):
                for conv in ("conv1", "conv2"):
                    yield f"{at}{side}.{levels}.{n}.block.{block}.{conv}.weight", (channels, channels, 3, 3)
        yield f"{at}{side}.mid.attn_1.q.weight", (512, 512, 1, 1)
    yield f"{at}quant_conv.weight", (8, 8, 1, 1)


def _lora(rank: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for block, channels, attends in _unet_blocks():
        for name in ("attn1_to_q", "attn1_to_k", "attn2_to_q", "ff_net_0_proj") if attends else ():
            at = f"lora_unet_{block.replace('.', '_')}_1_transformer_blocks_0_{name}"
            yield f"{at}.lora_down.weight", (rank, channels)
            yield f"{at}.lora_up.weight", (8 * channels if name.startswith("ff") else channels, rank)
    for n in range(12):
        for name in ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"):
            at = f"lora_te_text_model_encoder_layers_{n}_{name}"
            yield f"{at}.lora_down.weight", (rank, 768)
            yield f"{at}.lora_up.weight", (3072, rank)


def _t5() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "shared.weight", (32128, 4096)
    for n in range(24):
        at = f"encoder.block.{n}"
        for name in ("q", "k", "v", "o"):
            yield f"{at}.layer.0.SelfAttention.{name}.weight", (4096, 4096)
        for name, shape in (("wi_0", (10240, 4096)), ("wi_1", (10240, 4096)), ("wo", (4096, 10240))):
            yield f"{at}.layer.1.DenseReluDense.{name}.weight", shape


def _llama() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (128_256, 2048)
    yield "output_norm.weight", (2048,)
    for n in range(16):
        yield f"blk.{n}.attn_norm.weight", (2048,)
        for name, shape in (
            ("attn_q", (2048, 2048)),
            ("attn_k", (512, 2048)),
            ("attn_v", (512, 2048)),
            ("attn_output", (2048, 2048)),
            ("ffn_gate", (8192, 2048)),
            ("ffn_up", (8192, 2048)),
            ("ffn_down", (2048, 8192)),
        ):
            yield f"blk.{n}.{name}.weight", shape
