"""Fold timer: a systemd service that runs a command once, and the timer that starts it again and again; pure."""

from collections.abc import Mapping, Sequence

from preheat.deploy.systemd import quoted

NAME = "preheat-fold"
_FIRST_AFTER_S = 120  # after the start of the service manager, so that it does not slow down a login


def fold_units(command: Sequence[str], env: Mapping[str, str], every_s: float, user: str = "") -> Mapping[str, str]:
    """Return the unit files by name; with a `user` they are system units, else units of a user's own manager.

    `env` are variables that the command gets. Raise UsageError for values that a unit file cannot contain.
    """
    control = "systemctl" if user else "systemctl --user"
    service = [
        f"# Started by {NAME}.timer. At once: {control} start {NAME}",
        "[Unit]",
        "Description=Fold new model files of apps into the library of preheat",
        "",
        "[Service]",
        "Type=oneshot",
        *([f"User={quoted(user, expands=False)}"] if user else []),
        *(f"Environment={quoted(f'{name}={value}', expands=False)}" for name, value in sorted(env.items())),
        f"ExecStart={' '.join(map(quoted, command))}",
        "# Hashing gives way to everything else.",
        "Nice=19",
        "IOSchedulingClass=idle",
        "NoNewPrivileges=yes",
        "# fold has no time limit: a kill loses nothing, and the next start continues.",
        "TimeoutStartSec=infinity",
    ]
    timer = [
        f"# {control} daemon-reload && {control} enable --now {NAME}.timer",
        "[Unit]",
        "Description=Look for new model files of apps",
        "",
        "[Timer]",
        f"OnStartupSec={_FIRST_AFTER_S}",
        "# Counted from the end of the last one, so that two never run at once.",
        f"OnUnitInactiveSec={every_s:.0f}",
        f"RandomizedDelaySec={every_s / 10:.0f}",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return {f"{NAME}.service": "\n".join(service) + "\n", f"{NAME}.timer": "\n".join(timer) + "\n"}
