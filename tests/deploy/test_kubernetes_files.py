"""Kubernetes objects: judged by Kubernetes' own schemas, and the values that they must preserve."""

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.errors import UsageError
from preheat.deploy.kubernetes.manifests import manifests
from preheat.deploy.kubernetes.object_names import object_name
from preheat.deploy.kubernetes.workload import APART, WAYS, Workload, outermost
from preheat.deploy.kubernetes.yaml_text import quoted
from preheat.deploy.service import Service, StartTime

NASTY = ("sh", "-c", "echo \"$HOME\" $(HOME) $$ 100% \\ 'it's' ;#&| é\t\u2028.", "", "{port}", "one\ntwo: 三", "$")
GUARDED = ("python3", "/opt/preheat/guard.pyz", "--status", "0.0.0.0:7861", "--", *NASTY)
NAMES = ('语音 a"b\nc: d', "x" * 200)
# The oldest version of the schemas, the oldest with `subPath` for image volumes, and the newest.
OLDEST, VOLUMES, NEWEST = "1.25", "1.33", "1.37"


def workload(weights: str, **changes: Any) -> Workload:
    apart = weights in APART
    service = Service(
        name="web-ui",
        command=GUARDED if apart else (),
        check=(),
        folder=None,
        env={"TOKEN": 'a "b" $(c) $$ 5%\n# é', "EMPTY": "", "HOME": "/tmp"},
        user="1000:1001",
        scratch=("/tmp",),
    )
    usual = Workload(
        service=service,
        weights=weights,
        image="registry.lan/webui:1",
        weights_image="registry.lan/weights:1" if apart else "registry.lan/webui:1",
        namespace="default",
        status_port=7861,
        port=7860,
        folders=("/app/checkpoints", "/opt/preheat") if apart else (),
        size=5 << 30,
    )
    return replace(usual, **changes)


def objects(app: Workload) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(manifests(app)))


def one(app: Workload, kind: str) -> dict[str, Any]:
    [found] = [made for made in objects(app) if made["kind"] == kind]
    return found


def pod(app: Workload, kind: str = "Deployment") -> dict[str, Any]:
    spec: dict[str, Any] = one(app, kind)["spec"]["template"]["spec"]
    return spec


def expanded(text: str, env: dict[str, str]) -> str:
    """Replace variables as Kubernetes does (third_party/forked/golang/expansion)."""
    return re.sub(
        r"\$(\$|\(([^)]*)\))?",
        lambda one: "$" if one[1] in ("$", None) else env.get(one[2], one[0]),
        text,
    )


@pytest.mark.parametrize("weights", WAYS)
@pytest.mark.parametrize("version", [OLDEST, VOLUMES, NEWEST])
def test_kubernetes_schemas_accept_all_objects(weights: str, version: str) -> None:
    judge = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    if weights == "volume" and version == OLDEST:
        pytest.skip("Kubernetes 1.25 has no image volumes")
    has_all = workload(weights, peak_memory=1e9)
    bare = workload(weights, port=None)
    for name in NAMES:
        for app in (has_all, bare):
            gpu = replace(app.service, name=name, has_gpu=app is has_all, start=StartTime(20.0, 2))
            for made in objects(replace(app, service=gpu)):
                judge.validate(made, version, strict=True)


def test_the_judge_rejects_an_unknown_field() -> None:
    judge = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    made = one(workload("image"), "Deployment")
    made["spec"]["template"]["spec"]["containers"][0]["imagePullPolicyy"] = "Always"
    with pytest.raises(judge.ValidationError):
        judge.validate(made, NEWEST, strict=True)


@pytest.mark.parametrize("weights", WAYS)
def test_the_file_is_the_same_each_time_and_has_no_blank_lines(weights: str) -> None:
    text = manifests(workload(weights))
    assert text == manifests(workload(weights))
    assert text.endswith("\n")
    assert "\n\n" not in text


@pytest.mark.parametrize("weights", APART)
def test_words_and_variables_reach_the_app_unchanged(weights: str) -> None:
    [container] = pod(workload(weights))["containers"]
    env = {each["name"]: expanded(each["value"], {}) for each in container["env"]}
    assert env == dict(workload(weights).service.env)
    assert tuple(expanded(word, env) for word in container["command"]) == GUARDED


@given(st.text())
def test_any_text_is_read_back_from_yaml(text: str) -> None:
    assert yaml.safe_load(quoted(text)) == text


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_name_makes_a_dns_label_and_other_names_another_one(first: str, second: str) -> None:
    for name in (first, second):
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])?", object_name(name))
    words = [re.sub(r"[ ._-]", "-", name.lower()) for name in (first, second)]
    assert words[0] == words[1] or object_name(first) != object_name(second)


def test_usual_names_stay_as_they_are() -> None:
    assert [object_name(name) for name in ("indextts2", "Web UI", "a.b_c")] == ["indextts2", "web-ui", "a-b-c"]


@pytest.mark.parametrize("weights", WAYS)
def test_every_container_is_confined(weights: str) -> None:
    for made in objects(workload(weights)):
        if made["kind"] not in ("Deployment", "Job", "DaemonSet"):
            continue
        spec = made["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 1000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert made["kind"] == "DaemonSet" or spec["automountServiceAccountToken"] is False
        for container in spec["containers"] + spec.get("initContainers", []):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.parametrize("weights", WAYS)
def test_policies_select_all_pods_and_only_the_node_label_may_connect_out(weights: str) -> None:
    made = objects(workload(weights))
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in made if "template" in each.get("spec", {})]
    policies = {
        each["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]: each["spec"]
        for each in made
        if each["kind"] == "NetworkPolicy"
    }
    assert {labels["app.kubernetes.io/component"] for labels in pods} == set(policies)
    for component, policy in policies.items():
        assert policy["policyTypes"] == ["Egress"]
        assert bool(policy["egress"]) == (component == "warm")


@pytest.mark.parametrize(("start", "failures"), [(StartTime(), 120), (StartTime(2.0, 1), 6), (StartTime(101.0, 3), 61)])
def test_the_startup_probe_allows_three_times_the_slowest_measured_start(start: StartTime, failures: int) -> None:
    app = workload("image")
    [container] = pod(replace(app, service=replace(app.service, start=start)))["containers"]
    assert container["startupProbe"] == {
        "httpGet": {"path": "/startupz", "port": "status"},
        "periodSeconds": 5,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "status"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "status"}


def test_the_measured_peak_becomes_the_request() -> None:
    [container] = pod(workload("image", peak_memory=float(100 << 20)))["containers"]
    assert container["resources"] == {"requests": {"memory": "125Mi"}}
    assert "resources" not in pod(workload("image"))["containers"][0]


def test_another_weights_image_fills_another_folder_by_another_job() -> None:
    keys = set()
    for image in ("registry.lan/weights:1", "registry.lan/weights:2"):
        app = workload("pvc", weights_image=image)
        keys |= {one(app, "Job")["metadata"]["name"]}
        [container], [waits] = pod(app)["containers"], pod(app)["initContainers"]
        mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
        assert mounts["/opt/preheat"]["subPath"] == f"{app.key}/opt/preheat"
        assert mounts["/app/checkpoints"]["readOnly"] is True
        assert waits["args"][1] == f"/weights-claim/{app.key}/complete"
        assert pod(app, "Job")["containers"][0]["args"][2:] == [app.key, "/app/checkpoints", "/opt/preheat"]
    assert len(keys) == 2


def test_the_app_runs_only_on_nodes_that_the_daemon_set_has_labelled() -> None:
    app = workload("node")
    [warm] = pod(app, "DaemonSet")["containers"]
    [app_container] = pod(app)["containers"]
    assert pod(app)["nodeSelector"] == {warm["args"][4]: warm["args"][5]}
    assert warm["image"] == app_container["image"]
    # Kubernetes replaces these, and nothing else in the program.
    assert "$" not in warm["args"][0]
    label = warm["args"][4].split("/")
    assert label[0] == "preheat"
    assert len(label[1]) <= 63
    [binding] = [each for each in objects(app) if each["kind"] == "ClusterRoleBinding"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "web-ui-warm", "namespace": "default"}]


@pytest.mark.parametrize("user", ["0:0", "0", "root", "1000:", "", "1:2:3"])
def test_a_user_that_is_root_or_no_number_is_rejected(user: str) -> None:
    app = workload("image")
    with pytest.raises(UsageError):
        manifests(replace(app, service=replace(app.service, user=user)))


def test_a_variable_that_kubernetes_rejects_is_rejected() -> None:
    app = workload("image")
    for name in ("A B", "1A", "", "A=B", "名"):
        with pytest.raises(UsageError):
            replace(app, service=replace(app.service, env={name: ""}))


def test_only_the_outermost_folders_are_mounted() -> None:
    assert outermost(["/a/b", "/a", "/ab", "/c/d/e", "/c/d"]) == ("/a", "/ab", "/c/d")
