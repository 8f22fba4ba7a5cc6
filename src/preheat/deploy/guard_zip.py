"""Guard zip: the guard as one file for any Python from 3.8 on: `python guard.pyz … -- COMMAND`."""

import importlib.util
import sys
import zipfile
from pathlib import Path

import preheat.guard

_PACKAGE = Path(preheat.guard.__path__[0])
_EPOCH = (1980, 1, 1, 0, 0, 0)

# Code compiled for the Python that made the zip lies ahead; another Python finds none of its own and reads the source.
_MAIN = """\
import sys
sys.path.insert(0, sys.path[0] + "/" + sys.implementation.cache_tag)
from preheat.guard.main import main
main(sys.argv[1:])
"""


def write_guard_zip(path: Path, *, plain: bool = False) -> int:
    """Write the zip, the same bytes every time from one tree and one Python; return its size.

    `plain`: with sources alone and packed by nobody, so that any Python writes the same bytes.
    """
    tag = sys.implementation.cache_tag
    files: dict[str, bytes] = {"__main__.py": _MAIN.encode()}
    modules = sorted(_PACKAGE.rglob("*.py"))
    for module in modules:
        name = f"preheat/guard/{module.relative_to(_PACKAGE).as_posix()}"
        files[name] = module.read_bytes()
        if not plain:
            files[f"{tag}/{name}c"] = _compiled(files[name], name)
    files["preheat/__init__.py"] = b""
    if not plain:
        files[f"{tag}/preheat/__init__.pyc"] = _compiled(b"", "preheat/__init__.py")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        out.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, body in sorted(files.items()):
                # Compiled code is not packed: unpacking it at every start would cost what it saves.
                kind = zipfile.ZIP_STORED if plain or name.endswith("c") else zipfile.ZIP_DEFLATED
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), body, kind)
    path.chmod(0o755)
    return path.stat().st_size


def _compiled(source: bytes, name: str) -> bytes:
    """Compile as `__pycache__` has it; unchecked, for the source cannot change inside a zip: PEP 552."""
    import marshal

    code = compile(source, name, "exec", dont_inherit=True, optimize=2)
    flags = (0b01).to_bytes(4, "little")
    try:
        # From form 3 on, what is written depends on who else in this process holds the same strings.
        body = marshal.dumps(code, 2)
    except ValueError:  # a slice among the constants, which Python 3.14 makes and form 2 cannot say
        body = marshal.dumps(code)
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + body
