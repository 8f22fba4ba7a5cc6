"""serve-config k8s, end to end: what it mounts and names is in the image that build writes, and wrong options."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from tests.command import Preheat, Told
from tests.guard.apps import free_port, until
from tests.oci.bases import layer, layout
from tests.stories.test_build import PYTHON, Layout

RECIPE = """
[app]
name = "语音 demo"
command = ["python3", "{dir}/app.py", "$HOME"]
ready = "http://127.0.0.1:7860/"
[[needs]]
ref = "acme/tiny"
[[needs]]
ref = "acme/tiny"
view = "flat"
at = "checkpoints"
"""
APART = ("--image", "registry.lan/app:1", "--weights-image", "registry.lan/weights:1", "--dir", "/app")


@pytest.fixture
def app(preheat: Preheat) -> Preheat:
    """A recipe and its needs, pulled."""
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    assert preheat("pull", "preheat.toml", "--quiet").status == 0
    return preheat


def deployment(told: Told) -> dict[str, Any]:
    assert told.status == 0, told.err
    [made] = [each for each in yaml.safe_load_all(told.out) if each["kind"] == "Deployment"]
    spec: dict[str, Any] = made["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("weights", ["pvc", "volume"])
def test_mounts_and_variables_lead_to_files_of_the_weights_image(app: Preheat, tmp_path: Path, weights: str) -> None:
    base = layout(tmp_path / "bases", [layer(PYTHON)], {"Cmd": ["python3"]}, packed=True)
    built = app("build", "--base", base, "--dir", "/app", "--output", "oci:out:v1")
    assert built.status == 0, built.err
    root = Layout(app.folder / "out", "v1").unpack(tmp_path / "root")
    [container] = deployment(app("serve-config", "k8s", "--weights", weights, *APART))["containers"]
    mounts = {each["mountPath"]: each["subPath"] for each in container["volumeMounts"] if each["name"] == "weights"}
    assert set(mounts) == {"/app/checkpoints", "/opt/preheat"}
    for at, below in mounts.items():
        assert (root / at.lstrip("/")).is_dir()
        assert below == at.lstrip("/") or below.endswith(at)
    env = {each["name"]: each["value"] for each in container["env"]}
    assert Path(root, env["HF_HUB_CACHE"].lstrip("/"), "models--acme--tiny").is_dir()
    assert env["HF_HUB_OFFLINE"] == "1"
    # Each link in a mounted folder leads to another mounted one.
    for link in (path for at in mounts for path in (root / at.lstrip("/")).rglob("*") if path.is_symlink()):
        target = os.path.normpath(Path("/", link.parent.relative_to(root)) / link.readlink())
        assert any(Path(target).is_relative_to(at) for at in mounts), link
    assert container["command"][1] == "/opt/preheat/guard.pyz"
    assert (root / "opt/preheat/guard.pyz").is_file()
    assert container["command"][-2:] == ["/app/app.py", "$$HOME"]


def test_the_command_of_the_app_serves_the_probes_at_the_pods_address(app: Preheat, tmp_path: Path) -> None:
    status, port = free_port(), free_port()
    app_file = tmp_path / "app.py"
    app_file.write_text(f"import http.server as h; h.HTTPServer(('127.0.0.1', {port}), h.SimpleHTTPRequestHandler)")
    app_file.write_text(app_file.read_text() + ".serve_forever()")
    (app.folder / "preheat.toml").write_text(RECIPE.replace("7860", str(port)))
    told = app("serve-config", "k8s", "--weights", "volume", *APART, "--status", f"0.0.0.0:{status}")
    [container] = deployment(told)["containers"]
    assert {each["name"]: each["containerPort"] for each in container["ports"]} == {"app": port, "status": status}
    told = app("build", "--base", layout(tmp_path / "b", [layer(PYTHON)], {}), "--dir", "/app", "--output", "oci:o:1")
    assert told.status == 0, told.err
    root = Layout(app.folder / "o", "1").unpack(tmp_path / "root")
    words = [word.replace("/opt/preheat", f"{root}/opt/preheat") for word in container["command"]]
    words = [sys.executable, *words[1:-3], sys.executable, str(app_file)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as pod:
        try:
            for probe in ("livenessProbe", "startupProbe", "readinessProbe"):
                path = container[probe]["httpGet"]["path"]
                # 127.0.0.2 stands for the pod's address: only an address that is open to all has it.
                assert until(functools.partial(_responds, f"http://127.0.0.2:{status}{path}"), 30), path
        finally:
            pod.terminate()
            pod.communicate(timeout=20)


def _responds(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_weights_in_the_image_need_no_library(preheat: Preheat) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    for weights in ("image", "node"):
        told = preheat("serve-config", "k8s", "--weights", weights, "--image", "registry.lan/app:1", "--port", "7860")
        [container] = deployment(told)["containers"]
        assert "command" not in container
        assert container["image"] == "registry.lan/app:1"
    told = preheat("serve-config", "k8s", "--weights", "volume", *APART)
    assert told.status == 5
    assert "preheat pull" in told.err


@pytest.mark.parametrize(("words", "seconds"), [((), 10), (("--health-interval", "1m"), 60)])
def test_the_interval_of_the_health_checks_is_the_period_of_the_liveness_probe(
    app: Preheat, words: tuple[str, ...], seconds: int
) -> None:
    for weights in (("--weights", "image", "--image", "x"), ("--weights", "volume", *APART)):
        [container] = deployment(app("serve-config", "k8s", *weights, *words))["containers"]
        assert container["livenessProbe"]["periodSeconds"] == seconds
    [service] = yaml.safe_load(app("serve-config", "compose", *words).out)["services"].values()
    assert service["healthcheck"]["interval"] == f"{seconds}s"


def test_a_proofs_peak_becomes_the_memory_request(preheat: Preheat) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    figures = {"preloaded": {"peak_pss": 200 << 20}, "warm": {"peak_pss": None, "peak_rss": 100 << 20}}
    report = {"schema": 1, "timelines": [], "app": "语音 demo", "spread": dict.fromkeys(figures), **figures}
    words = ("serve-config", "k8s", "--weights", "image", "--image", "x", "--report", "proof.json")
    (preheat.folder / "proof.json").write_text(json.dumps(report))
    [container] = deployment(preheat(*words))["containers"]
    assert container["resources"]["requests"] == {"memory": "250Mi"}
    (preheat.folder / "proof.json").write_text(json.dumps({**report, "app": "another"}))
    told = preheat(*words)
    assert (told.status, told.out) == (2, "")
    assert "the report is about another, not 语音 demo" in told.err
    (preheat.folder / "proof.json").write_text("{}")
    assert preheat(*words).status == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("k8s", "--image", "x"), "--weights is required"),
        (("k8s", "--weights", "image"), "requires the image's name"),
        (("k8s", "--weights", "pvc", "--image", "x", "--dir", "/app"), "requires an image with the weights"),
        (("k8s", "--weights", "pvc", "--image", "x", "--weights-image", "y"), "the app's folder in its image"),
        (("k8s", "--weights", "node", "--image", "x", "--weights-image", "y"), "in the app's image"),
        (("k8s", "--weights", "image", "--image", "x", "--status", "127.0.0.1:7861"), "cannot probe"),
        (("k8s", "--weights", "image", "--image", "x", "--status", "0.0.0.0:7860"), "would both use port"),
        (("k8s", "--weights", "image", "--image", "x", "--front", "0.0.0.0:80"), "--front is for one machine"),
        (("k8s", "--weights", "image", "--image", "x", "--namespace", "A b"), "not the name of a namespace"),
        (("k8s", "--weights", "image", "--image", "x", "--user", "0:0"), "must not be root"),
        (("k8s", "--weights", "image", "--image", "x", "--built"), "--built is for compose"),
        (("k8s", "--weights", "image", "--image", "x", "--node-group", "y"), "--node-group is for kserve"),
        (("k8s", "--weights", "image", "--image", "x", "--health-interval", "1500ms"), "whole seconds"),
        (("k8s", "--weights", "image", "--image", "x", "--user"), "--user UID:GID"),
        (("kserve", "--weights", "node", "--node-group", "x", "--health-interval", "5s"), "have probes of their own"),
        (("compose", "--health-interval", "0s"), "whole seconds"),
        (("systemd", "--health-interval", "5s"), "systemd has no health checks"),
        (("compose", "--weights", "image"), "--weights is for Kubernetes"),
        (("systemd", "--report", "x"), "--report is for Kubernetes"),
    ],
)
def test_options_that_do_not_fit_are_rejected(preheat: Preheat, words: tuple[str, ...], said: str) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    told = preheat("serve-config", *words)
    assert (told.status, told.out) == (2, "")
    assert said in told.err


ONE = '[app]\nname = "tiny"\ncommand = ["python3"]\nready = "tcp:7860"\n[[needs]]\nref = "acme/tiny"\n'


@pytest.mark.parametrize("end", ["", "optional = true\n"])
def test_kserve_gets_the_commit_that_is_in_the_library(preheat: Preheat, end: str) -> None:
    (preheat.folder / "preheat.toml").write_text(ONE + end)
    words = ("serve-config", "kserve", "--weights", "node", "--node-group", "gpus")
    assert preheat(*words).status == 5
    assert preheat("pull", "preheat.toml", "--quiet").status == 0
    told = preheat(*words)
    assert told.status == 0, told.err
    [cache, service, _] = yaml.safe_load_all(told.out)
    [shown] = [event for event in preheat("show", "acme/tiny", "--json").events if event["event"] == "done"]
    uri = cache["spec"]["sourceModelUri"]
    assert uri.startswith("hf://acme/tiny:")
    assert uri.rpartition(":")[2] in json.dumps(shown)
    assert service["spec"]["predictor"]["model"]["storageUri"] == uri


@pytest.mark.parametrize(
    ("recipe", "words", "said"),
    [
        (RECIPE, ("volume", "--weights-image", "x"), "serves one model, not 2"),
        (ONE + 'at = "checkpoints"\n', ("volume", "--weights-image", "x"), "not in /models/checkpoints"),
        (ONE, ("volume",), "a modelcar requires its image's name"),
        (ONE.replace("acme", "ms:acme"), ("node", "--node-group", "x"), "cannot fetch ms:acme/tiny"),
        (ONE, ("node",), "requires a LocalModelNodeGroup"),
        (ONE, ("pvc",), "--weights pvc is for k8s"),
        (ONE, ("image",), "requires the image's name"),
    ],
)
def test_recipes_that_do_not_fit_kserve_are_rejected(
    preheat: Preheat, recipe: str, words: tuple[str, ...], said: str
) -> None:
    (preheat.folder / "preheat.toml").write_text(recipe)
    told = preheat("serve-config", "kserve", "--weights", *words)
    assert (told.status, told.out) == (2, "")
    assert said in told.err


def test_weights_over_the_whole_app_are_rejected(app: Preheat) -> None:
    (app.folder / "preheat.toml").write_text(RECIPE.replace('"checkpoints"', '"."'))
    assert app("pull", "preheat.toml", "--quiet", "--keep").status == 0
    told = app("serve-config", "k8s", "--weights", "volume", *APART)
    assert told.status == 2
    assert "would hide the app's own files" in told.err
