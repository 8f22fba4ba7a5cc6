"""Guard zip: write the guard as one file for Python 3.8 and later: `python guard.pyz … -- COMMAND`."""

import importlib.util
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import preheat.guard
from preheat.deploy.named_by_content import keep_by_content

_PACKAGE = Path(preheat.guard.__path__[0])
_EPOCH = (1980, 1, 1, 0, 0, 0)

# The folder with bytecode for the Python that wrote the zip comes first; other Pythons lack theirs and read the source.
_MAIN = """\
import sys
sys.path.insert(0, sys.path[0] + "/" + sys.implementation.cache_tag)
from preheat.guard.main import main
main(sys.argv[1:])
"""


def write_guard_zip(path: Path, *, plain: bool = False) -> int:
    """Write the zip, reproducibly for one source tree and one Python; return its size in bytes.

    `plain` writes only sources, uncompressed, so that the bytes are the same for every Python.
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
                # Bytecode is stored uncompressed: decompressing it at each start would cost the time that it saves.
                kind = zipfile.ZIP_STORED if plain or name.endswith("c") else zipfile.ZIP_DEFLATED
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), body, kind)
    path.chmod(0o755)
    return path.stat().st_size


def keep_guard_zip(*folders: Path) -> Path:
    """Return the path of the zip in the first of `folders` that can be written; write it if it is not there.

    Raise OSError if no folder can be written.
    """
    with TemporaryDirectory(prefix="preheat-") as aside:
        made = Path(aside) / "guard.pyz"
        write_guard_zip(made)
        return keep_by_content("guard", ".pyz", made.read_bytes(), 0o755, folders)


def _compiled(source: bytes, name: str) -> bytes:
    """Return the bytes of an unchecked .pyc file (PEP 552), since the source cannot change inside a zip."""
    import marshal

    code = compile(source, name, "exec", dont_inherit=True, optimize=2)
    flags = (0b01).to_bytes(4, "little")
    try:
        # From marshal version 3, the output depends on other references to the same strings in this process.
        body = marshal.dumps(code, 2)
    except ValueError:  # Python 3.14 has slice constants, which version 2 cannot encode
        body = marshal.dumps(code)
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + body
