"""Systemd: write a service as a systemd unit file; pure."""

import re

from preheat.core.errors import UsageError
from preheat.deploy.service import Service

_PLAIN = re.compile(r"[A-Za-z0-9_./:=@{},+-]+")


def unit(service: Service) -> str:
    """Return the unit file. Raise UsageError for values that a unit file cannot contain."""
    environment = [f"Environment={_quoted(f'{name}={value}')}" for name, value in sorted(service.env.items())]
    reload = [
        "# A planned restart: the new instance loads beside the old one, then takes over.",
        "ExecReload=kill -HUP $MAINPID",
    ]
    lines = [
        f"# /etc/systemd/system/{service.name}.service, or ~/.config/systemd/user/ and systemctl --user.",
        "[Unit]",
        f"Description={_one_line(service.name)}, supervised by preheat",
        "",
        "[Service]",
        "# The guard notifies systemd when the app is ready; units ordered after this one wait for that.",
        "Type=notify",
        "NotifyAccess=main",
        f"WorkingDirectory={_one_line(str(service.folder))}",
        *environment,
        f"ExecStart={' '.join(map(_quoted, service.command))}",
        *(reload if service.renews else []),
        f"TimeoutStartSec={service.ready_within_s + 60:.0f}",
        f"TimeoutStopSec={service.stop_within_s + 5:.0f}",
        "# The guard stops the app gracefully; systemd then kills any remaining processes.",
        "KillMode=mixed",
        "# The guard keeps the app in a cgroup below its own, to kill all of its processes at once.",
        "Delegate=yes",
        "# If the kernel kills the app because memory ran out, the guard restarts it, so keep the unit running.",
        "OOMPolicy=continue",
        "Restart=on-failure",
        "RestartSec=5",
        "# A stop by SIGTERM is a success. A usage error or a missing model would fail again, so do not restart.",
        "SuccessExitStatus=143",
        "RestartPreventExitStatus=2 5",
        "NoNewPrivileges=yes",
        "",
        "[Install]",
        "WantedBy=default.target",
    ]
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise UsageError(f"{text!r} cannot be written in a unit file", hint="remove the line break")
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """Quote as systemd.service(5) and systemd.syntax(7) require: % and $ doubled, the rest as in C."""
    word = _one_line(word).replace("$", "$$")
    if _PLAIN.fullmatch(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") + '"'
