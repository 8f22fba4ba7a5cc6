"""Offline: the switches that keep an app's libraries from asking the network for what is here."""

from collections.abc import Mapping

# Each with where it is read; all harmless to a program that does not know it.
SWITCHES = {
    "HF_HUB_OFFLINE": "1",  # huggingface_hub/constants.py
    "TRANSFORMERS_OFFLINE": "1",  # transformers/utils/hub.py up to 4; huggingface_hub/constants.py
    "HF_DATASETS_OFFLINE": "1",  # datasets/config.py
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub/constants.py
    "HF_HUB_DISABLE_XET": "1",  # huggingface_hub/constants.py
    "DISABLE_TELEMETRY": "1",  # diffusers, transformers
    "DO_NOT_TRACK": "1",  # https://consoledonottrack.com: vLLM, gradio's tools and others
    "GRADIO_ANALYTICS_ENABLED": "False",  # gradio/analytics.py
    "VLLM_NO_USAGE_STATS": "1",  # vllm/usage/usage_lib.py
    "NO_ALBUMENTATIONS_UPDATE": "1",  # albumentations/check_version.py
    "YOLO_OFFLINE": "true",  # ultralytics/utils/__init__.py
    "WANDB_MODE": "offline",  # wandb/sdk/wandb_settings.py
}

_OWN = ("localhost", "127.0.0.1", "::1")


def offline(environ: Mapping[str, str]) -> dict[str, str]:
    """Switch everything off line, and let the app reach itself past any proxy (gradio asks its own page)."""
    return {**direct(environ), **SWITCHES}


def direct(environ: Mapping[str, str]) -> dict[str, str]:
    """Let the app reach this machine itself past any proxy."""
    names = [name for name in environ.get("NO_PROXY", environ.get("no_proxy", "")).split(",") if name.strip()]
    names += [name for name in _OWN if name not in names]
    return {**environ, "NO_PROXY": ",".join(names), "no_proxy": ",".join(names)}


def online(environ: Mapping[str, str], without: frozenset[str] = frozenset()) -> dict[str, str]:
    """Switch nothing off, as in a new container; leave the variables `without` out too."""
    return {name: value for name, value in environ.items() if name not in SWITCHES and name not in without}
