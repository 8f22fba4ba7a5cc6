"""Image bytecode: compile the modules of the start list that the base has no bytecode of, for the base's own Python.

The modules' sources are in the base's layers. A Python of the same version on this machine compiles them; no program of
the base is run. In their layer, they are in the order of the start list.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from preheat.core.events import Listener, Noted, Read, Reading
from preheat.core.units import say_count, say_size
from preheat.library.library import Library
from preheat.library.records.image_cache import Images
from preheat.oci.config.base_modules import BaseModule, bytecode_path, read_modules
from preheat.oci.layers.layer import LARGE, file_entry
from preheat.oci.layers.layer_plan import Group
from preheat.verbs.building.build_order import Base

_NAME = "bytecode"
_AT_ONCE = 200  # modules for one process: always the same ones together, since marshal's bytes depend on earlier ones
_WITHIN_S = 300.0
_ASK = "import sys; print(sys.implementation.cache_tag)"
_ASKED_WITHIN_S = 10.0
_MOST_BYTES = 120 << 20  # of bytecode; the modules that a start imports last are left out
_DIGITS = 64  # of a SHA-256
Compiled = dict[str, bytes]


def bytecode_of(base: Base, modules: Sequence[str], tag: str, library: Library, on_event: Listener) -> Group:
    """Return the bytecode of `modules` (paths relative to the image's root) for the Python `tag`, such as cpython-312.

    It is cached in the library. Without a Python of that version on this machine, the group is empty, and an event says
    so. Raise ImageError if the base cannot be read.
    """
    images, key = Images(library.root), _key(base, modules, tag)
    compiled = _unpacked(images.bytecode(key))
    if compiled is None:
        python = _python(tag)
        if not python:
            said = f"none for {say_count(len(modules), 'module')} of the base: this machine has no {_program(tag)}"
            on_event(Noted(_NAME, f"{said}; RUN python3 -m compileall in the base's Dockerfile compiles them"))
            return Group(_NAME, ())
        compiled = _compiled(base, modules, tag, python, on_event)
        images.keep_bytecode(key, _packed(compiled))
        size = say_size(sum(map(len, compiled.values())))
        on_event(Noted(_NAME, f"compiled {say_count(len(compiled), 'module')} of the base by {python}: {size}"))
    return Group(_NAME, tuple(file_entry(path, body) for path, body in compiled.items()), in_order=True)


def _key(base: Base, modules: Sequence[str], tag: str) -> str:
    lines = ["preheat bytecode 1", tag, *(str(layer.digest) for layer in base.image.layers), *map(repr, modules)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _compiled(base: Base, modules: Sequence[str], tag: str, python: str, on_event: Listener) -> Compiled:
    """Return the bytecode of the modules that can be compiled, by its path in the image, in the order of `modules`."""
    assert base.content is not None, "it has modules"
    layers = base.image.layers
    on_event(Reading("read modules of the base", len(layers), sum(layer.size for layer in layers)))
    with TemporaryDirectory(prefix="preheat-") as aside:
        found = read_modules(base.image, modules, base.content, Path(aside), lambda size: on_event(Read(size)))
        present = [found[path] for path in modules if path in found]
        parts = [present[start : start + _AT_ONCE] for start in range(0, len(present), _AT_ONCE)]
        with ThreadPoolExecutor(os.cpu_count()) as processes:
            made = {
                module for part in processes.map(lambda part: _compile(python, part, aside), parts) for module in part
            }
        compiled: Compiled = {}
        left = _MOST_BYTES
        for module in present:
            body = module.at.with_suffix(".pyc").read_bytes() if module in made else b""
            left -= len(body)
            if 0 < len(body) < LARGE and left >= 0:
                compiled[bytecode_path(module.path, tag)] = body
    return compiled


def _compile(python: str, modules: Sequence[BaseModule], folder: str) -> list[BaseModule]:
    """Compile modules in another process, `FILE` to `FILE.pyc`; return those that could be compiled."""
    program = files("preheat.verbs.building").joinpath("compile_program.py").read_text(encoding="utf-8")
    work = json.dumps([[str(one.at), f"/{one.path}", one.modified] for one in modules])
    done = _run(python, program, folder, _WITHIN_S, work)
    try:
        made = set(json.loads(done))
    except ValueError:  # it was killed, such as by a module that no compiler can bear
        return []
    return [one for one in modules if str(one.at) in made]


def _python(tag: str) -> str:
    """Return a Python on this machine that compiles for `tag`; "" if there is none."""
    for program in (sys.executable, shutil.which(_program(tag)) or ""):
        if program and _run(program, _ASK, "/", _ASKED_WITHIN_S).strip() == tag:
            return program
    return ""


def _program(tag: str) -> str:
    """Return the name of the program for a tag: `python3.12` for `cpython-312`."""
    digits = tag.rpartition("-")[2]
    return f"python{digits[:1]}.{digits[1:]}"


def _run(python: str, program: str, folder: str, within_s: float, said: str = "") -> str:
    """Run a program text by `python`; return its output, "" if it failed."""
    # No variable and no package of this machine has an influence; sets are stored in the order of their hashes.
    command = [python, "-S", "-s", "-B", "-W", "ignore", "-c", program]
    environ = {"PATH": os.defpath, "PYTHONHASHSEED": "0"}
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            command, input=said.encode(), cwd=folder, env=environ, capture_output=True, timeout=within_s, check=False
        )
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
    return ""


def _packed(compiled: Compiled) -> bytes:
    """Return compiled modules as one file: the SHA-256 of the rest, a line with paths and sizes, and their bytes."""
    listed = json.dumps([[path, len(body)] for path, body in compiled.items()]).encode()
    rest = b"".join((listed, b"\n", *compiled.values()))
    return b"%s\n%s" % (hashlib.sha256(rest).hexdigest().encode(), rest)


def _unpacked(pack: bytes | None) -> Compiled | None:
    """Return the compiled modules of a file; None if there is none, or it was altered."""
    if pack is None:
        return None
    whole = memoryview(pack)  # it may have 120 MiB
    rest = whole[_DIGITS + 1 :]
    if bytes(whole[:_DIGITS]) != hashlib.sha256(rest).hexdigest().encode():
        return None
    at = pack.index(b"\n", _DIGITS + 1)
    return dict(_cut(json.loads(bytes(whole[_DIGITS + 1 : at])), whole[at + 1 :]))


def _cut(listed: list[tuple[str, int]], bodies: memoryview) -> Iterator[tuple[str, bytes]]:
    at = 0
    for path, size in listed:
        yield path, bytes(bodies[at : at + size])
        at += size
