"""Output lines that report a download are found; lines that deny one are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.guard.witness.download_lines import DownloadLines, reports_download


@pytest.mark.parametrize(
    "line",
    [
        "Downloading shards:   0%|          | 0/2 [00:00<?, ?it/s]",
        "Downloading Model from https://www.modelscope.cn to directory: /root/.cache",
        'Downloading: "https://download.pytorch.org/models/resnet18-f37072fd.pth" to /root/.cache/torch',
        "[nltk_data] Downloading package averaged_perceptron_tagger to",
        "Fetching 4 files:  25%|██▌       | 1/4 [00:00<00:00,  9.71it/s]",
        "model.safetensors:  12%|█▏        | 31.5M/269M [00:01<00:08, 29.3MB/s]",
        "100%|████████████████████| 139M/139M [00:05<00:00, 26.2MiB/s]",
        "--2026-11-23 09:00:00--  https://huggingface.co/acme/tiny/resolve/main/model.bin",
    ],
)
def test_a_line_that_reports_a_download_is_found(line: str) -> None:
    assert reports_download(line)


@pytest.mark.parametrize(
    "line",
    [
        "Loading checkpoint shards: 100%|██████████| 2/2 [00:01<00:00,  1.5it/s]",
        "model found, not downloading",
        "Skipping download of voice.onnx",
        "already downloaded",
        "No download needed: everything is here",
        "Downloading is disabled, as HF_HUB_OFFLINE is set",
        "Running on local URL:  http://127.0.0.1:7860",
        "download the user's guide at https://example.org",
    ],
)
def test_other_lines_and_denials_are_not_found(line: str) -> None:
    assert not reports_download(line)


@given(st.lists(st.integers(1, 9)), st.sampled_from([b"\n", b"\r", b"\r\n"]))
def test_a_line_is_found_in_any_chunks(cuts: list[int], end: bytes) -> None:
    said = b"begin" + end + "Downloading müde.bin: 12%|█ | 1/9 [00:01, 2MB/s]".encode() + end + b"Loading" + end
    heard = DownloadLines()
    at = 0
    for cut in [*cuts, len(said)]:
        heard.feed(7, said[at : at + cut])
        at += cut
    assert heard.lines() == ("Downloading müde.bin",)
