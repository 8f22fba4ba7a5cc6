"""Image config: the base's config with weights and guard added; pure (OCI image specification 1.1, config.md)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from preheat.core.snapshot import PATH_MAX
from preheat.oci.model.image import Fields

# A fixed time keeps builds reproducible.
_NO_TIME = "1970-01-01T00:00:00Z"
_SECOND_NS = 1_000_000_000
# Docker's default, and podman's.
INTERVAL_S = 30
# A base whose command is only a shell or an interpreter starts no app.
_IDLE = frozenset(("bash", "sh", "dash", "ash", "zsh", "python", "python3"))


@dataclass(frozen=True, slots=True)
class Health:
    """Docker's health check: `Healthcheck` in moby's image specification 1.2. Times are in seconds."""

    test: tuple[str, ...]
    interval_s: int = INTERVAL_S
    timeout_s: int = 10
    start_period_s: int = 60
    retries: int = 3

    def document(self) -> Fields:
        """Return the health check as a config's JSON object, with times in nanoseconds."""
        return {
            "Test": list(self.test),
            "Interval": self.interval_s * _SECOND_NS,
            "Timeout": self.timeout_s * _SECOND_NS,
            "StartPeriod": self.start_period_s * _SECOND_NS,
            "Retries": self.retries,
        }


@dataclass(frozen=True, slots=True)
class ConfigAdditions:
    """Settings that an image adds to its base's config.

    `guard` is the guard's command line, which goes before the app's; empty for none. `command` is the recipe's command.
    `given_command` is the command given for this build, and overrides both the recipe's and the base's.
    """

    guard: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    given_command: tuple[str, ...] = ()
    folder: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    health: Health | None = None
    ports: tuple[int, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


def add_to_config(base: Fields, additions: ConfigAdditions, layers: Sequence[tuple[str, str]]) -> Fields:
    """Return the new image's config. `layers` are the diff ID and description of each layer added to the base."""
    own = base.get("config")
    config: Fields = dict(own) if isinstance(own, dict) else {}
    config["Env"] = _env(config.get("Env"), additions.env)
    entrypoint, command = starts(base, additions)
    config["Entrypoint"] = [*additions.guard, *entrypoint] or None
    config["Cmd"] = list(command) or None
    if not config.get("WorkingDir") and additions.folder:
        config["WorkingDir"] = additions.folder
    if additions.guard and config.get("StopSignal"):
        config["StopSignal"] = "SIGTERM"  # the signal at which the guard stops the app
    if additions.health is not None:
        config["Healthcheck"] = additions.health.document()
    if additions.ports:
        ports: Fields = {f"{port}/tcp": {} for port in additions.ports}
        config["ExposedPorts"] = {**_fields(config.get("ExposedPorts")), **ports}
    config["Labels"] = {**_fields(config.get("Labels")), **dict(sorted(additions.labels.items()))}
    history = base.get("history")
    own_history = list(history) if isinstance(history, list) else []
    rootfs = _fields(base.get("rootfs"))
    diff_ids = rootfs.get("diff_ids")
    fields: Fields = {
        **base,
        "created": base.get("created") or _NO_TIME,
        "config": {name: value for name, value in config.items() if value not in (None, {}, [])},
        "rootfs": {
            "type": "layers",
            "diff_ids": [*(diff_ids if isinstance(diff_ids, list) else []), *(digest for digest, _ in layers)],
        },
        "history": [
            *own_history,
            *({"created": _NO_TIME, "created_by": f"preheat build: {what}"} for _, what in layers),
        ],
    }
    # Docker's notes on how the base was built do not apply to this image.
    for name in ("container", "container_config", "id", "parent"):
        fields.pop(name, None)
    return fields


def starts(base: Fields, additions: ConfigAdditions) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the entrypoint and command, without the guard.

    The base's own are used if they start an app; otherwise the recipe's command is used. `given_command` replaces the
    base's command, as in `docker run IMAGE COMMAND`.
    """
    own = _fields(base.get("config"))
    entrypoint, command = _words(own.get("Entrypoint")), _words(own.get("Cmd"))
    if additions.given_command:
        return entrypoint, additions.given_command
    idle = not command or (len(command) == 1 and command[0].rpartition("/")[2] in _IDLE)
    if additions.command and idle and (not entrypoint or command):
        return entrypoint, additions.command
    if additions.command and not entrypoint:
        return (), additions.command
    return entrypoint, command


def search_path(base: Fields) -> list[str]:
    """Return the folders of a base's PATH, relative to the root."""
    listed = _fields(base.get("config")).get("Env")
    for one in listed if isinstance(listed, list) else []:
        name, _, value = str(one).partition("=")
        if name == "PATH":
            return [folder.strip("/") for folder in value.split(":") if folder.startswith("/")]
    return ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"]


def environ_of(base: Fields) -> dict[str, str]:
    """Return the environment variables of a base."""
    listed = _fields(base.get("config")).get("Env")
    pairs = (str(one).partition("=") for one in (listed if isinstance(listed, list) else []))
    return {name: value for name, _, value in pairs}


def user_of(base: Fields) -> str:
    """Return the name or number of the user whom a base runs as; `root` by default."""
    user = str(_fields(base.get("config")).get("User") or "root").partition(":")[0]
    return "root" if user == "0" else user


def work_folder(base: Fields) -> str:
    """Return a base's working directory; the root if what the base names cannot be a path."""
    folder = str(_fields(base.get("config")).get("WorkingDir") or "/")
    return folder if is_path(folder) else "/"


def is_path(text: str) -> bool:
    """Return whether Linux accepts a path: no NUL, and no more bytes than a path may have."""
    return "\0" not in text and len(os.fsencode(text)) < PATH_MAX


def _env(own: object, more: Mapping[str, str]) -> list[str]:
    listed = [str(one) for one in own] if isinstance(own, list) else []
    kept = [one for one in listed if one.partition("=")[0] not in more]
    return [*kept, *(f"{name}={value}" for name, value in sorted(more.items()))]


def _words(value: object) -> tuple[str, ...]:
    return tuple(str(word) for word in value) if isinstance(value, list) else ()


def _fields(value: object) -> Fields:
    return {str(name): one for name, one in value.items()} if isinstance(value, dict) else {}
