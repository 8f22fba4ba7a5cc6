"""Options of `build`."""

import argparse
from collections.abc import Callable

from preheat.cli.options.connection_options import add_connection_options

Build = Callable[[argparse.ArgumentParser], None]


def image_verbs() -> tuple[tuple[str, str, Build, str], ...]:
    """Return the verbs: name, help, function that adds the options, examples."""
    return (
        (
            "build",
            "build a container image with an app's weights in it, without a daemon",
            _build,
            """\
  preheat build preheat.toml --base docker://docker.io/me/webui:1 --output docker://docker.io/me/webui:1-weights
  preheat build --base webui:1 --output containers-storage:webui:1-loaded
  preheat build --base oci:./layout:app --output oci:./layout:loaded --dir /app
  preheat build indextts2 --base scratch --format modelcar --output docker://registry.lan:5000/indextts2:1
  preheat build --check oci:./layout:loaded""",
        ),
    )


def _build(verb: argparse.ArgumentParser) -> None:
    verb.usage = "preheat build [APP] --base IMAGE --output WHERE [options] [-- CMD ...]"
    verb.add_argument(
        "app", nargs="?", metavar="APP", help="a preheat.toml (default: the one in this folder) or a built-in recipe"
    )
    places = (
        "docker://REGISTRY/REPOSITORY:TAG, containers-storage:NAME:TAG (podman), docker-daemon:NAME:TAG, oci:DIR:TAG, "
        "oci-archive:FILE:TAG or docker-archive:FILE:NAME:TAG"
    )
    verb.add_argument(
        "--base",
        metavar="IMAGE",
        help=f"the app's image: {places}; a name as `docker images` and `podman images` show it; or scratch",
    )
    verb.add_argument("--output", metavar="WHERE", help="where to write the image, in the same notation")
    verb.add_argument(
        "--dry-run", action="store_true", help="show what would be written, and what exists already; write nothing"
    )
    verb.add_argument("--dir", dest="inside", metavar="DIR", help="the app's folder in the image (default: the base's)")
    verb.add_argument(
        "--platform",
        metavar="OS/ARCH",
        help="platform to use from a multi-platform base: linux/arm64 (default: this machine's)",
    )
    verb.add_argument(
        "--format",
        choices=["oci", "docker", "modelpack", "modelcar"],
        default="oci",
        help="image format; the last two contain only the weights, to be mounted as a volume (default oci)",
    )
    verb.add_argument("--max-layer-size", metavar="SIZE", help="split layers of small files at this size: 10G")
    verb.add_argument("--no-guard", dest="guard", action="store_false", help="start the app without the guard")
    verb.add_argument(
        "--status",
        default="127.0.0.1:7861",
        metavar="ADDR",
        help="the guard's status address in the container (default %(default)s)",
    )
    verb.add_argument(
        "--port", type=int, metavar="N", help="the app's port in the container (default: the recipe's, else 7860)"
    )
    verb.add_argument("--health-interval", metavar="TIME", help="time between two health checks (default 30s)")
    verb.add_argument(
        "--dockerfile", metavar="DIR", help="write a Dockerfile and its context to DIR, and build nothing"
    )
    verb.add_argument(
        "--plain-http",
        action="append",
        default=[],
        metavar="HOST",
        help="use HTTP without TLS for this registry; repeatable",
    )
    verb.add_argument(
        "--check", metavar="IMAGE", help="start a built image without a network, and check that it is complete"
    )
    verb.add_argument(
        "--ready-within",
        default="10m",
        metavar="TIME",
        help="with --check: time limit until the app is ready (default 10m)",
    )
    add_connection_options(verb, connections=32)
