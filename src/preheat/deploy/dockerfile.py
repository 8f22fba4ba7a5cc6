"""Dockerfile: write a Dockerfile that adds weights to a base image; pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MARK = "# Written by preheat build --dockerfile: docker build --tag NAME DIR"


@dataclass(frozen=True, slots=True)
class Baking:
    """The contents of a Dockerfile; `base` is an image's name, empty for a build argument.

    `folders` are next to the Dockerfile. `health` is a health check in the form of an image's config, `health_times`
    its options.
    """

    base: str
    folders: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[int] = ()
    work_folder: str = ""
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    health: Sequence[str] = ()
    health_times: str = ""


def dockerfile(baking: Baking) -> str:
    """Return the Dockerfile."""
    lines = [MARK]
    if not baking.base:
        lines += ["# The base image has no name that docker can pull: pass --build-arg BASE=NAME", "ARG BASE"]
    lines.append(f"FROM {baking.base or '${BASE}'}")
    lines += [f"COPY --chown=0:0 {folder}/ /" for folder in baking.folders]
    lines += [f"ENV {name}={_quoted(value)}" for name, value in sorted(baking.env.items())]
    lines += [f"LABEL {_quoted(name)}={_quoted(value)}" for name, value in sorted(baking.labels.items())]
    lines += [f"EXPOSE {port}" for port in baking.ports]
    if baking.work_folder:
        lines.append(f"WORKDIR {baking.work_folder}")
    if baking.health:
        lines.append(f"HEALTHCHECK {baking.health_times} \\\n  {_check(baking.health)}")
    if baking.entrypoint:
        lines.append(f"ENTRYPOINT {_words(baking.entrypoint)}")
    # Setting ENTRYPOINT resets the base image's CMD, so CMD is written even if it is unchanged.
    if baking.command:
        lines.append(f"CMD {_words(baking.command)}")
    return "\n".join(lines) + "\n"


def _check(test: Sequence[str]) -> str:
    kind, *words = test
    return f"CMD {words[0]}" if kind == "CMD-SHELL" else f"CMD {_words(words)}"


def _words(words: Sequence[str]) -> str:
    return json.dumps(list(words), ensure_ascii=False)


def _quoted(value: str) -> str:
    """Quote a value for a Dockerfile. Dollar signs are escaped, since docker would expand them as variables."""
    return json.dumps(value, ensure_ascii=False).replace("$", "\\$")
