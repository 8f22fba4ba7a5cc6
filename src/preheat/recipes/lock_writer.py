"""Lock writer: write a lock as a file that diffs well; lock_file.py reads it."""

from collections.abc import Iterable
from pathlib import Path

import tomlkit

from preheat.core.ref import FOLDER, Ref
from preheat.core.snapshot import File
from preheat.recipes.depends import Depends
from preheat.recipes.lock_file import VERSION, Lock, Pinned

_HEADER = (
    "# The commit and files of each model in the recipe next to this lock. Written by `preheat lock`; do not edit."
)


def lock_text(lock: Lock, folder: Path) -> str:
    """Return the text of a lock whose recipe is in `folder`; equal locks have equal text.

    tomlkit only escapes strings that need it. Its arrays would take quadratic time (86 s for 30,000 files), so lines
    are joined instead.
    """
    needs = (line for pinned in lock.needs for line in ("", "[[needs]]", *_need(pinned, folder)))
    return "\n".join((_HEADER, f"version = {VERSION}", *needs, *_start(lock.start_list), ""))


def _start(reads: str) -> Iterable[str]:
    """Yield a start list as one text, which is parsed in a hundredth of the time that a list of words takes."""
    lines = [line for line in reads.split("\n") if line and "'''" not in line and line.replace("\t", "").isprintable()]
    if lines:
        yield from ("", "# What a traced start read besides, in its order: `run` reads it ahead.", "[start]")
        yield from ("reads = '''", *lines, "'''")


def _need(pinned: Pinned, folder: Path) -> Iterable[str]:
    need = pinned.need
    yield f"ref = {_string(write_ref(need.ref, folder))}"
    yield f"commit = {_string(pinned.snapshot.commit)}"
    if need.same:
        yield f"same = {_array(write_ref(ref, folder) for ref in need.same)}"
    if need.files:
        yield f"patterns = {_array(need.files)}"
    yield f"view = {_string(need.view)}"
    if need.at:
        yield f"at = {_string(need.at)}"
    if need.to:
        yield f"to = {{{', '.join(f'{_key(name)} = {_string(to)}' for name, to in sorted(need.to.items()))}}}"
    yield from _made(pinned)
    if pinned.partly:
        yield "partly = true"
    yield "files = ["
    yield from (_file(file) for file in sorted(pinned.snapshot.files, key=lambda file: file.path))
    yield "]"


def _made(pinned: Pinned) -> Iterable[str]:
    need, archive = pinned.need, pinned.archive
    if need.unpack:
        yield f"unpack = {_string(need.unpack)}"
    if need.link:
        yield f"link = {_string(need.link)}"
    if need.optional:
        yield "optional = true"
    if archive is not None:
        yield f"archive = {{size = {archive.size}, digest = {_string(str(archive.digest))}}}"
    depends = pinned.depends or need.depends
    if depends is not None:
        yield f"depends = {_depends(depends)}"


def _depends(depends: Depends) -> str:
    words = [f"{name} = {_string(text)}" for name, text in depends.words]
    if depends.packages:
        packages = (f"{_key(name)} = {_string(version)}" for name, version in sorted(depends.packages.items()))
        words.append(f"packages = {{{', '.join(packages)}}}")
    return f"{{{', '.join(words)}}}"


def _file(file: File) -> str:
    return f"    {{path = {_string(file.path)}, size = {file.size}, digest = {_string(str(file.digest))}}},"


def _array(words: Iterable[str]) -> str:
    return f"[{', '.join(map(_string, words))}]"


def _string(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return tomlkit.string(text).as_string()


def _key(name: str) -> str:
    return tomlkit.key(name).as_string()


def write_ref(ref: Ref, folder: Path) -> str:
    """Return a ref as text, with `{dir}` for `folder`, for use on another machine."""
    if ref.hub == FOLDER and Path(ref.repo).is_relative_to(folder):
        return f"file:{Path('{dir}') / Path(ref.repo).relative_to(folder)}"
    return str(ref)
