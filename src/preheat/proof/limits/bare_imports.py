"""Bare imports: time of the app's imports alone, a lower bound for every start."""

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_TRY = """
import importlib, json, os, sys
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except Exception:
        pass
os._exit(0)
"""
_HANGS_S = 600.0


@dataclass(frozen=True, slots=True)
class BareImports:
    """The app's Python interpreter, and the modules that the app itself imports before it is ready, in order."""

    python: str
    modules: Sequence[str]

    def time(self, environ: Mapping[str, str], folder: str) -> float | None:
        """Run a process that only imports the modules, and return its duration in seconds, without Python's exit.

        Modules that cannot be imported are skipped. The exit status is ignored. Return None only if the process cannot
        be started, or does not end in time.
        """
        command = [self.python, "-c", _TRY, json.dumps(list(self.modules))]
        began = time.monotonic()
        try:
            subprocess.run(
                command,
                env=dict(environ),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_HANGS_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return time.monotonic() - began
