"""Places: the folders that a recipe names by what they are, so that it is right for another user and machine."""

import os
import pwd
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec

from preheat.core.errors import UsageError
from preheat.recipes.app_python import AppPython

DIR, HOME, CACHE, TMP, SITE_PACKAGES = "dir", "home", "cache", "tmp", "site-packages"
NAMES = (DIR, HOME, CACHE, TMP, SITE_PACKAGES)
PYTHON, ENVIRONMENT = "python", "environment"
# What many programs use is no app's own environment.
_SHARED = ("/", "/usr", "/usr/local")
_PLACE = re.compile(r"\{([a-z-]+)\}(?:/|\Z)")


class Places(msgspec.Struct, frozen=True, eq=False):
    """The app's folder, the user's home, cache and temporary folder, and the app's site-packages; None if unknown.

    `python` is the app's interpreter with its packages, None if nobody looked for it. `chosen` are the names of the
    places that the user's environment chose, and not the recipe: its variables, its command.
    """

    dir: Path
    home: Path | None = None
    cache: Path | None = None
    tmp: Path | None = None
    site_packages: Path | None = None
    python: AppPython | None = None
    chosen: frozenset[str] = frozenset()

    def __eq__(self, other: object) -> bool:
        """Return whether the places are the same folders."""
        return isinstance(other, Places) and all(self.folder(name) == other.folder(name) for name in NAMES)

    def __hash__(self) -> int:
        return hash(tuple(map(self.folder, NAMES)))

    @classmethod
    def of(
        cls,
        environ: Mapping[str, str],
        folder: Path,
        command: Sequence[str] = (),
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> "Places":
        """Return the places of an app that is started in `folder` with `command`.

        `environ` are the variables of the user, `env` those that the recipe sets. The user chose a virtual environment
        that is active, on PATH, or in the app's folder; a Python that is installed for all programs nobody chose for
        this app.
        """
        users, apps = _folders(environ), _folders({**environ, **env})
        python = AppPython.of({**environ, **env}, folder, command)
        chosen = {name for name in apps if apps[name] == users[name]}
        if python.prefix is not None and _is_chosen(python.prefix, environ, folder):
            chosen.add(SITE_PACKAGES)
        return cls(folder, apps[HOME], apps[CACHE], apps[TMP], python.site_packages, python, frozenset(chosen))

    def folder(self, name: str) -> Path | None:
        """Return the folder of a place, one of `NAMES`; None if it is unknown."""
        return {DIR: self.dir, HOME: self.home, CACHE: self.cache, TMP: self.tmp, SITE_PACKAGES: self.site_packages}[
            name
        ]

    def expand(self, text: str) -> Path:
        """Return the path for an `at` of a recipe; without a place, it is relative to the app's folder.

        Raise UsageError for an unknown place, and for one that this app or user does not have.
        """
        name, below = split_place(text)
        folder = self.folder(name)
        if folder is None:
            raise UsageError(
                f"{{{name}}} is unknown here: {_WHY_UNKNOWN[name]}",
                hint=f"set the need's `at` to another folder than {text!r}",
            )
        return folder / below

    def shorten(self, path: str) -> str:
        """Return a path with the longest place that contains it, for `expand`; an absolute path if none does.

        The app's folder counts before a home or cache that is the same folder, `/` as a place never.
        """
        found = [
            (len(folder), -turn, name, below)
            for turn, name in enumerate(NAMES)
            for folder, below in self._in(name, path)
        ]
        if not found:
            return path
        _, _, name, below = max(found)
        return f"{{{name}}}/{below}" if below else f"{{{name}}}"

    def _in(self, name: str, path: str) -> list[tuple[str, str]]:
        """Return the spellings of a place that contain `path`, each with the rest of the path."""
        folder = self.folder(name)
        if folder is None:
            return []
        spelled = dict.fromkeys((os.path.normpath(folder), os.path.realpath(folder)))
        whole = os.path.normpath(path)
        inside = (one for one in spelled if one != "/" and (whole == one or whole.startswith(f"{one}/")))
        return [(one, whole[len(one) + 1 :]) for one in inside]


def start_places(folder: Path, python: AppPython) -> dict[str, str]:
    """Return the folders that a start list may name: the app's, and those of its site-packages, Python and environment.

    `{python}` is the folder of the standard library, `{environment}` the prefix of a virtual or conda environment.
    """
    own = python.prefix if python.prefix is not None and str(python.prefix) not in _SHARED else None
    known = {DIR: folder, SITE_PACKAGES: python.site_packages, PYTHON: python.standard_library, ENVIRONMENT: own}
    return {name: str(place) for name, place in known.items() if place is not None and str(place) != "/"}


_WHY_UNKNOWN = {
    DIR: "the recipe has no folder",
    HOME: "this user has no home folder",
    CACHE: "this user has no home folder",
    TMP: "this user has no temporary folder",
    SITE_PACKAGES: "the app's command leads to no Python with site-packages",
}


def split_place(text: str) -> tuple[str, str]:
    """Return the place that an `at` begins with, and the rest. Raise UsageError for an unknown place in braces."""
    if text == "~" or text.startswith("~/"):
        return HOME, text[2:]
    found = _PLACE.match(text)
    if found is None:
        return DIR, text
    if found[1] not in NAMES:
        raise UsageError(f"{{{found[1]}}} is not a place", hint=", ".join(f"{{{name}}}" for name in NAMES))
    return found[1], text[found.end() :]


def _folders(environ: Mapping[str, str]) -> dict[str, Path | None]:
    """Return the home, cache and temporary folder of an environment."""
    home = _absolute(environ.get("HOME", "")) or _passwd_home()
    cache = _absolute(environ.get("XDG_CACHE_HOME", "")) or (home / ".cache" if home is not None else None)
    tmp = _absolute(environ.get("TMPDIR", "")) or Path("/tmp")  # noqa: S108 - a place's name; nothing is created
    return {HOME: home, CACHE: cache, TMP: tmp}


def _is_chosen(prefix: Path, environ: Mapping[str, str], folder: Path) -> bool:
    active = [
        environ.get("VIRTUAL_ENV", ""),
        *(str(Path(one).parent) for one in environ.get("PATH", "").split(":") if one),
    ]
    return (prefix / "pyvenv.cfg").is_file() and (prefix.is_relative_to(folder) or str(prefix) in active)


def _absolute(text: str) -> Path | None:
    return Path(text) if text.startswith("/") else None


def _passwd_home() -> Path | None:
    try:
        return _absolute(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return None
