"""CRIU: the system program that dumps processes to files and restores them; see criu(8)."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import Mapping, Sequence

from preheat.guard.kernel import namespaces

PATH_VARIABLE = "PREHEAT_CRIU"
_OLDEST = (4, 0)
_PATIENCE_S = 10.0
# Connections are closed in the restored app. Cgroups and namespaces are the guard's own, made before the restore.
_COMMON = ("--tcp-close", "--network-lock", "skip", "--manage-cgroups=ignore", "--ghost-limit", "64M")


class CannotFreeze(Exception):
    """No memory snapshot can be made of an app, or of any app here; the message is the reason."""


@dataclass(frozen=True)
class Criu:
    """The program `path` of a version that is supported.

    `unprivileged`: it runs as root of a user namespace, and does without what that cannot do.
    """

    path: str
    version: str
    unprivileged: bool = False

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Criu:
        """Return the CRIU that PREHEAT_CRIU names, else the one on PATH. Raise CannotFreeze."""
        path = environ.get(PATH_VARIABLE, "") or shutil.which("criu", path=environ.get("PATH")) or ""
        if not path:
            raise CannotFreeze(f"there is no criu on PATH: install CRIU 4, or set {PATH_VARIABLE} to its path")
        try:
            asked = subprocess.run(
                [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotFreeze(f"{path} cannot be run: {getattr(error, 'strerror', None) or error}") from error
        found = re.search(r"^Version:\s*((\d+)\.(\d+)\S*)", asked.stdout.decode("ascii", "replace"), re.MULTILINE)
        if asked.returncode or not found:
            raise CannotFreeze(f"{path} is not CRIU, or does not run here")
        if (int(found[2]), int(found[3])) < _OLDEST:
            raise CannotFreeze(f"{path} is CRIU {found[1]}: version {_OLDEST[0]} or later is required")
        return cls(path, found[1], os.geteuid() != 0 or not namespaces.is_initial_user())

    def dump(self, pid: int, folder: str, pipes: Sequence[str]) -> list[str]:
        """Return the command that dumps process `pid` and its descendants into `folder`, and lets them run on.

        `pipes` are the pipes that lead to other processes, named as the links in /proc/PID/fd.
        """
        external = [word for pipe in pipes for word in ("--external", pipe)]
        command = [self.path, "dump", "-t", str(pid), "-D", folder, "-o", "log", "--leave-running"]
        return [*command, *self._common(), *external]

    def restore(self, folder: str, pipes: Mapping[str, int]) -> list[str]:
        """Return the command that restores a dump as a sibling of its own process, then exits.

        `pipes` maps the names of the dumped pipes to open descriptors of this process that replace them.
        """
        inherited = [word for pipe, ours in pipes.items() for word in ("--inherit-fd", f"fd[{ours}]:{pipe}")]
        command = [self.path, "restore", "-D", folder, "-o", os.devnull, "--restore-detached", "--restore-sibling"]
        return [*command, *self._common(), *inherited]

    def _common(self) -> list[str]:
        return [*_COMMON, *(["--unprivileged"] if self.unprivileged else [])]


def why_not(environ: Mapping[str, str]) -> str:
    """Return why no memory snapshots can be made on this machine, "" if they can; CRIU itself checks the kernel."""
    try:
        require_permission()
        criu = Criu.find(environ)
        if criu.unprivileged:
            return ""  # CRIU's check would require privileges that it does not need in a namespace
        checked = subprocess.run(
            [criu.path, "check"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE_S, check=False
        )
    except (CannotFreeze, OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if checked.returncode == 0:
        return ""
    said = checked.stderr.decode("utf-8", "replace").strip().splitlines()
    return f"CRIU reports that this kernel does not support it: {said[-1][:200] if said else 'no reason'}"


def require_permission() -> None:
    """Raise CannotFreeze unless this user is root, or may create the user namespace in which CRIU has what it needs.

    Below a seccomp filter, neither helps: seccomp(2) has no way to save one, and PTRACE_O_SUSPEND_SECCOMP of ptrace(2)
    is refused to a process that has one itself.
    """
    if _is_filtered():
        raise CannotFreeze("a seccomp filter applies to this process, as in most containers, and CRIU cannot save that")
    if os.geteuid() != 0 and not namespaces.permits_own_user():
        raise CannotFreeze(
            "this system does not permit user namespaces with a /proc of their own, and without them, CRIU needs root"
        )


def _is_filtered() -> bool:
    with suppress(OSError), open("/proc/self/status", encoding="utf-8", errors="replace") as lines:
        return any(line.split() == ["Seccomp:", "2"] for line in lines)
    return False


def machine_identity(criu: Criu) -> str:
    """Return a digest of what the memory of a process depends on: kernel, processor and CRIU."""
    kernel = os.uname()
    found = hashlib.sha256(f"{kernel.release} {kernel.version} {kernel.machine} {criu.version}".encode())
    wanted = ("model name", "flags", "Features", "microcode")
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not line.strip():
                    break  # the first processor is enough
                if line.startswith(wanted):
                    found.update(line.encode())
    except OSError:
        pass
    return found.hexdigest()
