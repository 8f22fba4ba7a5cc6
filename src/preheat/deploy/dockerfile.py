"""Dockerfile: an image with weights in it, for users who build with docker; pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MARK = "# Written by preheat build --dockerfile: docker build --tag NAME DIR"


@dataclass(frozen=True, slots=True)
class Baking:
    """What the file says: `base` is an image's name, empty to be given by whoever builds; `folders` lie beside it.

    `health` is a health check in the words of an image's config, `health_times` its options.
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
    """Write it."""
    lines = [MARK]
    if not baking.base:
        lines += ["# The base has no name that docker could pull it by: --build-arg BASE=NAME", "ARG BASE"]
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
    # An entrypoint that is set anew takes the base's command away: said even where it stays as it was.
    if baking.command:
        lines.append(f"CMD {_words(baking.command)}")
    return "\n".join(lines) + "\n"


def _check(test: Sequence[str]) -> str:
    kind, *words = test
    return f"CMD {words[0]}" if kind == "CMD-SHELL" else f"CMD {_words(words)}"


def _words(words: Sequence[str]) -> str:
    return json.dumps(list(words), ensure_ascii=False)


def _quoted(value: str) -> str:
    """Quote as docker reads it: a dollar would be a variable."""
    return json.dumps(value, ensure_ascii=False).replace("$", "\\$")
