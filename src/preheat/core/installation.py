"""Installation: the environment that preheat is installed in, and the command that adds a package to it."""

import importlib.metadata
import importlib.util
import os
import re
import shlex
import sys
import sysconfig
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

_NAME = "preheat"
_PIPX_HOMES = (".local/share/pipx", ".local/pipx")
_UV_TOOLS, _UV_COMMANDS = ".local/share/uv/tools", ".local/bin"


def is_installed(module: str) -> bool:
    """Return whether `module` can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def how_to_install(distribution: str, prefix: Path | None = None, home: Path | None = None) -> str:
    """Return the shell command that installs `distribution` into an environment of preheat.

    `prefix` is that environment (default: `sys.prefix`), `home` its user's home folder.

    The command differs for pip, pipx and `uv tool`. An extra (`preheat[scan]`) does not work: it needs the index or
    folder that preheat was installed from, and pipx and uv would install a second preheat, or none.
    """
    prefix, home = prefix or Path(sys.prefix), home or Path(os.path.expanduser("~"))  # noqa: PTH111 - never raises
    wanted = _with_bound(distribution)
    if (prefix / "pipx_metadata.json").is_file():
        return _by_pipx(wanted, prefix, home)
    if (prefix / "uv-receipt.toml").is_file():
        return _by_uv_tool(wanted, prefix, home) or _by_uv_pip(wanted, prefix)
    if not is_installed("pip"):
        return _by_uv_pip(wanted, prefix)
    system = sys.prefix == sys.base_prefix and Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").is_file()
    # In an externally managed Python, pip refuses to install without this option.
    return _line([], sys.executable, "-m", "pip", "install", *["--break-system-packages"] * system, wanted)


def _with_bound(distribution: str) -> str:
    """Return `distribution` with the version bounds from preheat's metadata, without the marker."""
    try:
        stated = importlib.metadata.requires(_NAME) or []
    except importlib.metadata.PackageNotFoundError:
        return distribution
    requirements = (one.partition(";")[0].strip() for one in stated)
    return next((one for one in requirements if _name_of(one) == distribution), distribution)


def _name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


def _by_pipx(wanted: str, prefix: Path, home: Path) -> str:
    pipx_home = prefix.parent.parent
    usual = pipx_home in [home / folder for folder in _PIPX_HOMES]
    return _line([] if usual else [("PIPX_HOME", pipx_home)], "pipx", "inject", prefix.name, wanted)


def _by_uv_tool(wanted: str, prefix: Path, home: Path) -> str:
    """Return the command that reinstalls preheat with `wanted` added: uv cannot add a package to a tool.

    It installs from the same source, with the same other packages. Return an empty string if uv's receipt names no
    source, or one that no longer exists.
    """
    try:
        tool = tomllib.loads((prefix / "uv-receipt.toml").read_text(encoding="utf-8"))["tool"]
        own = next(one for one in tool["requirements"] if _name_of(one["name"]) == prefix.name)
        beside = [one for one in tool["requirements"] if one is not own]
        source = _source(own)
        places = [] if prefix.parent == home / _UV_TOOLS else [("UV_TOOL_DIR", prefix.parent)]
        commands = {Path(one["install-path"]).parent for one in tool.get("entrypoints", [])}
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        return ""
    if not source or not all(_source(one) for one in beside):
        return ""
    places += [("UV_TOOL_BIN_DIR", folder) for folder in commands if folder != home / _UV_COMMANDS]
    python = ["--python", str(tool["python"])] if "python" in tool else []
    more = [
        word for one in beside if _name_of(one["name"]) != _name_of(wanted) for word in ("--with", _source(one)[-1])
    ]
    return _line(places, "uv", "tool", "install", *python, *more, "--with", wanted, *source)


def _by_uv_pip(wanted: str, prefix: Path) -> str:
    return _line([], "uv", "pip", "install", "--python", str(prefix), wanted)


def _source(requirement: Mapping[str, Any]) -> list[str]:
    """Return the arguments for the source of a requirement in uv's receipt; empty if it is missing or unknown."""
    extras = f"[{','.join(requirement['extras'])}]" if requirement.get("extras") else ""
    named = f"{requirement['name']}{extras}"
    if "editable" in requirement:
        return ["--editable", requirement["editable"] + extras] if Path(requirement["editable"]).is_dir() else []
    for kind in ("path", "directory"):
        if kind in requirement:
            path = Path(requirement[kind])
            return [f"{named} @ {path.as_uri()}" if extras else str(path)] if path.exists() else []
    if "git" in requirement:
        address = urlsplit(requirement["git"])
        revision = parse_qs(address.query).get("rev", parse_qs(address.query).get("tag", [""]))[0]
        return [f"{named} @ git+{address._replace(query='', fragment='').geturl()}{f'@{revision}' * bool(revision)}"]
    if "url" in requirement:
        return [f"{named} @ {requirement['url']}"]
    known = set(requirement) <= {"name", "extras", "specifier", "marker"}
    return [named + str(requirement.get("specifier", ""))] if known else []


def _line(variables: Sequence[tuple[str, Path]], *words: str) -> str:
    """Return a shell command line: `variables`, set for this command only, then the quoted `words`."""
    return " ".join([*(f"{name}={shlex.quote(str(value))}" for name, value in variables), shlex.join(words)])
