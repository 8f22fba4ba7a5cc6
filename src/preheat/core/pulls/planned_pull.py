"""Planned pull: how much a pull will download, and how much this machine has in a bundle, a folder or an image."""

import msgspec

from preheat.core.ref import Ref
from preheat.core.units import say_size


class Resolved(msgspec.Struct, frozen=True):
    """A ref was resolved to `files` files (`size` bytes); `missing_files` of them (`missing` bytes) are missing.

    `local` of the missing bytes are read on this machine, and not downloaded.
    """

    ref: Ref
    commit: str
    files: int
    size: int
    missing_files: int
    missing: int
    local: int = 0


class Planned(msgspec.Struct, frozen=True):
    """A pull of `models` models (`size` bytes) begins, with `missing_files` files (`missing` bytes) to download.

    `local` of the missing bytes are read on this machine, and not downloaded.
    """

    models: int
    size: int
    missing_files: int
    missing: int
    local: int = 0


def say_missing(missing: int, local: int) -> str:
    """Return what will be done about `missing` bytes, `local` of which are on this machine: `9.0 MB to download`."""
    if not local:
        return f"{say_size(missing)} to download"
    copied = f"{say_size(local)} to copy on this machine"
    return copied if local >= missing else f"{say_size(missing - local)} to download, {copied}"
