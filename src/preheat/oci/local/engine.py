"""Engine: images in the stores of podman and docker, moved by their own programs as a docker-archive.

Only these programs know the format of their stores. A docker-archive keeps the health check, which podman drops from
OCI images.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.errors import SOURCE, TARGET, ImageError
from preheat.core.values.replace import replace
from preheat.oci.layers.write_layer import OnBytes
from preheat.oci.local.archive_reader import DockerArchive
from preheat.oci.local.archive_writer import ArchiveTarget
from preheat.oci.local.engine_files import EngineFiles
from preheat.oci.model.content import Content
from preheat.oci.model.descriptor import Descriptor
from preheat.oci.model.image import ImageDocument
from preheat.oci.model.image_name import CONTAINERS_STORAGE, DOCKER_DAEMON, LOCAL, ImageName, stored_names

_Words = tuple[str, ...]
_SKOPEO = ("skopeo", "--insecure-policy", "copy", "--quiet")
# For each store, the commands that can export and import an image, best first.
_EXPORTS: dict[str, tuple[_Words, ...]] = {
    CONTAINERS_STORAGE: (
        ("podman", "save", "--quiet", "--format", "docker-archive", "--output", "{file}", "{name}"),
        (*_SKOPEO, "containers-storage:{name}", "docker-archive:{file}:{name}"),
    ),
    DOCKER_DAEMON: (
        ("docker", "save", "--output", "{file}", "{name}"),
        (*_SKOPEO, "docker-daemon:{name}", "docker-archive:{file}:{name}"),
    ),
}
_IMPORTS: dict[str, tuple[_Words, ...]] = {
    CONTAINERS_STORAGE: (
        ("podman", "load", "--quiet", "--input", "{file}"),
        (*_SKOPEO, "docker-archive:{file}", "containers-storage:{name}"),
    ),
    DOCKER_DAEMON: (
        ("docker", "load", "--quiet", "--input", "{file}"),
        (*_SKOPEO, "docker-archive:{file}", "docker-daemon:{name}"),
    ),
}
_FINDS = {
    CONTAINERS_STORAGE: ("podman", "image", "exists", "{name}"),
    DOCKER_DAEMON: ("docker", "image", "inspect", "{name}"),
}
_LISTS = ("images", "--format", "{{.Repository}}:{{.Tag}}")
_HINTS = {
    CONTAINERS_STORAGE: "`podman images` shows the names of the images",
    DOCKER_DAEMON: "does the daemon run? `docker images` shows the names of the images",
}
_MOST_NAMED = 3
_LONGEST_WORD = 300  # characters of an error of these programs


class EngineImage:
    """See ImageSource. An image of a store, exported to `folder` while this object exists; costs a copy of the image.

    Raise ImageError if no program can read the store, or the store has no such image.
    """

    def __init__(self, place: ImageName, folder: Path) -> None:
        place = find_image(place)
        self.name = str(place)
        self._files = EngineFiles(folder)
        file = self._files.path / "image.tar"
        _run(_EXPORTS[place.kind], place, file, SOURCE)
        self._archive = DockerArchive(file, "")

    def document(self, digest: Digest | None) -> ImageDocument:
        """See ImageSource."""
        return self._archive.document(digest)

    def config(self, descriptor: Descriptor) -> ImageDocument:
        """See ImageSource."""
        return self._archive.config(descriptor)

    def content(self, descriptor: Descriptor, name: str) -> Content:
        """See ImageSource."""
        return self._archive.content(descriptor, name)


class EngineTarget:
    """See Target. Writes a docker-archive to `folder`, imports it into the store in `publish`, and removes it."""

    repository = ""
    parallel = 1

    def __init__(self, place: ImageName, folder: Path, on_bytes: OnBytes) -> None:
        self.name = str(place)
        self._place, self._folder, self._on_bytes = place, folder, on_bytes
        self._files: EngineFiles | None = None
        self._archive: ArchiveTarget | None = None

    def has(self, digest: Digest, size: int) -> bool:  # noqa: ARG002 - the protocol's
        """See Target. Always False: what the store has is known to its program only."""
        return False

    def begin(self) -> None:
        """See Target."""
        # Errors before the first byte: no program, no daemon.
        if _program(_IMPORTS[self._place.kind], self._place, TARGET)[0] == "docker":
            _run([("docker", "version", "--format", "{{{{.Server.Version}}}}")], self._place, Path(), TARGET)
        self._files = EngineFiles(self._folder)
        self._archive = ArchiveTarget(self._file(), self._place.tag, self._on_bytes, docker=True)
        self._archive.begin()

    def put(self, content: Content) -> tuple[Digest, str]:
        """See Target."""
        assert self._archive is not None, "begun"
        return self._archive.put(content)

    def publish(self, manifest: ImageDocument, config: ImageDocument) -> None:
        """See Target."""
        assert self._archive is not None, "begun"
        self._archive.publish(manifest, config)
        _run(_IMPORTS[self._place.kind], self._place, self._file(), TARGET)

    def close(self) -> None:
        """See Target."""
        if self._archive is not None:
            self._archive.close()
        if self._files is not None:
            self._files.close()

    def _file(self) -> Path:
        assert self._files is not None, "begun"
        return self._files.path / "image.tar"


def find_image(place: ImageName) -> ImageName:
    """Return the store of an image that is named as `podman images` and `docker images` show it.

    podman's store is asked first. Raise ImageError if no store has it.
    """
    if place.kind not in (LOCAL, CONTAINERS_STORAGE):
        return place
    asked = []
    for kind, words in _FINDS.items():
        if shutil.which(words[0]) is None or place.kind not in (LOCAL, kind):
            continue
        asked.append(words[0])
        for name in stored_names(place.tag) if kind == CONTAINERS_STORAGE else (place.tag,):
            if _ask([word.format(name=name) for word in words]).returncode == 0:
                return ImageName(kind, tag=name)
    if not asked and place.kind == CONTAINERS_STORAGE:
        return replace(place, tag=stored_names(place.tag)[0])
    where = " or ".join(asked)
    tagged = [name for program in asked for name in _other_tags(program, place.tag)]
    hint = f"it has {' and '.join(tagged[:_MOST_NAMED])}" if tagged else f"an image of a registry: docker://{place.tag}"
    raise ImageError(
        f"{where} has no image {place.tag}" if asked else f"{place.tag}: there is no podman and no docker here",
        hint=hint,
        end=SOURCE,
    )


def _other_tags(program: str, name: str) -> list[str]:
    """Return the names of the images in a store that have the same repository as `name`, and another tag."""
    repository = name.rpartition(":")[0] or name
    listed = _ask([program, *_LISTS]).stdout.split()
    return [one for one in listed if f"/{one.rpartition(':')[0]}".endswith(f"/{repository}")]


def _run(ways: Sequence[_Words], place: ImageName, file: Path, end: str) -> None:
    words = _program(ways, place, end)
    done = _ask([word.format(file=file, name=place.tag) for word in words])
    if done.returncode:
        last = "".join(done.stderr.strip().splitlines()[-1:])[:_LONGEST_WORD]
        raise ImageError(f"{place}: {words[0]} failed: {last}", hint=_HINTS[place.kind], end=end)


def _program(ways: Sequence[_Words], place: ImageName, end: str) -> _Words:
    for words in ways:
        if shutil.which(words[0]) is not None:
            return words
    programs = " or ".join(words[0] for words in ways)
    program = ways[0][0]
    remedy = {
        SOURCE: f"{program} save -o FILE {place.tag} where the image is, then --base docker-archive:FILE",
        TARGET: f"--output docker-archive:FILE:{place.tag}, then {program} load -i FILE where it is to be",
    }
    raise ImageError(f"{place} requires {programs}, which this machine lacks", hint=remedy[end], end=end)


def _ask(words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words, capture_output=True, text=True, errors="replace", check=False, stdin=subprocess.DEVNULL
    )
