"""App folders: find the model folders of apps on this machine, by their usual places, settings and installations."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.core.cache_variables import XDG_CACHE_HOME
from preheat.desk.app_settings import SettingsFile, settings_of, settings_of_user
from preheat.desk.model_apps import APPS, OTHER, ModelApp, app_named
from preheat.disk.regular_file import why

# Levels below the user's home at which installations are found, as in ~/StabilityMatrix/Data/Packages/ComfyUI.
_DEPTH = 4
_MOST_FOLDERS = 20_000
# Folders that contain no installations, and may be large.
_SKIPPED = frozenset(("node_modules", "site-packages", "venv", "env", "__pycache__", "models", "Models", "outputs"))


@dataclass(frozen=True, slots=True)
class AppFolder:
    """A folder with models of an app. `via`: the settings file that names it; empty for a usual place.

    `path` is absolute, without symlinks.
    """

    app: ModelApp
    path: Path
    via: str = ""


@dataclass(frozen=True, slots=True)
class AppSurvey:
    """The model folders that were found, and `notes`: subject and text about settings that could not be read."""

    folders: tuple[AppFolder, ...]
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class UserFolders:
    """A user's home, and the folders of the XDG Base Directory Specification."""

    home: Path
    cache: Path
    config: Path
    data: Path

    @classmethod
    def of(cls, environ: Mapping[str, str], home: Path) -> "UserFolders":
        """Return the folders for an environment; the specification ignores relative paths."""

        def named(variable: str, usual: str) -> Path:
            told = Path(environ.get(variable, ""))
            return told if told.is_absolute() else home / usual

        return cls(
            home,
            named(XDG_CACHE_HOME, ".cache"),
            named("XDG_CONFIG_HOME", ".config"),
            named("XDG_DATA_HOME", ".local/share"),
        )


def telling_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return those variables of an environment that may name model folders."""
    names = {name.partition("/")[0] for app in APPS for name in app.variables}
    names |= {XDG_CACHE_HOME, "XDG_CONFIG_HOME", "XDG_DATA_HOME"}
    return {name: environ[name] for name in sorted(names) if environ.get(name)}


def find_app_folders(environ: Mapping[str, str], home: Path, also: Sequence[Path] = ()) -> AppSurvey:
    """Find the model folders of all known apps, and those in `also`: installations, or plain folders of models.

    Reads settings files and lists folders, at most 20,000 of them. A folder that several apps use is listed for each.
    """
    user = UserFolders.of(environ, home)
    found: list[AppFolder] = []
    notes: list[tuple[str, str]] = []
    environ = {"HOME": str(home), **environ}

    def read(files: Iterable[SettingsFile]) -> None:
        for file in files:
            app = app_named(file.app) or OTHER
            try:
                folders = file.folders(environ)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except ImportError:
                notes.append((str(file.path), "not read, as that needs PyYAML: pip install 'preheat[fold]'"))
                continue
            except (OSError, ValueError) as error:
                said = why(error) if isinstance(error, OSError) else str(error)
                notes.append((str(file.path), f"not read: {said}"))
                continue
            found.extend(AppFolder(app, folder, str(file.path)) for folder in folders)

    found += _usual_places(environ, user)
    read(settings_of_user(user.home, user.config, user.data))
    roots = [(root, _DEPTH) for root in (*also, user.home)]
    for app, install in _installations(roots, notes):
        found.extend(AppFolder(app, install / folder) for folder in app.folders)
        read(settings_of(app.name, install))
    plain = [folder for folder in also if not any(_is_below(one.path, folder) for one in found)]
    found.extend(AppFolder(OTHER, folder) for folder in plain)
    return AppSurvey(_distinct(found), tuple(dict.fromkeys(notes)))


def _usual_places(environ: Mapping[str, str], user: UserFolders) -> Iterator[AppFolder]:
    for app in APPS:
        named = [(name.partition("/")[0], name.partition("/")[2]) for name in app.variables]
        told = [Path(environ[variable], below) for variable, below in named if environ.get(variable)]
        usual = [
            place.format(home=user.home, cache=user.cache, config=user.config, data=user.data) for place in app.places
        ]
        # The usual places are searched too: models from before the variable was set still take space.
        yield from (AppFolder(app, place) for place in (*told, *map(Path, usual)))


def _installations(roots: Iterable[tuple[Path, int]], notes: list[tuple[str, str]]) -> Iterator[tuple[ModelApp, Path]]:
    """Yield the installations in and below `roots`, down to a depth; follow symlinks only at the roots themselves."""
    queue, seen = list(roots), set[Path]()
    while queue:
        folder, depth = queue.pop(0)
        if folder in seen:
            continue
        seen.add(folder)
        if len(seen) > _MOST_FOLDERS:
            notes.append((str(folder), f"not searched, after {_MOST_FOLDERS} folders: name app folders by --also DIR"))
            return
        try:
            with os.scandir(folder) as entries:
                names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        except OSError:
            continue
        app = next((one for one in APPS if one.markers and _has(folder, names, one.markers)), None)
        if app is not None:
            yield app, folder
        if depth:
            below = [
                name for name, is_dir in names.items() if is_dir and not name.startswith(".") and name not in _SKIPPED
            ]
            queue += [(folder / name, depth - 1) for name in sorted(below)]


def _has(folder: Path, names: Mapping[str, bool], markers: Iterable[str]) -> bool:
    return all(one.partition("/")[0] in names and ("/" not in one or (folder / one).exists()) for one in markers)


def _distinct(found: Iterable[AppFolder]) -> tuple[AppFolder, ...]:
    """Return the existing folders, each of an app once and without those inside another one of the same app."""
    real: dict[tuple[str, Path], AppFolder] = {}
    for one in found:
        path = Path(os.path.realpath(one.path))
        if path.is_dir() and path != path.parent:
            real.setdefault((one.app.name, path), AppFolder(one.app, path, one.via))
    folders = list(real.values())
    return tuple(
        one
        for one in folders
        if not any(
            other.app is one.app and other.path != one.path and one.path.is_relative_to(other.path) for other in folders
        )
    )


def _is_below(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
