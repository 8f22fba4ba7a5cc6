"""Manifests: write a workload as a YAML file for `kubectl apply`; pure."""

import functools
from importlib.resources import files
from typing import TYPE_CHECKING

from preheat.core.units import say_size
from preheat.deploy.kubernetes.served_model import ServedModel
from preheat.deploy.kubernetes.workload import STARTUP_PERIOD_S, Workload
from preheat.deploy.kubernetes.yaml_text import literal, outdented, quoted

if TYPE_CHECKING:
    from jinja2 import Environment

_ROOM = "preheat.deploy.kubernetes"


def manifests(workload: Workload, *, kserve: bool = False) -> str:
    """Return the file: its objects depend on where the weights come from. With `kserve`, KServe starts the app."""
    start_s, start_said = workload.service.health_start
    return _filled(
        f"kserve-{workload.weights}" if kserve else workload.weights,
        app=workload,
        service=workload.service,
        startup_period=STARTUP_PERIOD_S,
        start_s=round(start_s),
        start_said=start_said,
        peak=say_size(workload.peak_memory),
        fill_claim=_program("fill_claim.py"),
        label_node=_program("label_node.py"),
    )


def model_manifests(model: ServedModel) -> str:
    """Return the file of a model that a serving runtime of KServe serves."""
    return _filled(f"kserve-{model.weights}", app=model)


def _filled(name: str, **values: object) -> str:
    text = _environment().get_template(f"{name}.yaml").render(**values)
    # Macros leave blank lines; the programs do not need theirs.
    return "\n".join(line for line in text.split("\n") if line.strip()) + "\n"


@functools.cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # No autoescape, which is for HTML: each value goes through `quoted` or `literal`.
    made = Environment(
        loader=PackageLoader(_ROOM, "templates"),
        autoescape=False,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(quoted=quoted, literal=literal, outdented=outdented)
    return made


def _program(name: str) -> str:
    """Return a program that a container runs by `python3 -c`."""
    return (files(_ROOM) / "programs" / name).read_text(encoding="utf-8").rstrip("\n")
