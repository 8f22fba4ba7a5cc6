"""Service terms: the options of a service, and what is known about the app's starts and its user."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from preheat.core.errors import UsageError
from preheat.deploy.service import HEALTH_INTERVAL_S, StartTime
from preheat.guard.status.start_times import History
from preheat.library.library import Library
from preheat.recipes.recipe import Recipe

_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class ServiceTerms:
    """Options of a service: addresses as `HOST:PORT`, times as typed (`10m`), and in seconds.

    `status` is the status page's, empty for none. `front` is the public address, empty for the app's own. `port` is the
    app's port, None for the recipe's. `user` is
    the user of the service; empty for the owner of the app's folder. `own`: the unit is one for `systemctl --user`.
    `image` is the container's image, empty for the one that fits the app; `built`: `preheat build` made it, so that the
    weights, the guard and the command are in it. `health_interval_s` is the time between two health checks.
    """

    status: str
    ready_within: str
    stop_within: str
    ready_within_s: float
    stop_within_s: float
    front: str = ""
    port: int | None = None
    user: str = ""
    image: str = ""
    built: bool = False
    own: bool = False
    health_interval_s: int = HEALTH_INTERVAL_S


def start_time(recipe: Recipe, library: Library) -> StartTime:
    """Return how long the last starts of the app by `preheat run` took."""
    seconds = History(str(library.root / "starts" / recipe.name)).earlier_s
    return StartTime(max(seconds, default=0.0), len(seconds))


def is_user(name: str) -> bool:
    """Return whether this machine has a user of that name."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def user_id(name: str) -> int:
    """Return the ID of a user of this machine. Raise UsageError if it has no such user."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as error:
        raise UsageError(f"this machine has no user {name!r}", hint=f"useradd --system --create-home {name}") from error


def lingers() -> bool:
    """Return whether systemd runs this user's units without a login: loginctl(1)."""
    try:
        return Path("/var/lib/systemd/linger", pwd.getpwuid(os.geteuid()).pw_name).exists()
    except (KeyError, OSError):
        return False


def unit_user(folder: Path) -> str:
    """Return the owner of the app's folder for root, who writes system units; empty for other users."""
    if os.geteuid() != 0:
        return ""
    try:
        return pwd.getpwuid(folder.stat().st_uid).pw_name
    except (KeyError, OSError):
        return "root"


def container_user(folder: Path, user: str) -> str:
    """Return `UID:GID` for a container: of `user` if given, else the folder's owner, nobody in place of root."""
    if ":" in user or user.isdecimal():
        return user
    if user:
        user_id(user)
        found = pwd.getpwnam(user)
        return f"{found.pw_uid}:{found.pw_gid}"
    owner = folder.stat()
    return f"{owner.st_uid}:{owner.st_gid}" if owner.st_uid else f"{_NOBODY}:{_NOBODY}"
