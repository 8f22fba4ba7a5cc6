"""Offline environment: variables that stop libraries from using the network."""

from collections.abc import Mapping

import msgspec

from preheat.core.errors import UsageError
from preheat.recipes.recipe import Recipe


class Switch(msgspec.Struct, frozen=True):
    """An environment variable and the value that stops a library from using the network.

    `source` is the file that reads the variable, and the release in which that was checked.
    """

    name: str
    value: str
    library: str
    source: str
    stops: str = "telemetry"


# Each was checked in the released package. Programs ignore variables that they do not know.
KNOWN = (
    Switch("HF_HUB_OFFLINE", "1", "huggingface_hub", "huggingface_hub/constants.py, 2.4.0", "all requests to the hub"),
    Switch("TRANSFORMERS_OFFLINE", "1", "huggingface_hub", "huggingface_hub/constants.py, 2.4.0", "the same"),
    Switch("HF_DATASETS_OFFLINE", "1", "datasets", "datasets/config.py, 5.2.0", "all requests to the hub"),
    Switch("HF_HUB_DISABLE_TELEMETRY", "1", "huggingface_hub", "huggingface_hub/constants.py, 2.4.0"),
    Switch(
        "HF_HUB_DISABLE_UPDATE_CHECK", "1", "huggingface_hub", "huggingface_hub/constants.py, 2.4.0", "update check"
    ),
    Switch("HF_HUB_DISABLE_XET", "1", "huggingface_hub", "huggingface_hub/constants.py, 2.4.0", "transfers by Xet"),
    Switch("DISABLE_TELEMETRY", "1", "huggingface_hub, diffusers", "huggingface_hub/constants.py, 2.4.0"),
    Switch("DO_NOT_TRACK", "1", "huggingface_hub, vllm, unstructured", "unstructured/utils.py, 0.27.35"),
    Switch("ORT_DISABLE_TELEMETRY", "1", "onnxruntime", "onnxruntime/Privacy.md, 1.32.0"),
    Switch("GRADIO_ANALYTICS_ENABLED", "False", "gradio", "gradio/analytics.py, 6.31.0", "telemetry, update check"),
    Switch("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false", "streamlit", "streamlit/config.py, 1.67.0"),
    Switch("VLLM_NO_USAGE_STATS", "1", "vllm", "vllm/envs.py, 0.33.0"),
    Switch("VLLM_DO_NOT_TRACK", "1", "vllm", "vllm/envs.py, 0.33.0"),
    Switch("RAY_USAGE_STATS_ENABLED", "0", "ray", "ray/_common/usage/usage_constants.py, 2.60.0"),
    Switch("NO_ALBUMENTATIONS_UPDATE", "1", "albumentations", "albumentations/__init__.py, 2.0.8", "update check"),
    Switch("YOLO_OFFLINE", "true", "ultralytics", "ultralytics/utils/__init__.py, 8.4.190", "all automatic requests"),
    Switch(
        "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK",
        "True",
        "paddlex, paddleocr",
        "paddlex/utils/flags.py, 3.7.2",
        "search for a reachable hub",
    ),
    Switch("WANDB_MODE", "offline", "wandb", "wandb/env.py, 0.31.0", "uploads of runs"),
    Switch("WANDB_ERROR_REPORTING", "false", "wandb", "wandb/env.py, 0.31.0", "error reports"),
    Switch("MLFLOW_DISABLE_TELEMETRY", "true", "mlflow", "mlflow/environment_variables.py, 3.17.2"),
    Switch("ANONYMIZED_TELEMETRY", "False", "chromadb, browser-use", "chromadb/config.py, 0.5.23"),
    Switch("HAYSTACK_TELEMETRY_ENABLED", "False", "haystack-ai", "haystack/telemetry/_telemetry.py, 3.4.1"),
    Switch("LANGSMITH_TRACING_V2", "false", "langsmith, langchain", "langsmith/utils.py, 0.15.1", "uploads of traces"),
    Switch(
        "LITELLM_LOCAL_MODEL_COST_MAP",
        "True",
        "litellm",
        "litellm/litellm_core_utils/get_model_cost_map.py, 1.110.2",
        "price list",
    ),
    Switch(
        "LITELLM_OFFLINE_MODE",
        "true",
        "litellm",
        "litellm/litellm_core_utils/offline_mode.py, 1.110.2",
        "all automatic downloads",
    ),
    Switch("CREWAI_DISABLE_TELEMETRY", "true", "crewai", "crewai_core/telemetry.py, 1.15.30"),
    Switch("MEM0_TELEMETRY", "False", "mem0ai", "mem0/memory/telemetry.py, 2.2.1"),
    Switch("SCARF_NO_ANALYTICS", "true", "unstructured", "unstructured/utils.py, 0.27.35"),
    Switch("RAGAS_DO_NOT_TRACK", "true", "ragas", "ragas/_analytics.py, 0.4.3"),
    Switch("DEEPEVAL_TELEMETRY_OPT_OUT", "1", "deepeval", "deepeval/config/settings.py, 4.3.1"),
    Switch("FIFTYONE_DO_NOT_TRACK", "true", "fiftyone", "fiftyone/core/config.py, 1.22.1"),
    Switch("BENTOML_DO_NOT_TRACK", "True", "bentoml", "bentoml/_internal/utils/analytics/usage_stats.py, 1.4.40"),
    Switch("DVC_NO_ANALYTICS", "1", "dvc", "dvc/analytics.py, 3.67.1"),
)
SWITCHES = {switch.name: switch.value for switch in KNOWN}

HUB_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
_HUB_ADDRESSES = ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN")

_OWN = ("localhost", "127.0.0.1", "::1")


def offline(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` with all libraries offline, and no proxy for localhost (gradio requests its own page)."""
    return {**direct(environ), **SWITCHES}


def asking_hubs(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without the switches that stop all requests to a hub."""
    return {name: value for name, value in environ.items() if name not in HUB_SWITCHES}


def in_container(env: Mapping[str, str], *, hub: bool) -> dict[str, str]:
    """Return the variables of an app in a container, whose recipe sets `env`; `hub`: it asks its hub at each start."""
    return {**(asking_hubs(offline({})) if hub else offline({})), **env}


def needs_hub(recipe: Recipe) -> bool:
    """Return whether the app's container must have a hub: it asks one at each start, and its variables name none."""
    return recipe.hub and not any(recipe.env.get(name) for name in _HUB_ADDRESSES)


def no_hub_in_container(why: str) -> UsageError:
    """Return the error for an app that asks its hub at each start, in a container whose guard cannot serve it."""
    return UsageError(
        f"this app asks its hub at each start, and its container has none: {why}",
        hint="where the container can reach it: preheat mirror --listen 0.0.0.0:8000; and name it in the recipe: "
        'env = { HF_ENDPOINT = "http://HOST:8000", MODELSCOPE_ENDPOINT = "http://HOST:8000" }',
    )


def direct(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` with no proxy for localhost."""
    names = [name for name in environ.get("NO_PROXY", environ.get("no_proxy", "")).split(",") if name.strip()]
    names += [name for name in _OWN if name not in names]
    return {**environ, "NO_PROXY": ",".join(names), "no_proxy": ",".join(names)}


def online(environ: Mapping[str, str], without: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return `environ` without the offline switches, as in a new container, and without the variables `without`."""
    return {name: value for name, value in environ.items() if name not in SWITCHES and name not in without}
