"""Weights: small models that the programs of bench_trace.py can load, in their own formats.

Run by the Python of the environment that has the libraries: python -m benchmarks.trace_weights NAME FOLDER.
"""

import hashlib
import json
import struct
import sys
from pathlib import Path

from tests.smallnet.content import chance, put, zipped


def _letters(start: int, stop: int) -> str:
    """Return a range of Unicode: Latin letters, or those of the phonetic alphabet."""
    return "".join(map(chr, range(start, stop)))


def packages() -> Path:
    """Return the folder site-packages of this environment."""
    return next(Path(one) for one in sys.path if one.endswith("site-packages"))


def _elsewhere(path: Path) -> Path:
    """Return the path of a file of this environment in its copy on the other machine."""
    venv = packages().parents[2]
    return venv.parent / "elsewhere" / venv.name / path.relative_to(venv)


def _onnx(path: Path, inputs: list, nodes: list, outputs: list, weights: dict) -> None:
    from onnx import checker, helper, numpy_helper, save

    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "small", inputs, outputs, held),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(model, str(path))


def _value(name: str, kind: str, *shape: object):
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, getattr(TensorProto, kind), list(shape))


def _some(*shape: int):
    import numpy

    return numpy.random.default_rng(1).normal(0, 0.1, shape).astype("float32")


def rembg(root: Path) -> None:
    """A segmentation network: three convolutions."""
    from onnx import helper

    at = root / "github.com/danielgatis/rembg/releases/download/v0.0.0/u2netp.onnx"
    nodes = [
        helper.make_node("Conv", ["input", "a"], ["x"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Conv", ["y", "b"], ["z"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["z", "c"], ["output"]),
    ]
    held = {"a": _some(128, 3, 3, 3), "b": _some(128, 128, 3, 3), "c": _some(1, 128, 1, 1)}
    _onnx(at, [_value("input", "FLOAT", 1, 3, 320, 320)], nodes, [_value("output", "FLOAT", 1, 1, 160, 160)], held)


def _embedder(folder: Path, model: str) -> None:
    """An embedding model: a table of 1,000 words, and its tokenizer."""
    from onnx import helper
    from tokenizers import Tokenizer, models, pre_tokenizers

    sizes = ("batch", "words")
    inputs = [_value(name, "INT64", *sizes) for name in ("input_ids", "attention_mask", "token_type_ids")]
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])]
    _onnx(
        folder / model, inputs, nodes, [_value("last_hidden_state", "FLOAT", *sizes, 384)], {"table": _some(1000, 384)}
    )
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4} | {f"w{n}": n for n in range(5, 1000)}
    made = Tokenizer(models.WordLevel(words, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    put(folder / "tokenizer.json", made.to_str())
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    put(folder / "special_tokens_map.json", json.dumps(special))
    told = {"model_max_length": 512, "tokenizer_class": "BertTokenizer", **special}
    put(folder / "tokenizer_config.json", json.dumps(told))
    shape = {"model_type": "bert", "hidden_size": 384, "vocab_size": 1000, "pad_token_id": 0, "num_hidden_layers": 1}
    put(folder / "config.json", json.dumps(shape | {"num_attention_heads": 12, "architectures": ["BertModel"]}))


def fastembed(root: Path) -> None:
    """The embedding model in fastembed's repository."""
    _embedder(root / "hub/Qdrant/bge-small-en-v1.5-onnx-Q", "model_optimized.onnx")


def transformers_js(root: Path) -> None:
    """The embedding model in the layout of transformers.js."""
    _embedder(root / "hub/Xenova/all-MiniLM-L6-v2", "onnx/model.onnx")


def piper(root: Path) -> None:
    """A voice whose sound is a table."""
    import numpy
    from onnx import helper

    inputs = [
        _value("input", "INT64", 1, "phonemes"),
        _value("input_lengths", "INT64", 1),
        _value("scales", "FLOAT", 3),
    ]
    nodes = [
        helper.make_node("Gather", ["table", "input"], ["x"]),
        helper.make_node("Reshape", ["x", "flat"], ["output"]),
    ]
    held = {"table": _some(512, 512), "flat": numpy.array([1, 1, 1, -1], dtype="int64")}
    folder = root / "hub/rhasspy/piper-voices"
    voice = folder / "en/en_US/joe/medium/en_US-joe-medium.onnx"
    _onnx(voice, inputs, nodes, [_value("output", "FLOAT", 1, 1, 1, "samples")], held)
    letters = dict.fromkeys("_^$" + _letters(0x20, 0x17F) + _letters(0x250, 0x2E0))
    told = {
        "audio": {"sample_rate": 22050, "quality": "medium"}, "espeak": {"voice": "en-us"}, "phoneme_type": "espeak",
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8}, "phoneme_map": {},
        "phoneme_id_map": {letter: [n] for n, letter in enumerate(letters)}, "num_symbols": 512, "num_speakers": 1,
        "speaker_id_map": {}, "piper_version": "1.0.0", "language": {"code": "en_US"}, "dataset": "joe",
    }  # fmt: skip
    put(voice.with_suffix(".onnx.json"), json.dumps(told))
    language = {"code": "en_US", "family": "en", "region": "US"}
    listed = {"en_US-joe-medium": {"key": "en_US-joe-medium", "name": "joe", "language": language, "quality": "medium"}}
    put(folder / "voices.json", json.dumps(listed))


def rapidocr(root: Path) -> None:
    """The model that its wheel brings, served where it would be downloaded from."""
    found = packages() / "rapidocr/models/PP-OCRv6_rec_small.onnx"
    kept = packages().parents[2] / found.name  # the judge removes what the wheel brings
    if found.is_file():
        found.replace(kept)
    base = root / "www.modelscope.cn/models/RapidAI/RapidOCR/resolve"
    listing = (packages() / "rapidocr/default_models.yaml").read_text()
    url = next(
        one.split()[-1]
        for one in listing.splitlines()
        if one.endswith("rec/PP-OCRv6_rec_small.onnx") and "/onnx/" in one
    )
    put(base / url.partition("/resolve/")[2], kept.read_bytes())


def gpt4all(root: Path) -> None:
    """A llama of one layer, and the list that names it."""
    import numpy
    from gguf import GGUFWriter, TokenType

    wide, heads, deep = 64, 4, 128
    path = root / "gpt4all.io/models/gguf/small.Q8_0.gguf"
    path.parent.mkdir(parents=True, exist_ok=True)
    made = GGUFWriter(str(path), "llama")
    made.add_name("small")
    made.add_context_length(512)
    made.add_embedding_length(wide)
    made.add_block_count(1)
    made.add_feed_forward_length(deep)
    made.add_head_count(heads)
    made.add_head_count_kv(heads)
    made.add_layer_norm_rms_eps(1e-5)
    made.add_rope_dimension_count(wide // heads)
    made.add_file_type(0)
    words = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), *(f"▁w{n}" for n in range(1000))]
    kinds = [
        TokenType.UNKNOWN,
        TokenType.CONTROL,
        TokenType.CONTROL,
        *[TokenType.BYTE] * 256,
        *[TokenType.NORMAL] * 1000,
    ]
    made.add_tokenizer_model("llama")
    made.add_token_list(words)
    made.add_token_scores([0.0] * len(words))
    made.add_token_types([int(one) for one in kinds])
    made.add_bos_token_id(1)
    made.add_eos_token_id(2)
    shapes = {
        "token_embd": (len(words), wide), "output_norm": (wide,), "output": (len(words), wide),
        "blk.0.attn_norm": (wide,), "blk.0.ffn_norm": (wide,), "blk.0.ffn_gate": (deep, wide),
        "blk.0.ffn_up": (deep, wide), "blk.0.ffn_down": (wide, deep),
        **{f"blk.0.attn_{one}": (wide, wide) for one in ("q", "k", "v", "output")},
    }  # fmt: skip
    for name, shape in shapes.items():
        made.add_tensor(f"{name}.weight", numpy.ones(shape, "float32") if len(shape) == 1 else _some(*shape))
    made.write_header_to_file()
    made.write_kv_data_to_file()
    made.write_tensors_to_file()
    made.close()
    body = path.read_bytes()
    told = {
        "order": "a", "md5sum": hashlib.md5(body).hexdigest(), "name": "small", "filename": path.name,
        "filesize": str(len(body)), "requires": "2.5.0", "ramrequired": "1", "parameters": "1", "quant": "f32",
        "type": "LLaMA", "description": "", "url": f"https://gpt4all.io/models/gguf/{path.name}",
        "promptTemplate": "%1", "systemPrompt": "",
    }  # fmt: skip
    put(root / "gpt4all.io/models/models3.json", json.dumps([told]))


def whisper_cpp(root: Path) -> None:
    """A whisper of one layer in whisper.cpp's own format (convert-pt-to-ggml.py)."""
    import numpy

    words, sounds, wide, heads, layers, text, mels = 51864, 1500, 32, 2, 1, 448, 80
    body = [struct.pack("<12i", 0x67676D6C, words, sounds, wide, heads, layers, text, wide, heads, layers, mels, 1)]
    body += [struct.pack("<2i", mels, 201), _some(mels, 201).tobytes(), struct.pack("<i", 50257)]
    body += [struct.pack("<i", len(word := f"w{n}".encode())) + word for n in range(50257)]

    def tensor(name: str, *shape: int) -> None:
        half = len(shape) > 1 and "positional" not in name and not name.endswith("bias")
        kind = numpy.float16 if half else numpy.float32
        sizes = struct.pack(f"<{len(shape)}i", *reversed(shape))
        body.append(struct.pack("<3i", len(shape), len(name), int(half)) + sizes + name.encode())
        body.append(_some(*shape).astype(kind).tobytes())

    def norm(name: str) -> None:
        tensor(f"{name}.weight", wide)
        tensor(f"{name}.bias", wide)

    def attention(name: str) -> None:
        norm(f"{name}_ln")
        for part in ("query", "key", "value", "out"):
            tensor(f"{name}.{part}.weight", wide, wide)
            if part != "key":
                tensor(f"{name}.{part}.bias", wide)

    def block(name: str, *attentions: str) -> None:
        for one in attentions:
            attention(f"{name}.{one}")
        norm(f"{name}.mlp_ln")
        tensor(f"{name}.mlp.0.weight", 4 * wide, wide)
        tensor(f"{name}.mlp.0.bias", 4 * wide)
        tensor(f"{name}.mlp.2.weight", wide, 4 * wide)
        tensor(f"{name}.mlp.2.bias", wide)

    tensor("encoder.positional_embedding", sounds, wide)
    for name, before in (("conv1", mels), ("conv2", wide)):
        tensor(f"encoder.{name}.weight", wide, before, 3)
        tensor(f"encoder.{name}.bias", wide, 1)
    block("encoder.blocks.0", "attn")
    norm("encoder.ln_post")
    tensor("decoder.positional_embedding", text, wide)
    tensor("decoder.token_embedding.weight", words, wide)
    block("decoder.blocks.0", "attn", "cross_attn")
    norm("decoder.ln")
    put(root / "hub/ggerganov/whisper.cpp/ggml-tiny.en.bin", b"".join(body))


def easyocr(root: Path) -> None:
    """Its two networks, each in a zip; the digests in its list are made to fit, nothing else of it is changed."""
    import torch
    from easyocr import config
    from easyocr.craft import CRAFT
    from easyocr.model.vgg_model import Model

    detector, recognizer = config.detection_models["craft"], config.recognition_models["gen2"]["english_g2"]
    shape = {"input_channel": 1, "output_channel": 256, "hidden_size": 256}
    reader = Model(**shape, num_class=len(recognizer["characters"]) + 1)
    listing = packages() / "easyocr/config.py"
    text = listing.read_text()
    for told, network in ((detector, CRAFT()), (recognizer, reader)):
        path = root / "work" / told["filename"]
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, path)
        body = path.read_bytes()
        put(root / told["url"].removeprefix("https://"), zipped({told["filename"]: body}))
        text = text.replace(told["md5sum"], hashlib.md5(body).hexdigest())
    for one in (listing, _elsewhere(listing)):
        if one.exists():
            one.unlink()
            one.write_text(text)


def silero(root: Path) -> None:
    """A repository for torch.hub: code that loads a scripted network beside it."""
    import torch

    class Voice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(512, 512)

        def forward(self, x: torch.Tensor, _rate: int) -> torch.Tensor:
            return self.layer(x).mean()

    path = root / "work/silero_vad.jit"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.jit.script(Voice()).save(str(path))
    code = (
        "dependencies = ['torch']\nimport os, torch\nfrom utils_vad import load\n"
        "def silero_vad(onnx=False, force_onnx_cpu=False):\n"
        "    return load(os.path.join(os.path.dirname(__file__), 'files', 'silero_vad.jit')), ()\n"
    )
    body = zipped(
        {
            "silero-vad-master/": "",
            "silero-vad-master/hubconf.py": code,
            "silero-vad-master/utils_vad.py": "import torch\ndef load(path):\n    return torch.jit.load(path)\n",
            "silero-vad-master/files/silero_vad.jit": path.read_bytes(),
            "silero-vad-master/examples/sound.wav": chance("sound", 300_000),
        }
    )
    put(root / "codeload.github.com/snakers4/silero-vad.zip", body)
    for listed, names in (("branches", [{"name": "master"}]), ("tags", [])):
        put(root / "api.github.com/repos/snakers4/silero-vad" / listed, json.dumps(names))


def timm(root: Path) -> None:
    """A residual network with ten layers."""
    import timm as library
    from timm.models._hub import save_for_hf

    folder = root / "hub/timm/resnet10t.c3_in1k"
    folder.mkdir(parents=True, exist_ok=True)
    save_for_hf(library.create_model("resnet10t", pretrained=False), str(folder), safe_serialization="both")


def torchvision(root: Path) -> None:
    """A small network, at a URL beside those that are written into the library, which have digests in their names."""
    import torch
    import torchvision as library

    path = root / "download.pytorch.org/models/squeezenet1_1-small.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(library.models.squeezenet1_1(weights=None).state_dict(), path)


def ultralytics(root: Path) -> None:
    """The smallest detector, and GitHub's list of the release that has it."""
    import re

    from ultralytics import YOLO
    from ultralytics.utils import downloads

    release = re.search(r'release(?:: str)? ?= ?"(v[^"]+)"', Path(downloads.__file__).read_text())[1]
    path = root / f"github.com/ultralytics/assets/releases/download/{release}/yolo11n.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    YOLO("yolo11n.yaml").save(str(path))
    told = {"tag_name": release, "assets": [{"name": "yolo11n.pt"}]}
    for name in (f"tags/{release}", "latest"):
        put(root / f"api.github.com/repos/ultralytics/assets/releases/{name}", json.dumps(told))


def keras(root: Path) -> None:
    """A small network in the format that the library's applications download."""
    import h5py
    from keras import applications
    from keras.src.legacy.saving import legacy_h5_format

    path = root / "storage.googleapis.com/tensorflow/keras-applications/mobilenet/mobilenet_2_5_128_tf.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    made = applications.MobileNet(alpha=0.25, input_shape=(128, 128, 3), weights=None)
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, made)


def open_clip(root: Path) -> None:
    """A small CLIP in a repository."""
    import open_clip as library
    from safetensors.torch import save_file

    picture = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
    shape = {"embed_dim": 64, "vision_cfg": picture, "text_cfg": text}
    folder = root / "hub/acme/tinyclip"
    folder.mkdir(parents=True, exist_ok=True)
    weights = library.CLIP(**shape).state_dict()
    save_file(
        {name: value.contiguous() for name, value in weights.items()}, str(folder / "open_clip_model.safetensors")
    )
    shown = {"mean": [0.5] * 3, "std": [0.5] * 3}
    put(folder / "open_clip_config.json", json.dumps({"model_cfg": shape, "preprocess_cfg": shown}))


def kokoro(root: Path) -> None:
    """A speech model with its real shape but fewer layers, and two voices; spaCy's English model for its G2P."""
    import torch
    from kokoro.model import KModel
    from tests.smallnet.content import wheel

    wheel(root)
    letters = _letters(0x20, 0x7F) + _letters(0x250, 0x2A2)  # 177 of its 178 tokens
    sound = {
        "upsample_kernel_sizes": [20, 12], "upsample_rates": [10, 6], "gen_istft_hop_size": 5, "gen_istft_n_fft": 20,
        "resblock_dilation_sizes": [[1, 3, 5]] * 3, "resblock_kernel_sizes": [3, 7, 11],
        "upsample_initial_channel": 512,
    }  # fmt: skip
    bert = {
        "hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 256, "max_position_embeddings": 512,
        "num_hidden_layers": 2, "dropout": 0.1,
    }  # fmt: skip
    shape = {
        "istftnet": sound, "dim_in": 64, "dropout": 0.2, "hidden_dim": 512, "max_conv_dim": 512, "max_dur": 50,
        "multispeaker": True, "n_layer": 3, "n_mels": 80, "n_token": 178, "style_dim": 128, "plbert": bert,
        "text_encoder_kernel_size": 5, "vocab": {letter: n for n, letter in enumerate(letters)},
    }  # fmt: skip
    folder = root / "hub/hexgrad/Kokoro-82M"
    put(folder / "config.json", json.dumps(shape))
    parts = ("bert", "bert_encoder", "predictor", "decoder", "text_encoder")
    made = KModel.__new__(KModel)
    load, torch.load = torch.load, _stop
    try:
        made.__init__(repo_id="hexgrad/Kokoro-82M", config=shape, model="none")
    except _Stopped:
        torch.save({name: getattr(made, name).state_dict() for name in parts}, folder / "kokoro-v1_0.pth")
    finally:
        torch.load = load
    (folder / "voices").mkdir(exist_ok=True)
    for voice in ("af_heart", "am_adam"):
        torch.save(torch.randn(510, 1, 256) * 0.1, folder / f"voices/{voice}.pt")


class _Stopped(Exception):
    """The network is built, and its weights were to be loaded."""


def _stop(*_words: object, **_named: object) -> None:
    raise _Stopped


def funasr(root: Path) -> None:
    """A voice detector in ModelScope's layout."""
    import torch
    import yaml
    from funasr.models.fsmn_vad_streaming.encoder import FSMN

    encoder = {
        "input_dim": 400, "input_affine_dim": 140, "fsmn_layers": 4, "linear_dim": 250, "proj_dim": 128, "lorder": 20,
        "rorder": 0, "lstride": 1, "rstride": 0, "output_affine_dim": 140, "output_dim": 248,
    }  # fmt: skip
    model = {
        "sample_rate": 16000, "detect_mode": 1, "snr_mode": 0, "max_end_silence_time": 800,
        "max_start_silence_time": 3000, "do_start_point_detection": True, "do_end_point_detection": True,
        "window_size_ms": 200, "sil_to_speech_time_thres": 150, "speech_to_sil_time_thres": 150,
        "speech_2_noise_ratio": 1.0, "do_extend": 1, "lookback_time_start_point": 200, "lookahead_time_end_point": 100,
        "max_single_segment_time": 60000, "snr_thres": -100.0, "noise_frame_num_used_for_snr": 100,
        "decibel_thres": -100.0, "speech_noise_thres": 0.6, "fe_prior_thres": 0.0001, "silence_pdf_num": 1,
        "sil_pdf_ids": [0], "speech_noise_thresh_low": -0.1, "speech_noise_thresh_high": 0.3,
        "output_frame_probs": False, "frame_in_ms": 10, "frame_length_ms": 25,
    }  # fmt: skip
    front = {
        "fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10, "dither": 0.0,
        "lfr_m": 5, "lfr_n": 1,
    }  # fmt: skip
    shape = {
        "frontend": "WavFrontendOnline", "frontend_conf": front, "model": "FsmnVADStreaming", "model_conf": model,
        "encoder": "FSMN", "encoder_conf": encoder,
    }  # fmt: skip
    name = "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch"
    folder = root / "hub" / name
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({f"encoder.{key}": value for key, value in FSMN(**encoder).state_dict().items()}, folder / "model.pt")
    put(folder / "config.yaml", yaml.safe_dump(shape))
    metas = {"init_param": "model.pt", "config": "config.yaml", "frontend_conf": {"cmvn_file": "am.mvn"}}
    told = {
        "framework": "pytorch", "task": "voice-activity-detection", "model": {"type": "funasr"},
        "pipeline": {"type": "funasr-pipeline"}, "file_path_metas": metas, "model_name_in_hub": {"ms": name, "hf": ""},
    }  # fmt: skip
    put(folder / "configuration.json", json.dumps(told))
    shift, scale = " ".join(["-8.3"] * 400), " ".join(["0.155"] * 400)
    put(
        folder / "am.mvn",
        f"<Nnet>\n<Splice> 400 400\n[ 0 ]\n<AddShift> 400 400\n<LearnRateCoef> 0 [ {shift} ]\n"
        f"<Rescale> 400 400\n<LearnRateCoef> 0 [ {scale} ]\n</Nnet>\n",
    )
    put(folder / "README.md", "# A voice detector\n")
    put(folder / "example/vad_example.wav", chance("example", 2_000_000))


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
