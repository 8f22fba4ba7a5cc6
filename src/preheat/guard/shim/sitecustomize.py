"""Sitecustomize: set up each Python process of the app, which imports this first if this folder leads PYTHONPATH.

It makes torch map checkpoints instead of copying them into memory: `torch.load` without `mmap=` then behaves as with
`mmap=True` (torch 2.1 and later take the default from torch.utils.serialization.config). Then it runs the environment's
own sitecustomize, which this file hides. For `preheat prove` it starts the stopwatch first, for `preheat trace` the
tracer.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from types import ModuleType
from typing import Sequence

_CONFIG = "torch.utils.serialization.config"


class _MappingLoader(importlib.abc.Loader):
    """Load a module with its own loader, then set the default of `torch.load` to mmap."""

    def __init__(self, own: importlib.abc.Loader) -> None:
        self._own = own

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """See importlib.abc.Loader."""
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """See importlib.abc.Loader."""
        self._own.exec_module(module)
        if hasattr(getattr(module, "load", None), "mmap"):
            module.load.mmap = True


class _Finder(importlib.abc.MetaPathFinder):
    """Intercept the import of torch's configuration module only."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the signature of importlib.abc
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        if name != _CONFIG:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _MappingLoader(spec.loader)
        return spec


def _own_sitecustomize() -> None:
    """Run the environment's own sitecustomize, if there is one."""
    here = os.path.dirname(os.path.abspath(__file__))
    others = [folder for folder in sys.path if os.path.abspath(folder) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


def _start(name: str, folder: str) -> None:
    """Load NAME.py from this folder, under a module name that cannot collide with the app's, and call its `watch`."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"_preheat_{name}", path)
    if spec is not None and spec.loader is not None:
        watcher = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(watcher)
        watcher.watch(folder)


if os.environ.get("PREHEAT_STOPWATCH"):
    _start("stopwatch", os.environ["PREHEAT_STOPWATCH"])
if os.environ.get("PREHEAT_TRACE"):
    _start("tracer", os.environ["PREHEAT_TRACE"])
if os.environ.get("PREHEAT_MMAP_WEIGHTS") == "1":
    sys.meta_path.insert(0, _Finder())
_own_sitecustomize()
