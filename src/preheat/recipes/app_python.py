"""App Python: find an app's interpreter and its installed packages, without starting it."""

import functools
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

# Strings, not compiled patterns: few starts need them.
_PYTHON = r"(?:python|pypy)[0-9.]*"
_VERSIONED = r"(?:python|pypy)([0-9]+\.[0-9]+)"
# Python's options before a script: single letters, and those with a value. -c, -m and others end the search.
_FLAGS, _WITH_VALUE = r"-[bBdEiIOPqRsSuvx]+|-[XW].+", ("-X", "-W")
_SHELLS = ("sh", "bash", "dash", "zsh", "ksh")
_WORD = rb"[^\0\s\"'`=;|&()]+"
_IN_A_PREFIX = rb"python[0-9.]*|activate"
_LONGEST_LINE = 512  # bytes of a script's first line
_LONGEST_SCRIPT = 64 << 10
_GPUS = Path("/proc/driver/nvidia/gpus")


class AppPython(msgspec.Struct, frozen=True, dict=True):
    """Where an app runs: its Python's version and site-packages, its machine and GPU. Unknown ones are empty or None.

    `prefix` is the folder of the virtual environment, or of the Python installation. `listed` are the names in
    site-packages, if that folder is not on this machine.
    """

    python: str = ""
    machine: str = ""
    gpu: str = ""
    prefix: Path | None = None
    site_packages: Path | None = None
    listed: tuple[str, ...] | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str], folder: Path, command: Sequence[str]) -> "AppPython":
        """Find the environment of `command`, started in `folder`. Reads a few small files; starts no program."""
        prefix = _prefix(environ, folder, command)
        site = None if prefix is None else _site_packages(prefix)
        named = None if site is None else re.fullmatch(_VERSIONED, site.parent.name)
        return cls(named[1] if named else "", os.uname().machine, _gpu(), prefix, site)

    @property
    def standard_library(self) -> Path | None:
        """Return the folder of the standard library; for a virtual environment, that of the Python it was made from."""
        if self.prefix is None or not self.python:
            return None
        lines = _head(self.prefix / "pyvenv.cfg", _LONGEST_SCRIPT).splitlines()
        pairs = (line.partition(b"=") for line in lines)
        home = next((os.fsdecode(value.strip()) for name, _, value in pairs if name.strip() == b"home"), "")
        for prefix in (self.prefix, *([Path(home).parent] if home else [])):
            folder = prefix / "lib" / f"python{self.python}"
            if (folder / "os.py").is_file():
                return folder
        return None

    def version(self, package: str) -> str:
        """Return the version of an installed package; empty if it is not installed."""
        return self.packages.get(_normal(package), "")

    @functools.cached_property
    def packages(self) -> dict[str, str]:
        """Return the versions of the installed packages, from the names of their *.dist-info folders."""
        names = self.listed
        if names is None:
            names = () if self.site_packages is None else tuple(_names(self.site_packages))
        parts = (name.removesuffix(".dist-info").partition("-") for name in names if name.endswith(".dist-info"))
        return {_normal(package): version for package, _, version in parts}


def missing_script(environ: Mapping[str, str], folder: Path, command: Sequence[str]) -> str:
    """Return the script that a Python or a shell is to run in `folder`, if it does not exist there; else "".

    Empty too for another program, a module, code in the command, and a command whose options are unknown.
    """
    name = os.path.basename(command[0]) if command else ""  # noqa: PTH119 - of a word, not of a path
    is_shell = name in _SHELLS
    if not is_shell and not re.fullmatch(_PYTHON, name):
        return ""
    words = iter(command[1:])
    for word in words:
        if not is_shell and word in _WITH_VALUE:
            next(words, "")
        elif not is_shell and re.fullmatch(_FLAGS, word):
            continue
        else:
            on_path = is_shell and "/" not in word and _program(environ, folder, word) is not None
            return "" if word.startswith("-") or on_path or os.path.lexists(folder / word) else word
    return ""


def _prefix(environ: Mapping[str, str], folder: Path, command: Sequence[str]) -> Path | None:
    """Return the prefix of the command's Python.

    That is its interpreter's, else the one that its shell script names, else `.venv` or `venv` in the folder, else
    VIRTUAL_ENV, else that of the first Python on PATH, virtual environments first.
    """
    program = _program(environ, folder, command[0]) if command else None
    interpreter = (
        program if program is None or re.fullmatch(_PYTHON, program.name) else _interpreter(environ, folder, program)
    )
    if interpreter is not None and re.fullmatch(_PYTHON, interpreter.name):
        candidates = [interpreter.parent.parent]
    else:
        active = environ.get("VIRTUAL_ENV")
        scripts = [folder / word for word in command[1:2] if program is not None and program.name in _SHELLS]
        named = [prefix for script in (*scripts, program) if script is not None for prefix in _named_in(script, folder)]
        own = [folder / ".venv", folder / "venv", *([Path(active)] if active else [])]
        candidates = [*named, *own, *_on_path(environ, folder)]
    return next((one for one in candidates if _site_packages(one) is not None), None)


def _on_path(environ: Mapping[str, str], folder: Path) -> list[Path]:
    """Return the prefixes of the Pythons on PATH in its order, but those of virtual environments first."""
    places = [folder / place for place in environ.get("PATH", os.defpath).split(os.pathsep) if place]
    found = [
        Path(os.path.normpath(place)).parent
        for place in places
        if any(os.access(place / name, os.X_OK) for name in ("python", "python3"))
    ]
    return sorted(found, key=lambda prefix: not (prefix / "pyvenv.cfg").is_file())


def _named_in(script: Path, folder: Path) -> list[Path]:
    """Return the prefixes whose Python or `activate` a shell script names; its variables count as the folder."""
    text = _head(script, _LONGEST_SCRIPT)
    if not text.startswith(b"#!") and script.suffix != ".sh":
        return []
    parts = (word.rpartition(b"/bin/") for word in re.findall(_WORD, text))
    found = (os.fsdecode(prefix) for prefix, _, name in parts if prefix and re.fullmatch(_IN_A_PREFIX, name))
    return [Path(os.path.normpath(folder / re.sub(r"^\$\{?\w+\}?/", "", prefix))) for prefix in found]


def _head(path: Path, size: int) -> bytes:
    """Return the first bytes of a regular file; none of anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            return file.read(size) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return b""


def _program(environ: Mapping[str, str], folder: Path, word: str) -> Path | None:
    if "/" in word:
        return Path(os.path.normpath(folder / word))
    import shutil

    found = shutil.which(word, path=environ.get("PATH", os.defpath))
    return None if found is None else Path(os.path.normpath(folder / found))


def _interpreter(environ: Mapping[str, str], folder: Path, script: Path) -> Path | None:
    """Return the interpreter in a script's first line, also by way of env(1); None for another kind of file."""
    line = _head(script, _LONGEST_LINE).partition(b"\n")[0]
    words = [os.fsdecode(word) for word in line[2:].split()] if line.startswith(b"#!") else []
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return _program(environ, folder, words[0]) if words else None


def _site_packages(prefix: Path) -> Path | None:
    """Return the site-packages of a prefix: the newest Python's; for a venv there is only one."""
    found = [
        (tuple(map(int, version[1].split("."))), lib / name / folder)
        for lib in (prefix / "lib", prefix / "local" / "lib")
        for name in _names(lib)
        if (version := re.fullmatch(_VERSIONED, name))
        for folder in ("site-packages", "dist-packages")
        if (lib / name / folder).is_dir()
    ]
    return max(found)[1] if found else None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "_", package).lower()


def _gpu() -> str:
    """Return the name of the first NVIDIA GPU, from its driver; empty if there is none."""
    for name in _names(_GPUS):
        try:
            text = (_GPUS / name / "information").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            what, _, value = line.partition(":")
            if what.strip() == "Model":
                return value.strip()
    return ""
