"""App variables: the environment variables of an app that change what it downloads, and hold no secret; pure."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from preheat.core.cache_variables import CACHE_VARIABLES
from preheat.recipes.inference.layout_paths import within

# Choices: a hub, a back end, a licence that was accepted.
_CHOICES = (
    "USE_MODELSCOPE",
    "USE_MODELSCOPE_HUB",
    "VLLM_USE_MODELSCOPE",
    "LMDEPLOY_USE_MODELSCOPE",
    "SGLANG_USE_MODELSCOPE",
    "USE_HF",
    "XINFERENCE_MODEL_SRC",
    "PADDLE_PDX_MODEL_SOURCE",
    "PADDLE_PDX_HUGGING_FACE_ENDPOINT",
    "MINERU_MODEL_SOURCE",
    "KERAS_BACKEND",
    "COQUI_TOS_AGREED",
    "SUNO_USE_SMALL_MODELS",
    "WHISPER_MODEL",
    "MODEL_CHECKSUM_DISABLED",
)
# Addresses of hubs and their mirrors.
_ADDRESSES = ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN", "HF_MIRROR", "U2NET_URL", "NLTK_DOWNLOAD_URL")
_LONGEST = 200


def telling_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an allow list; addresses only of public hosts, without passwords or queries."""
    found = {name: environ[name] for name in _CHOICES if 0 < len(environ.get(name, "")) <= _LONGEST}
    return found | {name: environ[name] for name in _ADDRESSES if _is_public(environ.get(name, ""))}


def cache_variables(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the variables that lead to caches in the app's folder, with `{dir}` for it."""
    found = {}
    for name in sorted(CACHE_VARIABLES):
        below = within(os.path.normpath(environ.get(name) or "/"), str(folder))
        if below is not None:
            found[name] = f"{{dir}}/{below}" if below else "{dir}"
    return found


def _is_public(address: str) -> bool:
    try:
        parts = urlsplit(address if "://" in address else f"https://{address}")
        host = parts.hostname or ""
    except ValueError:
        return False
    plain = parts.username is None and not parts.query and not parts.fragment and len(address) <= _LONGEST
    letters = host.rpartition(".")[2].isalpha()  # not an IP address
    return plain and parts.scheme == "https" and "." in host and letters and not host.endswith((".local", ".internal"))
