"""Container image: the image that an app without one runs in: its Dockerfile's, or a Python with its packages."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_DOCKERFILES = ("Dockerfile", "Containerfile")
_REQUIREMENTS = "requirements.txt"
# Installed with every Python, or not needed by an app.
_NOT_NEEDED = frozenset(("pip", "setuptools", "wheel", "preheat"))
# A version that only its own index has, such as torch's 2.8.0+cu128.
_LOCAL = re.compile(r"\+.*")


@dataclass(frozen=True, slots=True)
class ContainerImage:
    """An image by its name. With a `context`, a folder, compose builds it: from the file `dockerfile`, or `inline`."""

    name: str
    context: Path | None = None
    dockerfile: str = ""
    inline: str = ""


def app_image(name: str, folder: Path, python: str, installed: Mapping[str, str]) -> ContainerImage:
    """Return the image for an app in `folder`: that of its Dockerfile, else Python `python` with what the app requires.

    That is its requirements.txt, else `installed`, the versions of the packages in its virtual environment. Full names
    are used, since podman resolves short ones only if it is configured to.
    """
    slim = f"docker.io/library/python:{python}-slim"
    built = f"localhost/{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-') or 'app'}:latest"
    for dockerfile in _DOCKERFILES:
        if (folder / dockerfile).is_file():
            return ContainerImage(built, folder, dockerfile)
    if (folder / _REQUIREMENTS).is_file():
        lines = [f"FROM {slim}", f"COPY {_REQUIREMENTS} /", f"RUN pip install --no-cache-dir -r /{_REQUIREMENTS}"]
        return ContainerImage(built, folder, inline="\n".join(lines) + "\n")
    pins = [f"{one}=={_LOCAL.sub('', installed[one])}" for one in sorted(installed) if one not in _NOT_NEEDED]
    if pins:
        lines = [f"FROM {slim}", "RUN pip install --no-cache-dir " + " \\\n    ".join(pins)]
        return ContainerImage(built, folder, inline="\n".join(lines) + "\n")
    return ContainerImage(slim)
