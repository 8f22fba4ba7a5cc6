"""Pods from `serve-config k8s` until they are Ready, in a real cluster without a network: `make e2e-k8s`; as root.

    python -m tests.cluster.e2e PROGRAMS [--transcript FILE]

PROGRAMS is the folder that .ci/get-kubernetes prints. The node runs the pods of `--weights node` and `--weights pvc`;
all ways are sent to the API server. What was typed and answered is written to FILE.
"""

import argparse
import datetime
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cluster.cluster import NODE, REGISTRY, Cluster, cluster, node
from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.oci.bases import layer, layout, python_layer

NEEDS = ("etcd", "containerd", "runc", "docker-registry", "kubectl", "skopeo", "gcc", "openssl", "ip", "nsenter")
RECIPE = """
[app]
name = "webui"
command = ["/usr/bin/python3", "{dir}/app.py"]
ready = "http://127.0.0.1:7860/"
[[needs]]
ref = "acme/tiny"
[[needs]]
ref = "acme/tiny"
view = "flat"
at = "checkpoints"
"""
# Reads its weights through both views, and responds with their digests and its user.
APP = b"""
import hashlib, http.server, os
from pathlib import Path
def digest(path): return hashlib.sha256(Path(path).read_bytes()).hexdigest()
[snapshot] = Path(os.environ["HF_HUB_CACHE"], "models--acme--tiny/snapshots").iterdir()
said = f"{digest('/app/checkpoints/model.safetensors')} {digest(snapshot / 'model.safetensors')} {os.getuid()}".encode()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", str(len(said))); self.end_headers()
        self.wfile.write(said)
http.server.HTTPServer(("127.0.0.1", 7860), Handler).serve_forever()
"""
# A pod that does connect out: the count of packets must show it.
CONTROL = """
apiVersion: v1
kind: Pod
metadata: {{ name: control }}
spec:
  restartPolicy: Never
  containers:
    - name: control
      image: {image}
      command: ["/usr/bin/python3", "-c", "import socket; socket.create_connection(('203.0.113.1', 443), 3)"]
"""
VOLUME = """
apiVersion: v1
kind: PersistentVolume
metadata: {{ name: shared }}
spec:
  capacity: {{ storage: 100Gi }}
  accessModes: [ReadWriteMany]
  hostPath: {{ path: {folder} }}
"""
WAYS = ("image", "node", "pvc", "volume")


class Story:
    """What is typed, and what the answers are, in the order in which it happens."""

    def __init__(self, one: Cluster, app: Preheat, model: Path) -> None:
        self.one, self.app, self.lines = one, app, list[str]()
        digest = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
        self.right = f"{digest} {digest} 65534"

    def say(self, text: str) -> None:
        """Add lines to the transcript."""
        for line in text.rstrip("\n").splitlines():
            shown = line.replace(str(self.one.folder), "CLUSTER").rstrip()
            print(shown, flush=True)
            self.lines.append(shown)

    def preheat(self, *words: str) -> Told:
        """Run preheat in the cluster's network."""
        self.say(f"$ preheat {' '.join(words)}")
        told = self.app(*words, inside=self.one.network.inside)
        if told.status:
            raise SystemExit(f"{words}: {told.err}")
        return told

    def kubectl(self, *words: str, given: str = "", quiet: bool = False) -> "subprocess.CompletedProcess[str]":
        """Run kubectl, and show what it prints."""
        self.say(f"$ kubectl {' '.join(words)}")
        typed = ["-" if word.endswith(".yaml") else word for word in words]
        done = self.one.kubectl(*typed, given=given)
        if not quiet:
            self.say(done.stdout + done.stderr)
        return done

    def written(self, weights: str, images: list[str]) -> str:
        """Return the objects of a way to bring the weights."""
        words = ["serve-config", "k8s", "--weights", weights, "--dir", "/app", *images]
        self.say(f"$ preheat {' '.join(words)} > {weights}.yaml")
        told = self.app(*words)
        if told.status:
            raise SystemExit(told.err)
        return told.out

    def apply(self, weights: str, text: str) -> None:
        """Apply objects, wait until the app's pod is ready, and ask the app."""
        one = self.one
        before = one.network.outbound()
        if self.kubectl("apply", "-f", f"{weights}.yaml", given=text).returncode:
            raise SystemExit("not applied")
        one.until("a ready deployment", lambda: one.get("deployment", "webui").get("status", {}).get("readyReplicas"))
        self.kubectl("get", "deployments,daemonsets,jobs,pods")
        [pod] = one.get("pods", "-l", "app.kubernetes.io/component=app")["items"]
        said = self._ask(pod["status"]["podIP"])
        self.say(f"# The app reads the right weights, as user 65534: {said == self.right}")
        sent = one.network.outbound() - before
        self.say(f"# Packets out of the cluster, from its pods and its node: {sent}")
        if said != self.right or sent:
            raise SystemExit(f"{said!r}, {sent} packets out")

    def _ask(self, address: str) -> str:
        ask = f"import urllib.request as r; print(r.urlopen('http://{address}:7860/', timeout=30).read().decode())"
        words = [*self.one.network.inside, sys.executable, "-c", ask]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    def remove(self, text: str) -> None:
        """Delete objects, and wait until their pods are gone."""
        self.kubectl("delete", "-f", "-", "--timeout=90s", "--ignore-not-found", given=text, quiet=True)
        self.one.until("no pods", lambda: not self.one.get("pods")["items"])


def main() -> None:
    """Tell the story, and write it down."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("programs", type=Path)
    options.add_argument("--transcript", type=Path)
    options.add_argument("--only-api", action="store_true", help="without a node")
    words = options.parse_args()
    missing = [one for one in NEEDS if shutil.which(one) is None]
    if os.geteuid() or missing:
        raise SystemExit(f"this needs root, and these programs: {', '.join(missing) or 'all are here'}")
    folder = Path(tempfile.mkdtemp(prefix="e2e-k8s-"))
    try:
        model = folder / "model"
        model.mkdir()
        (model / "config.json").write_text("{}")
        (model / "model.safetensors").write_bytes(os.urandom(20_000_000))
        with FlakyHub({"acme/tiny": model}) as hub:
            app = Preheat(folder, hub.url)
            (folder / "preheat.toml").write_text(RECIPE)
            assert app("pull", "--quiet").status == 0
            assert app("lock").status == 0
        place = folder / "cluster"
        place.mkdir()
        with cluster(place, words.programs, api_only=words.only_api) as one:
            lines = tell(Story(one, app, model), api_only=words.only_api)
        if words.transcript:
            words.transcript.write_text(_document(lines))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tell(story: Story, *, api_only: bool) -> list[str]:
    """Send all objects to the API server, then run what the node can run; return what was typed and answered."""
    one = story.one
    story.kubectl("version")
    loaded, apart = ["--image", f"{REGISTRY}/webui:1-loaded"], ["--image", f"{REGISTRY}/webui:1"]
    apart += ["--weights-image", f"{REGISTRY}/webui-weights:1"]
    for weights in WAYS:
        text = story.written(weights, loaded if weights in ("image", "node") else apart)
        story.kubectl("apply", "--dry-run=server", "-f", f"{weights}.yaml", given=text)
    wrong = story.written("image", loaded).replace("imagePullPolicy", "imagePullPolicyy", 1)
    story.say("# A control: a field that does not exist")
    if story.kubectl("apply", "--dry-run=server", "-f", "-", given=wrong).returncode == 0:
        raise SystemExit("the API server accepts a field that does not exist")
    if api_only:
        return story.lines
    with node(one):
        _run(story, loaded, apart)
    return story.lines


def _run(story: Story, loaded: list[str], apart: list[str]) -> None:
    one, folder = story.one, story.app.folder
    layers = [python_layer(folder), layer({"app": None, "app/app.py": APP})]
    base = layout(folder / "base", layers, {"WorkingDir": "/app", "User": "65534:65534"}, packed=True)
    copy = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", base, f"docker://{REGISTRY}/webui:1"]
    subprocess.run([*one.network.inside, *copy], check=True, capture_output=True)
    build = ["build", "--base", f"docker://{REGISTRY}/webui:1", "--quiet", "--output"]
    story.preheat(*build, f"docker://{REGISTRY}/webui:1-loaded", "--status", "0.0.0.0:7861")
    story.preheat(*build, f"docker://{REGISTRY}/webui-weights:1", "--dir", "/app")
    story.say("# --weights node")
    text = story.written("node", loaded)
    story.apply("node", text)
    label = [word for word in one.get("node", NODE)["metadata"]["labels"] if word.startswith("preheat/")]
    story.say(f"# The node's label: {', '.join(label)}")
    # Before its service account, with which it removes the label.
    story.kubectl("delete", "daemonset", "webui-warm", "--cascade=foreground", "--timeout=90s")
    story.remove(text)
    labels = one.get("node", NODE)["metadata"]["labels"]
    gone = not any(word.startswith("preheat/") for word in labels)
    story.say(f"# The label is gone with the DaemonSet: {gone}")
    if not gone:
        raise SystemExit(f"labels: {labels}")
    story.say("# --weights pvc, with a folder of the node as the shared volume")
    (folder / "shared").mkdir()
    os.chown(folder / "shared", 65534, 65534)
    one.kubectl("apply", "-f", "-", given=VOLUME.format(folder=folder / "shared"))
    text = story.written("pvc", apart)
    story.apply("pvc", text)
    [job] = one.get("jobs")["items"]
    story.say(f"# The Job succeeded: {job['status'].get('succeeded') == 1}")
    story.remove(text)
    before = one.network.outbound()
    one.kubectl("apply", "-f", "-", given=CONTROL.format(image=f"{REGISTRY}/webui:1"))
    one.until("packets of the control", lambda: one.network.outbound() > before)
    story.say("# A control: a pod that connects to 203.0.113.1 is counted: True")


def _document(lines: list[str]) -> str:
    today = datetime.datetime.now(datetime.UTC).date()
    shown = "\n".join(lines)
    return (
        f"# Transcript of `make e2e-k8s`\n\nOf {today}. [What it is](services.md#tests-of-these-objects).\n\n"
        f"```text\n{shown}\n```\n"
    )


if __name__ == "__main__":
    main()
