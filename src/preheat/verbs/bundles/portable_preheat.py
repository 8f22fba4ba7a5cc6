"""Portable preheat: the files of this installation, which another machine's Python can run from a bundle."""

import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import preheat

_START = '''"""Start preheat from a bundle: python3 preheat.py VERB ..."""
import platform
import sys
from pathlib import Path

NEEDED, MACHINE = {version!r}, {machine!r}
if sys.version_info[:2] != NEEDED:
    sys.exit("this copy of preheat needs Python %d.%d, not %d.%d" % (NEEDED + sys.version_info[:2]))
if platform.machine() != MACHINE:
    sys.exit("this copy of preheat needs a machine of the kind %s, not %s" % (MACHINE, platform.machine()))
sys.path.insert(0, str(Path(__file__).resolve().parent / "python"))
from preheat.cli.main import main
sys.exit(main())
'''


def portable_files() -> Iterator[tuple[str, Path | bytes]]:
    """Yield the name and the path or content of each file: preheat and the packages that it requires, and a starter.

    They run with the same version of Python, and on the same kind of machine.
    """
    start = _START.format(version=sys.version_info[:2], machine=platform.machine())
    yield "preheat.py", start.encode()
    package = Path(preheat.__file__).parent
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".po":
            yield f"python/preheat/{path.relative_to(package)}", path
    for name in sorted(_required("preheat", set())):
        for file in metadata.files(name) or ():
            path = Path(str(file.locate()))
            inside = not file.parts[0].startswith("..") and path.suffix != ".pyc"
            if inside and path.is_file():
                yield f"python/{file}", path


def _required(name: str, known: set[str]) -> set[str]:
    """Return the installed packages that a package requires, and those that they require, without its extras."""
    for line in metadata.requires(name) or ():
        requirement, _, marker = line.partition(";")
        found = re.match(r"[A-Za-z0-9._-]+", requirement)
        if found is None or "extra" in marker or found[0].lower() in known:
            continue
        try:
            metadata.distribution(found[0])
        except metadata.PackageNotFoundError:
            continue  # its marker excludes this machine
        known.add(found[0].lower())
        _required(found[0], known)
    return known
