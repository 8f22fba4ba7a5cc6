"""Node network: a network namespace that is a cluster's whole world, with a sink that counts what would leave it."""

import json
import re
import subprocess
from pathlib import Path
from typing import Self

SERVICES = "10.96.0.1"  # the API server, at the address that pods are given for it
HOST = "10.97.1.1"  # the node
PODS = "10.98.0.0/24"


class NodeNetwork:
    """A namespace between `with` and its end. Its default route leads to another one
    that has no addresses: packets on it are counted, and go nowhere."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def inside(self) -> tuple[str, ...]:
        """The words that run a command in it."""
        return ("nsenter", f"--net=/run/netns/{self.name}", "--")

    def __enter__(self) -> Self:
        try:
            for name in (self.name, f"{self.name}-out"):
                _run(f"ip netns add {name}")
                for setting in ("ipv6.conf.all.disable_ipv6=1", "ipv6.conf.default.disable_ipv6=1"):
                    _run(f"nsenter --net=/run/netns/{name} -- sysctl -qw net.{setting}")
            at = f"ip -n {self.name}"
            _run(" ".join((*self.inside, "sysctl", "-qw", "net.ipv4.ip_forward=1")))
            _run(f"{at} link set lo up")
            for device, address in (("services", f"{SERVICES}/32"), ("host", f"{HOST}/24"), ("sink", "10.99.0.1/24")):
                _run(f"ip link add {device} netns {self.name} type veth peer name {device} netns {self.name}-out")
                _run(f"ip -n {self.name}-out link set {device} up")
                _run(f"{at} addr add {address} dev {device}")
                _run(f"{at} link set {device} up")
            _run(f"{at} link set sink arp off")
            _run(f"{at} route add default dev sink src {HOST}")
        except subprocess.CalledProcessError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for name in (self.name, f"{self.name}-out"):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def outbound(self) -> int:
        """Count the packets that left the cluster, from pods and from the node."""
        said = _run(f"ip -n {self.name} -s link show sink")
        found = re.search(r"TX:.*\n\s*\d+\s+(\d+)", said)
        assert found is not None, said
        return int(found[1])

    @staticmethod
    def plugins(folder: Path) -> None:
        """Write the CNI configuration of pods: a bridge on the node."""
        folder.mkdir(parents=True)
        addresses = {"type": "host-local", "dataDir": str(folder / "addresses"), "ranges": [[{"subnet": PODS}]]}
        bridge: dict[str, object] = {"type": "bridge", "bridge": "pods", "isGateway": True}
        bridge["ipam"] = addresses | {"routes": [{"dst": "0.0.0.0/0"}]}
        said = {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}
        (folder / "10-bridge.conflist").write_text(json.dumps(said))


def _run(words: str) -> str:
    return subprocess.run(words.split(), check=True, capture_output=True, text=True).stdout
