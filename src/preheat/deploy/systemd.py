"""Systemd: a service as a systemd unit file; pure."""

import re

from preheat.core.errors import UsageError
from preheat.deploy.service import Service

_PLAIN = re.compile(r"[A-Za-z0-9_./:=@{},+-]+")


def unit(service: Service) -> str:
    """Write the unit. Raise UsageError for words that no unit can say."""
    environment = [f"Environment={_quoted(f'{name}={value}')}" for name, value in sorted(service.env.items())]
    reload = [
        "# A planned restart: the new one loads beside the old, then takes over.",
        "ExecReload=kill -HUP $MAINPID",
    ]
    lines = [
        f"# /etc/systemd/system/{service.name}.service, or ~/.config/systemd/user/ and systemctl --user.",
        "[Unit]",
        f"Description={_said(service.name)}, kept by preheat",
        "",
        "[Service]",
        "# The guard says when the app is ready; what wants this unit waits for that.",
        "Type=notify",
        "NotifyAccess=main",
        f"WorkingDirectory={_said(str(service.folder))}",
        *environment,
        f"ExecStart={' '.join(map(_quoted, service.command))}",
        *(reload if service.renews else []),
        f"TimeoutStartSec={service.ready_within_s + 60:.0f}",
        f"TimeoutStopSec={service.stop_within_s + 5:.0f}",
        "# The guard ends its app in peace first; systemd ends what would be left.",
        "KillMode=mixed",
        "# When the kernel kills the app for want of memory, the guard starts it again: the unit goes on.",
        "OOMPolicy=continue",
        "Restart=on-failure",
        "RestartSec=5",
        "# Stopped by SIGTERM is stopped well. Wrong words, and models that are not here, fail the same way again.",
        "SuccessExitStatus=143",
        "RestartPreventExitStatus=2 5",
        "NoNewPrivileges=yes",
        "",
        "[Install]",
        "WantedBy=default.target",
    ]
    return "\n".join(lines) + "\n"


def _said(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise UsageError(f"{text!r} cannot be said in a unit file", hint="leave the line break out")
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """Quote a word as systemd.service(5) and systemd.syntax(7) read it: % and $ doubled, the rest as in C."""
    word = _said(word).replace("$", "$$")
    if _PLAIN.fullmatch(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") + '"'
