"""Sides: the programs that are compared, each called as its own manual describes."""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.hub.repo import Repo
from filelock import FileLock
from tests.authority import authority

ROOT = Path(__file__).parents[1]
_KEPT = ROOT / ".outsiders"


class NotHere(Exception):
    """A program that is not installed and cannot be installed."""


@dataclass(frozen=True, slots=True)
class Errand:
    """The download: a repo from a hub, into an empty folder."""

    url: str
    repo: Repo
    into: Path


@dataclass(frozen=True, slots=True)
class Side:
    """A program: its name, its version, and its command."""

    name: str
    version: str
    command: Callable[[Errand], list[str]]
    environ: Callable[[Errand], dict[str, str]] = lambda _: {}
    verifies: str = "nothing"

    def environment(self, errand: Errand) -> dict[str, str]:
        """Say its whole environment: a home of its own, and nothing of ours."""
        home = errand.into / "home"
        home.mkdir(parents=True, exist_ok=True)
        trusted = authority().environ if errand.url.startswith("https:") else {}
        return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **trusted, **self.environ(errand)}

    def say(self, errand: Errand) -> str:
        """Format the command as a user would type it, with names for the parts that differ between runs."""
        words = [f"{name}={value}" for name, value in self.environ(errand).items()] + self.command(errand)
        said = " ".join(words).replace(str(errand.into), "DIR").replace(errand.url, "HUB")
        said = said.replace(str(authority().ca_file), "CA")
        return said.replace(f"{ROOT}/", "").replace(str(ROOT), ".")


def preheat() -> Side:
    """Return preheat of this source tree."""
    command = ROOT / ".venv" / "bin" / "preheat"
    version = _said([str(command), "--version"]).removeprefix("preheat ")
    commit = _said(["git", "-C", str(ROOT), "describe", "--always"])
    # Benches write their results into the tree: only changed sources make another program.
    commit += "-dirty" if _said(["git", "-C", str(ROOT), "status", "--porcelain", "--", "src"]) else ""
    return Side(
        "preheat",
        f"{version} ({commit})",
        lambda e: [
            str(command),
            "pull",
            e.repo.name,
            "--endpoint",
            f"hf={e.url}",
            "--library",
            str(e.into / "library"),
        ],
        verifies="sha256, before a file has its name; fsync",
    )


def hf(version: str, name: str) -> Side:
    """Return a huggingface_hub with its own `hf download`."""
    python = environment(f"huggingface_hub=={version}")
    return Side(
        name,
        _package(python, "huggingface_hub"),
        lambda e: [str(python.parent / "hf"), "download", e.repo.name],
        lambda e: {"HF_ENDPOINT": e.url, "HF_HOME": str(e.into / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"},
        "size",
    )


def modelscope(version: str, parallels: int = 1) -> Side:
    """Return modelscope with its own `modelscope download`; more than one of `parallels` is a setting of its own."""
    python = environment(f"modelscope=={version}")
    more = {"MODELSCOPE_DOWNLOAD_PARALLELS": str(parallels)} if parallels > 1 else {}
    return Side(
        f"modelscope, {parallels} parts" if parallels > 1 else "modelscope",
        _package(python, "modelscope"),
        lambda e: [str(python.parent / "modelscope"), "download", e.repo.name, "--local-dir", str(e.into / "model")],
        lambda e: {"MODELSCOPE_ENDPOINT": e.url, "MODELSCOPE_CACHE": str(e.into / "ms"), **more},
        "sha256",
    )


def aria2() -> Side:
    """Return aria2c, which gets the list of files."""
    program = _program("aria2c")
    words = ["--no-conf", "-q", "-x16", "-s16", "-k1M", "-j5", "--allow-overwrite=true"]

    def command(e: Errand) -> list[str]:
        listing = e.into / "list.txt"
        e.into.mkdir(parents=True, exist_ok=True)
        listing.write_text("".join(f"{url}\n  out={path}\n" for path, url in _addresses(e)))
        trusted = [f"--ca-certificate={authority().ca_file}"] if e.url.startswith("https:") else []
        return [program, *words, *trusted, "-d", str(e.into / "files"), "-i", str(listing)]

    return Side("aria2c -x16", _said([program, "--version"]).split()[2], command)


def curl(*more: str) -> Side:
    """Return curl with --parallel, which gets the list of files."""
    program = _program("curl")

    def command(e: Errand) -> list[str]:
        listing = e.into / "list.txt"
        e.into.mkdir(parents=True, exist_ok=True)
        listing.write_text("".join(f'url = "{url}"\noutput = "{e.into}/files/{path}"\n' for path, url in _addresses(e)))
        return [program, "-q", "-fsSL", "--parallel", "--create-dirs", *more, "-K", str(listing)]

    return Side(" ".join(("curl --parallel", *more)), _said([program, "--version"]).split()[1], command)


def environment(*requirements: str) -> Path:
    """Return its whole environment, with its own home folder."""
    wanted = "\n".join((f"python {sys.version}", *requirements)) + "\n"
    name = requirements[0].replace("==", "-").replace("/", "-")
    home = _KEPT / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"
    python, complete = home / "bin" / "python", home / "complete"
    _KEPT.mkdir(exist_ok=True)
    with FileLock(_KEPT / f"{home.name}.lock"):
        if complete.is_file() and complete.read_text() == wanted:
            return python
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *requirements]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(home, ignore_errors=True)
            raise NotHere(f"{requirements[0]} cannot be installed here: {done.stderr.strip()[-200:]}")
        complete.write_text(wanted)
    return python


def gather(*makers: Callable[[], Side]) -> tuple[list[Side], list[str]]:
    """Return the installed programs, and messages about the others."""
    here, absent = [], []
    for make in makers:
        try:
            here.append(make())
        except NotHere as error:
            absent.append(str(error))
    return here, absent


def _addresses(e: Errand) -> list[tuple[str, str]]:
    return [(path, f"{e.url}/{e.repo.name}/resolve/{e.repo.commit}/{path}") for path in e.repo.entries]


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NotHere(f"{name} is not here (apt-get install {name.removesuffix('c')})")
    return found


def _package(python: Path, name: str) -> str:
    return _said([str(python), "-c", f"from importlib.metadata import version; print(version('{name}'))"])


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
