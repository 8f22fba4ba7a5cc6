"""A pasted address of a hub's page is the name of what the page shows."""

import pytest

from preheat.cli.page_address import PageAddress, read_page
from preheat.core.ref import Ref

HF, MS = "https://huggingface.co", "https://modelscope.cn"


@pytest.mark.parametrize(
    ("address", "model", "files"),
    [
        (f"{HF}/openai/whisper-tiny.en", "hf:openai/whisper-tiny.en", ""),
        (f"{HF}/openai/whisper-tiny.en/", "hf:openai/whisper-tiny.en", ""),
        (f"{HF}/gpt2", "hf:gpt2", ""),
        (f"{HF}/gpt2/tree/main", "hf:gpt2@main", ""),
        (f"{HF}/gpt2/blob/main/config.json", "hf:gpt2@main", "config.json"),
        (f"{HF}/a/b/tree/v1.0/onnx/fp16", "hf:a/b@v1.0", "onnx/fp16/*"),
        (f"{HF}/a/b/tree/refs%2Fpr%2F7", "hf:a/b@refs/pr/7", ""),
        (f"{HF}/a/b/tree/refs/pr/7", "hf:a/b@refs/pr/7", ""),
        (f"{HF}/a/b/blob/refs/pr/7/onnx/a.onnx", "hf:a/b@refs/pr/7", "onnx/a.onnx"),
        (f"{HF}/datasets/a/b/tree/refs/convert/parquet/x", "hf:datasets/a/b@refs/convert/parquet", "x/*"),
        (f"{HF}/a/b/tree/refs/pr", "hf:a/b@refs", "pr/*"),
        (f"{HF}/a/b/resolve/main/x%20y.bin?download=true", "hf:a/b@main", "x y.bin"),
        (f"{HF}/a/b/blob/main/q[8].gguf#L10", "hf:a/b@main", "q[[]8].gguf"),
        (f"{HF}/a/b/commit/{'c' * 40}", f"hf:a/b@{'c' * 40}", ""),
        (f"{HF}/a/b/commits/main", "hf:a/b@main", ""),
        (f"{HF}/a/b/discussions/3", "hf:a/b", ""),
        (f"{HF}/datasets/acme/rows/viewer/default/train", "hf:datasets/acme/rows", ""),
        (f"{HF}/datasets/acme/rows/blob/main/a.parquet", "hf:datasets/acme/rows@main", "a.parquet"),
        (f"{HF}/spaces/acme/demo/tree/main/examples", "hf:spaces/acme/demo@main", "examples/*"),
        ("http://hf.co/a/b", "hf:a/b", ""),
        ("https://hf-mirror.com/a/b/tree/main", "hf:a/b@main", ""),
        ("https://HuggingFace.co/a/b", "hf:a/b", ""),
        (f"{MS}/models/iic/SenseVoiceSmall", "ms:iic/SenseVoiceSmall", ""),
        (f"{MS}/models/iic/SenseVoiceSmall/summary", "ms:iic/SenseVoiceSmall", ""),
        ("https://www.modelscope.cn/models/iic/S/files", "ms:iic/S", ""),
        (f"{MS}/models/iic/S/file/view/master/model.pt?status=2", "ms:iic/S@master", "model.pt"),
        (f"{MS}/models/iic/S/resolve/v2/a/b.bin", "ms:iic/S@v2", "a/b.bin"),
        (f"{MS}/api/v1/models/iic/S/repo?Revision=v2&FilePath=a%2Fb%5B8%5D.bin", "ms:iic/S@v2", "a/b[[]8].bin"),
        (f"{MS}/api/v1/datasets/a/rows/repo?FilePath=%E5%A3%B0.csv", "ms:datasets/a/rows@master", "声.csv"),
        (f"{MS}/datasets/acme/rows/summary", "ms:datasets/acme/rows", ""),
    ],
)  # fmt: skip
def test_a_page_shows_a_model_or_some_of_its_files(address: str, model: str, files: str) -> None:
    page = read_page(address)
    assert page == PageAddress(model, files)
    Ref.parse(page.model)


@pytest.mark.parametrize(
    "text",
    [
        "openai/whisper-tiny.en",
        f"{HF}",
        f"{HF}/",
        f"{HF}/models",
        f"{HF}/datasets",
        f"{HF}/docs/hub/models",
        f"{HF}/settings/tokens",
        f"{HF}/a/b/resolve/main/model.bin#sha256={'0' * 64}",
        "https://example.com/a/b",
        "https://huggingface.co.evil.example/a/b",
        "https://[/a/b",
        f"{HF}/a/b%0Ac",
        f"{MS}/models/iic",
        f"{MS}/studios/iic/demo",
        f"{MS}/api/v1/models/iic/S/revisions",
    ],
)
def test_other_addresses_are_no_pages_of_models(text: str) -> None:
    assert read_page(text) is None
