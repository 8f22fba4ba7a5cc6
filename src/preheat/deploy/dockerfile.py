"""Dockerfile: write a Dockerfile that adds weights to a base image; pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MARK = "# Written by preheat build --dockerfile: docker build --tag NAME DIR"


@dataclass(frozen=True, slots=True)
class DockerfileContents:
    """The contents of a Dockerfile; `base` is an image's name, or empty to use the build argument BASE.

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


def dockerfile(contents: DockerfileContents) -> str:
    """Return the Dockerfile."""
    lines = [MARK]
    if not contents.base:
        lines += ["# The base image has no name that docker can pull: pass --build-arg BASE=NAME", "ARG BASE"]
    lines.append(f"FROM {contents.base or '${BASE}'}")
    lines += [f"COPY --chown=0:0 {folder}/ /" for folder in contents.folders]
    lines += [f"ENV {name}={_quoted(value)}" for name, value in sorted(contents.env.items())]
    lines += [f"LABEL {_quoted(name)}={_quoted(value)}" for name, value in sorted(contents.labels.items())]
    lines += [f"EXPOSE {port}" for port in contents.ports]
    if contents.work_folder:
        lines.append(f"WORKDIR {contents.work_folder}")
    if contents.health:
        lines.append(f"HEALTHCHECK {contents.health_times} \\\n  {_check(contents.health)}")
    if contents.entrypoint:
        lines.append(f"ENTRYPOINT {_exec_form(contents.entrypoint)}")
    # Setting ENTRYPOINT resets the base image's CMD, so CMD is written even if it is unchanged.
    if contents.command:
        lines.append(f"CMD {_exec_form(contents.command)}")
    return "\n".join(lines) + "\n"


def _check(test: Sequence[str]) -> str:
    kind, *words = test
    return f"CMD {words[0]}" if kind == "CMD-SHELL" else f"CMD {_exec_form(words)}"


def _exec_form(words: Sequence[str]) -> str:
    return json.dumps(list(words), ensure_ascii=False)


def _quoted(value: str) -> str:
    """Quote a value for a Dockerfile. Dollar signs are escaped, since docker would expand them as variables."""
    return json.dumps(value, ensure_ascii=False).replace("$", "\\$")
