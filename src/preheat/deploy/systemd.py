"""Systemd: write a service as a systemd unit file; pure."""

import re
from collections.abc import Sequence

from preheat.core.errors import UsageError
from preheat.core.units import say_count
from preheat.deploy.service import Service

_PLAIN = re.compile(r"[A-Za-z0-9_./:=@{},+-]+")
_START_FACTOR = 4.0
_TMP, _SYSTEM = ("/tmp", "/var/tmp"), ("/usr", "/boot", "/etc")  # noqa: S108 - compared with
_LIMITS = (
    "# What an app does not need: it keeps its files, its network, its GPU and code that it compiles while it runs.",
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "RestrictSUIDSGID=yes",
    "RestrictRealtime=yes",
    "SystemCallArchitectures=native",
)
_SAVING_LIMITS = (
    "# CRIU saves and restores this app. It needs capabilities and namespaces, and cannot restore filters of system",
    "# calls, so the limits that preheat writes for other apps are left out.",
    "NoNewPrivileges=yes",
)
# Only the system's manager can apply these. No ProtectHome: apps keep caches there. No PrivateDevices: GPUs.
_SYSTEM_LIMITS = (
    "CapabilityBoundingSet=",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
)


def unit(service: Service) -> str:
    """Return the unit file; with a `user` it is a system unit, else a user unit.

    Raise UsageError for values that a unit file cannot contain.
    """
    environment = (f"{name}={value}" for name, value in sorted(service.env.items()))
    reload = [
        "# A planned restart: the new instance loads beside the old one, then takes over.",
        "ExecReload=kill -HUP $MAINPID",
    ]
    lines = [
        *_where(service),
        "[Unit]",
        f"Description={one_line(service.name)}, supervised by preheat",
        "# If 5 starts within 2 minutes fail, as when another program has the app's port, do not start it again.",
        "StartLimitIntervalSec=120",
        "StartLimitBurst=5",
        "",
        "[Service]",
        *([f"User={one_line(service.user)}"] if service.user else []),
        "# The guard notifies systemd when the app is ready; units ordered after this one wait for that.",
        "Type=notify",
        "NotifyAccess=main",
        f"WorkingDirectory={one_line(str(service.folder))}",
        *(f"Environment={quoted(one, expands=False)}" for one in environment),
        f"ExecStart={' '.join(map(quoted, service.command))}",
        *(reload if service.renews else []),
        f"# {_start_remark(service)}",
        f"TimeoutStartSec={start_limit_s(service) + 60:.0f}",
        f"TimeoutStopSec={service.stop_within_s + 5:.0f}",
        "# The guard's loop reports to the watchdog, except while it stops the app.",
        f"WatchdogSec={service.stop_within_s + 60:.0f}",
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
        *(_SAVING_LIMITS if service.saves_memory else _LIMITS),
        *(_system_limits(service) if service.user else ()),
        "",
        "[Install]",
        f"WantedBy={'multi-user' if service.user else 'default'}.target",
    ]
    return "\n".join(lines) + "\n"


def _where(service: Service) -> list[str]:
    """Return remarks on where to put the unit file, and how to start it."""
    place, control = "/etc/systemd/system", "systemctl"
    remarks = []
    if not service.user:
        place, control = "~/.config/systemd/user", "systemctl --user"
        remarks = ["# It starts when you log in; at boot: loginctl enable-linger. A system unit: --user NAME"]
    name = one_line(service.name)
    return [f"# {place}/{name}.service, then: {control} daemon-reload && {control} enable --now {name}", *remarks]


def _system_limits(service: Service) -> tuple[str, ...]:
    """Return the limits for a system unit, but none that hides the app's folders or makes them read-only."""
    own_tmp = () if _uses(service, _TMP) else ("PrivateTmp=yes",)
    read_only = () if _uses(service, _SYSTEM) else ("ProtectSystem=full",)
    if service.saves_memory:
        return read_only  # a new private /tmp would lack files that a restored app has open
    return (*read_only, *own_tmp, *_SYSTEM_LIMITS)


def _uses(service: Service, roots: Sequence[str]) -> bool:
    return any(mount.path.is_relative_to(root) for mount in service.mounts for root in roots)


def start_limit_s(service: Service) -> float:
    """Return how long a start may take in seconds: at least the service's limit, and four times the slowest so far."""
    return service.start.allow(service.ready_within_s, _START_FACTOR)


def _start_remark(service: Service) -> str:
    if service.start.count:
        return f"The slowest of {say_count(service.start.count, 'start')} took {service.start.slowest_s:.1f} s here."
    return "No start by `preheat run` was measured here."


def one_line(text: str) -> str:
    """Return a text as the value of a setting: % is doubled. Raise UsageError if it has a line break."""
    if "\n" in text or "\r" in text:
        raise UsageError(f"{text!r} cannot be written in a unit file", hint="remove the line break")
    return text.replace("%", "%%")


def quoted(word: str, *, expands: bool = True) -> str:
    """Quote as systemd.service(5) and systemd.syntax(7) require: % doubled, $ where it `expands`, the rest as in C."""
    word = one_line(word)
    word = word.replace("$", "$$") if expands else word
    if _PLAIN.fullmatch(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") + '"'
