"""Base image: the image to build on: read, and inspected."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from preheat.core.errors import SOURCE, ImageError
from preheat.oci.config.base_files import Listing, readable
from preheat.oci.layers.overlay import FOLDER
from preheat.oci.layers.view_entries import parents
from preheat.oci.model.content import Content
from preheat.oci.model.descriptor import INDEXES, Descriptor
from preheat.oci.model.image import Image, choose, read_index, read_json, read_manifest
from preheat.oci.model.interfaces import ImageSource
from preheat.oci.model.platform import Platform

_PROGRAMS = ("curl", "wget")


@dataclass(frozen=True, slots=True)
class BaseFindings:
    """What a base has, of what was asked for.

    `folders` are there already; `clashes` say in words what lies where a view would; `python` is the path of one that
    the guard can run in, and its `version`; `unread` are layers that could not be looked into.
    """

    folders: tuple[str, ...] = ()
    clashes: tuple[str, ...] = ()
    python: str = ""
    version: str = ""
    programs: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def read_image(source: ImageSource, platform: Platform) -> Image:
    """Read an image for `platform`. Raise ImageError when there is none, or it says that it is for another."""
    document = source.document(None)
    if document.media_type in INDEXES:
        chosen = choose(read_index(document, source.name), platform, source.name)
        document = source.document(chosen.digest)
        if document.media_type in INDEXES:  # an index of indexes: one step more is all there is
            chosen = choose(read_index(document, source.name), platform, source.name)
            document = source.document(chosen.digest)
    manifest = read_manifest(document, source.name)
    config = source.config(manifest.config)
    image = Image(read_json(config.body, source.name), manifest.layers, str(document.digest))
    if len(image.diff_ids) != len(image.layers):
        raise ImageError(f"{source.name} has other layers than its config says", hint="another base", end=SOURCE)
    if image.platform.architecture and not platform.fits(image.platform.fields):
        raise ImageError(
            f"{source.name} is for {image.platform}, and {platform} was asked for",
            hint=f"--platform {image.platform}, or another base",
            end=SOURCE,
        )
    return image


@dataclass(frozen=True, slots=True)
class BaseQuery:
    """What is asked of a base: which `folders` it has, whether `files` can lie there, what is where it searches."""

    folders: tuple[str, ...]
    files: tuple[str, ...]
    search: tuple[str, ...]

    def key(self, layers: Sequence[Descriptor]) -> str:
        """Name the answer: hexadecimal SHA-256 over what is asked, and of which layers."""
        said = ["preheat base 1", *(str(layer.digest) for layer in layers)]
        for asked in (self.folders, self.files, self.search):
            said += ["", *map(repr, asked)]
        return hashlib.sha256("\n".join(said).encode()).hexdigest()


def look(image: Image, question: BaseQuery, content: Callable[[Descriptor], Content]) -> BaseFindings:
    """Look into all layers. Raise ImageError when one is damaged."""
    listing, unread = Listing(), []
    for layer in image.layers:
        if readable(layer.media_type):
            listing.lay(content(layer), layer.media_type)
        else:
            unread.append(str(layer.digest))
    python, version = listing.python(question.search)
    return BaseFindings(
        folders=tuple(path for path in question.folders if listing.kind(path) == FOLDER),
        clashes=tuple(_clashes(listing, question)),
        python=python,
        version=version,
        programs=tuple(name for name in _PROGRAMS if listing.has(name, question.search)),
        unread=tuple(unread),
    )


def _clashes(listing: Listing, question: BaseQuery) -> list[str]:
    found = {}
    for path in (*question.folders, *question.files):
        for folder in parents(path):
            if listing.kind(folder) not in ("", FOLDER):
                found[folder] = f"/{folder} is a {_word(listing.kind(folder))} there, and a folder here"
    for path in question.folders:
        if listing.kind(path) not in ("", FOLDER):
            found[path] = f"/{path} is a {_word(listing.kind(path))} there, and a folder here"
    for path in question.files:
        if listing.kind(path) == FOLDER:
            found[path] = f"/{path} is a folder there, and a file here"
    return [found[path] for path in sorted(found)]


def _word(kind: str) -> str:
    return kind.partition(" ")[0]
