"""Base image: read the image to build on, and inspect its files."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from preheat.core.errors import SOURCE, ImageError
from preheat.oci.config.base_files import Listing, readable
from preheat.oci.layers.overlay import FOLDER
from preheat.oci.layers.view_entries import parents
from preheat.oci.model.content import Content
from preheat.oci.model.descriptor import INDEXES, Descriptor
from preheat.oci.model.image import Image, ImageDocument, choose, read_index, read_json, read_manifest
from preheat.oci.model.interfaces import ImageSource
from preheat.oci.model.platform import Platform

_PROGRAMS = ("curl", "wget")
_DEEPEST_INDEX = 2  # an index may point to a second index, but not deeper


@dataclass(frozen=True, slots=True)
class BaseFindings:
    """The answers to a BaseQuery.

    `folders` already exist. `clashes` are messages about paths where the base has the wrong kind of file. `python`
    is the path of an interpreter that can run the guard, and `version` is its version. `site_packages` is the folder of
    the app's packages, and `packages` the names in it. `absent` are the wanted paths and programs that it lacks.
    `home` is the user's home folder. `unread` are the digests of layers that could not be read.
    """

    folders: tuple[str, ...] = ()
    clashes: tuple[str, ...] = ()
    python: str = ""
    version: str = ""
    programs: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    site_packages: str = ""
    packages: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    home: str = ""


def read_image(source: ImageSource, platform: Platform) -> Image:
    """Read an image's manifest and config. Raise ImageError if it has none for `platform`."""
    document = manifest_document(source, lambda index: choose(index, platform, source.name))
    manifest = read_manifest(document, source.name)
    config = source.config(manifest.config)
    image = Image(read_json(config.body, source.name), manifest.layers, str(document.digest))
    if len(image.diff_ids) != len(image.layers):
        raise ImageError(
            f"{source.name} has a different number of layers than its config lists", hint="another base", end=SOURCE
        )
    if image.platform.architecture and not platform.fits(image.platform.fields):
        raise ImageError(
            f"{source.name} is for {image.platform}, but {platform} was requested",
            hint=f"--platform {image.platform}, or another base",
            end=SOURCE,
        )
    return image


def manifest_document(source: ImageSource, pick: Callable[[list[Descriptor]], Descriptor]) -> ImageDocument:
    """Return an image's manifest; `pick` chooses one of those in an index. Raise ImageError if there is none."""
    document = source.document(None)
    for _ in range(_DEEPEST_INDEX):
        if document.media_type in INDEXES:
            document = source.document(pick(read_index(document, source.name)).digest)
    return document


@dataclass(frozen=True, slots=True)
class BaseQuery:
    """Questions about a base: which `folders` exist, whether `files` can be created, and the programs in `search`.

    `prefixes` are where the app's Python may be installed, the likeliest first. `wanted` are paths, and names of
    programs in `search`, that the app's command needs. `user` is whose home folder to find, by name or ID.
    """

    folders: tuple[str, ...]
    files: tuple[str, ...]
    search: tuple[str, ...]
    prefixes: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    user: str = ""

    def key(self, layers: Sequence[Descriptor]) -> str:
        """Return a cache key: hexadecimal SHA-256 of the query and the layers."""
        lines = ["preheat base 4", *(str(layer.digest) for layer in layers)]
        for paths in (self.folders, self.files, self.search, self.prefixes, self.wanted, (self.user,)):
            lines += ["", *map(repr, paths)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def inspect_base(
    image: Image,
    query: BaseQuery,
    content: Callable[[Descriptor], Content],
    on_bytes: Callable[[int], None] = lambda _size: None,
) -> BaseFindings:
    """Read all layers and return the findings. Raise ImageError if a layer is damaged.

    After each layer, `on_bytes` is called with its size in bytes.
    """
    listing, unread = Listing(), []
    for layer in image.layers:
        if readable(layer.media_type):
            listing.apply(content(layer), layer.media_type)
        else:
            unread.append(str(layer.digest))
        on_bytes(layer.size)
    python, version = listing.python(query.search)
    site_packages, packages = listing.site_packages(query.prefixes)
    return BaseFindings(
        folders=tuple(path for path in query.folders if listing.kind(path) == FOLDER),
        clashes=tuple(_clashes(listing, query)),
        python=python,
        version=version,
        programs=tuple(name for name in _PROGRAMS if listing.has(name, query.search)),
        unread=tuple(unread),
        site_packages=site_packages,
        packages=tuple(name for name in packages if name.endswith(".dist-info")),
        home=listing.home(query.user) if query.user else "",
        absent=tuple(one for one in query.wanted if not _has(listing, one, query.search)),
    )


def _has(listing: Listing, wanted: str, search: Sequence[str]) -> bool:
    return bool(listing.resolve(wanted)) if "/" in wanted else listing.has(wanted, search)


def _clashes(listing: Listing, query: BaseQuery) -> list[str]:
    found = {}
    folders = {folder for path in query.files for folder in parents(path)}
    # The folders above one of these are usually among them too.
    folders |= {folder for path in query.folders if path not in folders for folder in (*parents(path), path)}
    for path in folders:
        if listing.kind(path) not in ("", FOLDER):
            found[path] = f"/{path} is a {_kind_in_words(listing.kind(path))} in the base, but a folder in this image"
    for path in query.files:
        if listing.kind(path) == FOLDER:
            found[path] = f"/{path} is a folder in the base, but a file in this image"
    return [found[path] for path in sorted(found)]


def _kind_in_words(kind: str) -> str:
    return kind.partition(" ")[0]
