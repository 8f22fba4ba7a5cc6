"""The options of `serve-config`."""

import argparse
from collections.abc import Callable

from preheat.cli.options.pull_and_view import add_place_options

_EXAMPLES = """\
  preheat serve-config systemd preheat.toml --user > ~/.config/systemd/user/webui.service
  preheat serve-config systemd preheat.toml --user webui | sudo tee /etc/systemd/system/webui.service
  preheat serve-config compose preheat.toml > compose.yaml
  preheat serve-config compose preheat.toml --image registry.lan/webui:1-loaded --built > compose.yaml
  preheat serve-config k8s preheat.toml --weights node --image registry.lan/webui:1-loaded | kubectl apply -f -
  preheat serve-config k8s --weights volume --dir /app --image registry.lan/webui:1 \\
      --weights-image registry.lan/webui-weights:1 > webui.yaml
  preheat serve-config kserve preheat.toml --weights volume --weights-image registry.lan/modelcar:1 > model.yaml"""

Add = Callable[[argparse.ArgumentParser], None]


def service_verb(add_app: Add) -> tuple[str, str, Add, str]:
    """Return the verb `serve-config`: name, help, a function that adds its options, and examples."""

    def add(verb: argparse.ArgumentParser) -> None:
        _serve_config(verb, add_app)

    return "serve-config", "write a systemd unit, a compose file or Kubernetes objects for an app", add, _EXAMPLES


def _serve_config(verb: argparse.ArgumentParser, add_app: Add) -> None:
    verb.add_argument(
        "kind",
        choices=["systemd", "compose", "k8s", "kserve"],
        help="a unit file, a compose file, or objects for kubectl apply",
    )
    add_app(verb)
    add_place_options(verb)
    verb.add_argument(
        "--image",
        metavar="IMAGE",
        help="compose: the image (default: built from the Dockerfile or requirements.txt in the app's folder); "
        "k8s: the app's image in a registry",
    )
    verb.add_argument(
        "--built", action="store_true", help="compose: `preheat build` wrote the image, and the weights are in it"
    )
    verb.add_argument(
        "--user",
        nargs="?",
        const="",
        metavar="NAME",
        help="the service's user, for compose also UID:GID (default: the owner of the app's folder; systemd: as root); "
        "k8s: UID:GID (default 65534:65534); systemd, without NAME: a unit for systemctl --user",
    )
    verb.add_argument(
        "--status",
        metavar="ADDR",
        help="the guard's status address (default 127.0.0.1:7861; k8s: 0.0.0.0:7861; systemd: no status page)",
    )
    verb.add_argument(
        "--port", type=int, metavar="N", help="the app's port, in the container if there is one (default: the recipe's)"
    )
    verb.add_argument("--front", metavar="ADDR", help="the public address; systemd: as `run`, compose: of this machine")
    verb.add_argument(
        "--health-interval",
        metavar="TIME",
        help="compose: time between two health checks; k8s: period of the liveness probe (default 10s)",
    )
    verb.add_argument("--ready-within", default="10m", metavar="TIME", help="as `run` (default 10m)")
    verb.add_argument("--stop-within", default="10s", metavar="TIME", help="as `run` (default 10s)")
    group = verb.add_argument_group("for Kubernetes")
    group.add_argument(
        "--weights",
        choices=["image", "pvc", "node", "volume"],
        help="where the weights come from: the app's image; a claim that a Job fills from the weights' image; "
        "the app's image, brought to each node beforehand; the weights' image as a volume. "
        "kserve: image, volume (a modelcar) or node (its cache on nodes)",
    )
    group.add_argument(
        "--weights-image", metavar="IMAGE", help="the image with the weights and the guard, for pvc and volume"
    )
    group.add_argument(
        "--model-format", metavar="NAME", help="kserve: the format by which it chooses a runtime (default: huggingface)"
    )
    group.add_argument(
        "--node-group", metavar="NAME", help="kserve: the nodes for --weights node, a LocalModelNodeGroup"
    )
    group.add_argument("--namespace", metavar="NAME", help="the objects' namespace (default: default)")
    group.add_argument(
        "--report", metavar="FILE", help="the output of `prove --json`: its peak memory becomes the memory request"
    )
