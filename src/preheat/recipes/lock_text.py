"""Lock text: a lock as the file that is meant to be compared; its form is in lock.py, which reads it."""

from collections.abc import Iterable
from pathlib import Path

import tomlkit
from tomlkit.items import Array, InlineTable

from preheat.recipes.lock import VERSION, Lock
from preheat.ref import FOLDER, Ref
from preheat.snapshot import File

_SAID = "what the refs of the recipe beside it meant when they were pinned: written by `preheat lock`, not by hand"


def lock_text(lock: Lock, folder: Path) -> str:
    """Write a lock for a recipe in `folder`; the same lock is always the same text."""
    document = tomlkit.document()
    document.add(tomlkit.comment(_SAID))
    document.add("version", tomlkit.item(VERSION))
    needs = tomlkit.aot()
    for pinned in lock.needs:
        need = pinned.need
        table = tomlkit.table()
        table.add("ref", write_ref(need.ref, folder))
        table.add("commit", pinned.snapshot.commit)
        if need.same:
            table.add("same", [write_ref(ref, folder) for ref in need.same])
        if need.files:
            table.add("patterns", list(need.files))
        table.add("view", need.view)
        if need.at:
            table.add("at", need.at)
        if need.to:
            table.add("to", _inline(sorted(need.to.items())))
        table.add("files", _lines(pinned.snapshot.files))
        needs.append(table)
    if lock.needs:
        document.add("needs", needs)
    return tomlkit.dumps(document)


def write_ref(ref: Ref, folder: Path) -> str:
    """Write a ref so that it means the same on another machine, where `folder` lies elsewhere."""
    if ref.hub == FOLDER and Path(ref.repo).is_relative_to(folder):
        return f"file:{Path('{dir}') / Path(ref.repo).relative_to(folder)}"
    return str(ref)


def _lines(files: Iterable[File]) -> Array:
    array = tomlkit.array()
    array.multiline(True)  # noqa: FBT003 - its only way
    for file in sorted(files, key=lambda file: file.path):
        array.append(_inline([("path", file.path), ("size", file.size), ("digest", str(file.digest))]))
    return array


def _inline(pairs: Iterable[tuple[str, str | int]]) -> InlineTable:
    table = tomlkit.inline_table()
    for name, value in pairs:
        table.append(name, value)
    return table
