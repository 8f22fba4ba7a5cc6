"""Cluster: etcd, the API server, its controllers, a kubelet with containerd, and a registry, as processes; as root."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.node_network import HOST, NodeNetwork
from tests.oci.bases import layer, layout

REGISTRY = "127.0.0.1:5000"
API = 443  # the port of the Service as well: there is no kube-proxy
NODE = "node-1"
_KUBELET = {
    "kind": "KubeletConfiguration",
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"},
    # Without the capability CAP_SYS_RESOURCE, as in a container, limits cannot be raised.
    "cgroupsPerQOS": False,
    "enforceNodeAllocatable": [],
    "cgroupDriver": "cgroupfs",
    "failSwapOn": False,
    "maxOpenFiles": 20000,
    "oomScoreAdj": 0,
    "makeIPTablesUtilChains": False,
    "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%"},
}
_CONTAINERD = """version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{registry}/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{folder}/net.d"
"""
# A pod's first container, which only waits.
_PAUSE = b"""
#include <unistd.h>
int main(void) { for (;;) pause(); }
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster in `folder`; `programs` has those of Kubernetes."""

    folder: Path
    programs: Path
    network: NodeNetwork

    def kubectl(self, *words: str, given: str = "") -> "subprocess.CompletedProcess[str]":
        """Run kubectl as administrator."""
        command = [*self.network.inside, "kubectl", "--kubeconfig", str(self.folder / "admin.conf"), *words]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False)

    def get(self, *words: str) -> Any:
        """Return objects of the cluster."""
        told = self.kubectl("get", *words, "-o", "json")
        return json.loads(told.stdout) if told.returncode == 0 else {}

    def until(self, what: str, happens: Callable[[], object], within_s: float = 180) -> None:
        """Wait for something. Exit with the last events if it does not come."""
        deadline = time.monotonic() + within_s
        while not happens():
            if time.monotonic() > deadline:
                said = self.kubectl("get", "pods,jobs,events", "-A").stdout
                raise SystemExit(f"never came: {what}\n{said}")
            time.sleep(0.2)


@contextlib.contextmanager
def cluster(folder: Path, programs: Path, *, api_only: bool = False) -> Iterator[Cluster]:
    """Start a control plane, without controllers and scheduler if `api_only`; wait until the API server is ready."""
    with NodeNetwork(f"e2e{os.getpid()}") as network:
        one = Cluster(folder, programs, network)
        _write_logins(one)
        with contextlib.ExitStack() as running:

            def start(name: str, *words: str) -> None:
                running.enter_context(_daemon(folder, name, [*network.inside, *words]))

            etcd = "http://127.0.0.1:2379"
            peers = "http://127.0.0.1:2380"
            start(
                "etcd", "etcd", f"--data-dir={folder}/etcd", f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peers}",
                f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=default={peers}",
            )  # fmt: skip
            start(
                "kube-apiserver", f"{programs}/kube-apiserver", f"--etcd-servers={etcd}", "--bind-address=0.0.0.0",
                f"--secure-port={API}", f"--advertise-address={HOST}", f"--cert-dir={folder}/certificates",
                f"--token-auth-file={folder}/tokens.csv", "--authorization-mode=RBAC", "--allow-privileged=true",
                "--service-account-issuer=https://cluster", f"--service-account-key-file={folder}/accounts.pub",
                f"--service-account-signing-key-file={folder}/accounts.key",
                "--service-cluster-ip-range=10.96.0.0/24", f"--tls-cert-file={folder}/api.crt",
                f"--tls-private-key-file={folder}/api.key",
            )  # fmt: skip
            one.until("a ready API server", lambda: one.kubectl("get", "--raw", "/readyz").stdout == "ok")
            if api_only:
                yield one
                return
            start(
                "kube-controller-manager", f"{programs}/kube-controller-manager", f"--kubeconfig={folder}/admin.conf",
                "--leader-elect=false", f"--service-account-private-key-file={folder}/accounts.key",
                f"--root-ca-file={folder}/ca.crt", "--use-service-account-credentials=false",
            )  # fmt: skip
            start(
                "kube-scheduler", f"{programs}/kube-scheduler", f"--kubeconfig={folder}/admin.conf",
                "--leader-elect=false",
            )  # fmt: skip
            yield one


@contextlib.contextmanager
def node(one: Cluster) -> Iterator[None]:
    """Start a registry, containerd and a kubelet, and wait until the node is ready."""
    folder, inside = one.folder, one.network.inside
    NodeNetwork.plugins(folder / "net.d")
    settings = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": f"{folder}/registry"}}}
    (folder / "registry.yml").write_text(json.dumps(settings | {"http": {"addr": REGISTRY}}))
    (folder / "containerd.toml").write_text(
        _CONTAINERD.format(registry=REGISTRY, folder=folder, cni=_first("/usr/lib/cni", "/opt/cni/bin"))
    )
    (folder / "kubelet.json").write_text(json.dumps(_KUBELET))
    socket = f"{folder}/containerd.sock"
    words = {
        "docker-registry": ["docker-registry", "serve", f"{folder}/registry.yml"],
        "containerd": ["containerd", f"--config={folder}/containerd.toml", f"--root={folder}/containerd",
                       f"--state={folder}/state", f"--address={socket}"],
        "kubelet": [f"{one.programs}/kubelet", f"--kubeconfig={folder}/admin.conf", f"--config={folder}/kubelet.json",
                    f"--hostname-override={NODE}", f"--node-ip={HOST}", f"--root-dir={folder}/kubelet",
                    f"--cert-dir={folder}/kubelet-certificates", "--container-runtime=remote",
                    f"--container-runtime-endpoint=unix://{socket}", "--resolv-conf="],
    }  # fmt: skip
    with contextlib.ExitStack() as running:
        running.callback(_remove_pods, folder)
        running.enter_context(_daemon(folder, "docker-registry", [*inside, *words["docker-registry"]]))
        _push_pause(one)
        for name in ("containerd", "kubelet"):
            running.enter_context(_daemon(folder, name, [*inside, *words[name]]))
        one.until("a ready node", lambda: _is_ready(one.get("node", NODE)))
        try:
            yield
        finally:
            one.kubectl("delete", "daemonsets,deployments,jobs,pods", "--all", "--wait=true", "--timeout=60s")


def _is_ready(node: Any) -> bool:
    conditions = node.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


@contextlib.contextmanager
def _daemon(folder: Path, name: str, words: Sequence[str]) -> Iterator[None]:
    with open(folder / f"{name}.log", "wb") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _remove_pods(folder: Path) -> None:
    """Unmount what a kubelet left, and end the shims of its containers, which outlive containerd."""
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        at = line.split()[1]
        if at.startswith(f"{folder}/"):
            subprocess.run(["umount", "-l", at], check=False, capture_output=True)
    for found in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = found.read_bytes().split(b"\0")
            if words[0].endswith(b"containerd-shim-runc-v2") and os.fsencode(folder) in b" ".join(words):
                os.kill(int(found.parent.name), signal.SIGKILL)


def _push_pause(one: Cluster) -> None:
    program = one.folder / "pause"
    subprocess.run(["gcc", "-static", "-Os", "-x", "c", "-", "-o", str(program)], input=_PAUSE, check=True)
    image = layout(one.folder / "pause-image", [layer({"pause": program.read_bytes()})], {"Entrypoint": ["/pause"]})
    copy = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", image, f"docker://{REGISTRY}/pause:1"]
    for _ in range(50):
        done = subprocess.run([*one.network.inside, *copy], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        time.sleep(0.2)
    raise SystemExit(f"the registry takes no image: {done.stderr}")


def _write_logins(one: Cluster) -> None:
    """Make an authority with a certificate of the API server, the keys of service accounts, and an administrator."""
    folder, token = one.folder, secrets.token_hex(16)
    names = f"subjectAltName=IP:127.0.0.1,IP:{HOST},IP:10.96.0.1"
    (folder / "names").write_text(names)
    for words in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=cluster",
        "req -newkey rsa:2048 -nodes -keyout api.key -out api.csr -subj /CN=api",
        "x509 -req -in api.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out api.crt -days 2 -extfile names",
        "genrsa -out accounts.key 2048",
        "rsa -in accounts.key -pubout -out accounts.pub",
    ):
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f"{token},admin,1,system:masters\n")
    settings = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "c",
                "cluster": {"server": f"https://{HOST}:{API}", "certificate-authority": f"{folder}/ca.crt"},
            }
        ],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (folder / "admin.conf").write_text(json.dumps(settings))
    (folder / "admin.conf").chmod(0o600)


def _first(*folders: str) -> str:
    return next((one for one in folders if Path(one).is_dir()), folders[0])
