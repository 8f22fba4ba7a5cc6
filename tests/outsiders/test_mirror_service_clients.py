"""Real clients of a mirror that requires a token and uses TLS."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.authority import authority
from tests.command import Preheat
from tests.mirroring import mirroring
from tests.outsiders.conftest import Outsider

pytestmark = pytest.mark.slow

TOKEN = "a-token-of-the-room"
_SNAPSHOT = "import sys; from huggingface_hub import snapshot_download; print(snapshot_download('acme/tiny'))"
_MODELSCOPE = (
    "import sys; from modelscope import snapshot_download; print(snapshot_download('acme/tiny', cache_dir='ms'))"
)


def asked(python: Path, script: str, at: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    at.mkdir()
    whole = {"PATH": os.environ["PATH"], "HOME": str(at), "HF_HOME": str(at / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [python, "-c", script], env=whole | env, cwd=at, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("version", ["0.23.5", "0.36.2", "2.4.0"])
def test_huggingface_hub_sends_its_token_over_tls(
    preheat: Preheat, outsider: Outsider, tmp_path: Path, version: str, model: Path
) -> None:
    pytest.importorskip("cryptography", reason="preheat[tls] is not installed")
    assert preheat("pull", "acme/tiny").status == 0
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    mirror, url = mirroring(preheat, "--tls-self-signed", "--token-file", str(tokens), tls=False)
    certificate = str(mirror.event("noted")["said"]).partition("SSL_CERT_FILE=")[2]
    trust = {"HF_ENDPOINT": url, "SSL_CERT_FILE": certificate, "REQUESTS_CA_BUNDLE": certificate}
    python = outsider(f"huggingface_hub=={version}")
    told = asked(python, _SNAPSHOT, tmp_path / "without", **trust)
    assert told.returncode != 0
    assert "401" in told.stderr
    for token in (TOKEN, f"{TOKEN}:hf_of_the_hub"):
        told = asked(python, _SNAPSHOT, tmp_path / str(len(token)), **trust, HF_TOKEN=token)
        assert told.returncode == 0, told.stderr
        snapshot = Path(told.stdout.strip().splitlines()[-1])
        assert (snapshot / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert TOKEN not in mirror.kill(signal.SIGTERM).out


@pytest.mark.parametrize("version", ["1.27.0", "1.40.2"])
def test_modelscope_old_and_new_over_tls(
    preheat: Preheat, outsider: Outsider, tmp_path: Path, version: str, model: Path
) -> None:
    pytest.importorskip("cryptography", reason="preheat[tls] is not installed")
    mirror, url = mirroring(preheat, "--tls-self-signed", "--folder", f"acme/tiny={model}", tls=False)
    certificate = str(mirror.event("noted")["said"]).partition("SSL_CERT_FILE=")[2]
    trust = {"SSL_CERT_FILE": certificate, "REQUESTS_CA_BUNDLE": certificate}
    where = {"MODELSCOPE_DOMAIN": url.removeprefix("https://")} if version < "1.3" else {"MODELSCOPE_ENDPOINT": url}
    told = asked(outsider(f"modelscope=={version}"), _MODELSCOPE, tmp_path / "at", **trust, **where)
    assert told.returncode == 0, told.stderr
    [weights] = (tmp_path / "at").rglob("model.safetensors")
    assert weights.read_bytes() == (model / "model.safetensors").read_bytes()
    assert mirror.kill(signal.SIGTERM).status == 0


@pytest.mark.parametrize("version", ["1.27.0", "1.40.2"])
def test_modelscope_sends_its_token(
    preheat: Preheat, outsider: Outsider, tmp_path: Path, version: str, model: Path
) -> None:
    pytest.importorskip("cryptography", reason="preheat[tls] is not installed")
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    words = ("--tls-self-signed", "--folder", f"acme/tiny={model}", "--token-file", str(tokens))
    mirror, url = mirroring(preheat, *words, tls=False)
    certificate = str(mirror.event("noted")["said"]).partition("SSL_CERT_FILE=")[2]
    trust = {"SSL_CERT_FILE": certificate, "REQUESTS_CA_BUNDLE": certificate, "MODELSCOPE_API_TOKEN": TOKEN}
    where = {"MODELSCOPE_DOMAIN": url.removeprefix("https://")} if version < "1.3" else {"MODELSCOPE_ENDPOINT": url}
    python = outsider(f"modelscope=={version}")
    script = (
        f"from modelscope import HubApi; HubApi().login('{TOKEN}')\n{_MODELSCOPE}" if version < "1.3" else _MODELSCOPE
    )
    told = asked(python, script, tmp_path / "at", **trust, **where)
    assert told.returncode == 0, told.stderr
    [weights] = (tmp_path / "at").rglob("model.safetensors")
    assert weights.read_bytes() == (model / "model.safetensors").read_bytes()
    told = asked(python, _MODELSCOPE, tmp_path / "without", **{**trust, "MODELSCOPE_API_TOKEN": ""}, **where)
    assert told.returncode != 0
    assert TOKEN not in mirror.kill(signal.SIGTERM).out


def test_curl_gets_the_text_page_and_a_file(preheat: Preheat, tmp_path: Path, model: Path) -> None:
    mirror, url = mirroring(preheat, "--folder", f"acme/tiny={model}")
    curl = ["curl", "-qsf", "--max-time", "20", "--cacert", str(authority().ca_file)]
    words = subprocess.run([*curl, url], capture_output=True, text=True, check=True).stdout
    assert f"export HF_ENDPOINT={url}" in words
    got = subprocess.run([*curl, f"{url}/acme/tiny/resolve/main/model.safetensors"], capture_output=True, check=True)
    assert got.stdout == (model / "model.safetensors").read_bytes()
    assert mirror.kill(signal.SIGTERM).status == 0
