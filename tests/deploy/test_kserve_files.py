"""KServe's objects, judged by the schemas of its own resource definitions, unknown fields included."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from preheat.deploy.kubernetes.manifests import manifests, model_manifests
from preheat.deploy.kubernetes.served_model import ServedModel
from tests.deploy.test_kubernetes_files import NAMES, NEWEST, workload

SCHEMAS = Path(__file__).with_name("kserve_schemas")
URI = "oci://registry.lan/modelcar:1"


def closed(schema: Any) -> Any:
    """Return the schema with unknown fields as errors, as an API server treats them with strict validation."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    # Of a resource's metadata, its definition says nothing.
    if isinstance(schema.get("properties"), dict):
        made["additionalProperties"] = False
    return made


def judge(text: str) -> list[dict[str, Any]]:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    kubernetes = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    found = list(yaml.safe_load_all(text))
    for made in found:
        if made["apiVersion"].startswith("serving.kserve.io/"):
            schema = json.loads((SCHEMAS / f"{made['kind']}.json").read_text())
            jsonschema.Draft202012Validator(closed(schema)).validate(made)
        else:
            kubernetes.validate(made, NEWEST, strict=True)
    return found


def model(weights: str, **changes: Any) -> ServedModel:
    return ServedModel(
        **{
            "app": "Whisper",
            "weights": weights,
            "storage_uri": URI,
            "model_format": "huggingface",
            "namespace": "default",
            "node_group": "gpus",
            **changes,
        }
    )


def test_kserves_schema_accepts_an_app_in_its_own_image() -> None:
    for name in ("web-ui", *NAMES):
        app = workload("image", peak_memory=1e9)
        gpu = replace(app.service, name=name, has_gpu=True)
        [service, policy] = judge(manifests(replace(app, service=gpu), kserve=True))
        [container] = service["spec"]["predictor"]["containers"]
        assert container["name"] == "kserve-container"
        # KServe sends requests to the first port.
        assert container["ports"][0]["containerPort"] == 7860
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        selected = policy["spec"]["podSelector"]["matchLabels"]
        assert selected == {"serving.kserve.io/inferenceservice": service["metadata"]["name"]}


def test_kserves_schema_accepts_a_modelcar() -> None:
    for name in ("whisper", *NAMES):
        [service, _] = judge(model_manifests(model("volume", app=name, has_gpu=True)))
        assert service["spec"]["predictor"]["model"]["storageUri"] == URI


def test_kserves_schemas_accept_a_cache_on_nodes_and_the_service_names_the_same_source() -> None:
    uri = "hf://openai/whisper-tiny.en:0123456789abcdef"
    [cache, service, _] = judge(model_manifests(model("node", storage_uri=uri, size=5 << 30)))
    assert cache["spec"] == {"sourceModelUri": uri, "modelSize": "5Gi", "nodeGroups": ["gpus"]}
    assert service["spec"]["predictor"]["model"]["storageUri"] == uri


def test_a_value_that_is_yaml_itself_stays_a_text() -> None:
    odd = 'x", evil: "1\n---\nkind: Secret'
    found = judge(model_manifests(model("volume", storage_uri=f"oci://{odd}", model_format=odd)))
    assert [made["kind"] for made in found] == ["InferenceService", "NetworkPolicy"]
    assert found[0]["spec"]["predictor"]["model"]["modelFormat"]["name"] == odd


def test_the_schema_rejects_an_unknown_field() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    text = model_manifests(model("volume")).replace("storageUri:", "storageUrl:")
    with pytest.raises(jsonschema.ValidationError):
        judge(text)
