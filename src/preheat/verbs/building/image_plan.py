"""Image plan: decide the layers, config and annotations of an image before writing it."""

import hashlib
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.errors import SOURCE, TARGET, ImageError
from preheat.core.events import Listener, Noted, Read, Reading
from preheat.core.ref import Ref
from preheat.core.values.replace import replace
from preheat.disk.free_space import DiskNeed
from preheat.library.library import Library
from preheat.library.records.image_cache import Images
from preheat.oci.config.annotations import base_annotations, image_annotations, license_of
from preheat.oci.config.base_image import BaseFindings, BaseQuery, inspect_base
from preheat.oci.config.image_config import ConfigAdditions, Health, search_path, starts
from preheat.oci.layers.layer import FORMAT, Layer
from preheat.oci.layers.layer_plan import MOST_LAYERS, LayerBudget, plan
from preheat.oci.layers.view_entries import HOME
from preheat.oci.model.image import write_json
from preheat.oci.secrets.secret_search import secret_in_text
from preheat.recipes.container_port import ContainerPort, container_port
from preheat.recipes.offline_env import in_container, needs_hub, no_hub_in_container
from preheat.verbs.building.build_order import IMAGE, MODELCAR, Base, BuildOrder
from preheat.verbs.building.image_contents import (
    GUARD,
    HUB,
    LOCK,
    guard_file,
    guard_options,
    lay_out,
    lock_of,
    own_group,
    plain,
)
from preheat.verbs.building.image_start_list import START_LIST, image_start_list
from preheat.verbs.building.prepare_answers import prepare_answers
from preheat.verbs.locked_needs import Required
from preheat.views.view_protocol import View


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A layer of an image, also one of the base: `present` if the target already has it. Its size is in bytes."""

    name: str
    size: int
    digest: Digest | None
    present: bool


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """An image: the layers on top of the base, the config changes, and the annotations.

    `needed` are the recipe's needs, whose files the layers contain. `present`: the digests of the layers, including the
    base's, that the target already has. `disk`: the space needed to write the others, None for a registry.
    """

    order: BuildOrder
    needed: Required
    layers: tuple[Layer, ...]
    additions: ConfigAdditions
    annotations: dict[str, str]
    present: frozenset[Digest] = frozenset()
    disk: DiskNeed | None = None

    @property
    def parts(self) -> tuple[ImagePart, ...]:
        """Return all layers in order; of two with the same digest, the target has the second one already."""
        base = self.order.base
        inherited = base.image.layers if base.content is not None else ()
        listed: list[tuple[str, int, Digest | None]] = [
            (f"layer {one.digest}", one.size, one.digest) for one in inherited
        ]
        listed += [(layer.name, layer.size, layer.digest) for layer in self.layers]
        seen, found = set(self.present), []
        for name, size, digest in listed:
            found.append(ImagePart(name, size, digest, digest in seen))
            if digest is not None:
                seen.add(digest)
        return tuple(found)

    @property
    def size(self) -> int:
        """Return the size of all layers in bytes."""
        return sum(part.size for part in self.parts)

    @property
    def to_write(self) -> int:
        """Return the bytes to write or send: the total of the progress bar. A registry may mount some of them."""
        return sum(part.size for part in self.parts if not part.present)

    def require(self) -> None:
        """Raise ImageError if the disk has too little free space."""
        if self.disk is not None and not self.disk.fits:
            raise ImageError(self.disk.shortage, hint="free some disk space, or choose another --output", end=TARGET)


def assemble(
    order: BuildOrder, required: Required, library: Library, view_of: Callable[[str], View], on_event: Listener
) -> ImagePlan:
    """Return the plan of an image. Raise ImageError if views overlap files of the base, or the layers do not fit."""
    if what := secret_in_text(write_json(order.base.image.config)):
        on_event(Noted("base", f"its config contains {what}, which everyone who pulls this image can read"))
    if order.form != IMAGE:
        return _volume(order, required, library)
    inside = lay_out(order.recipe, required, library, view_of)
    files = tuple(sorted({*inside.files, GUARD, LOCK, START_LIST, *([HUB] if needs_hub(order.recipe) else [])}))
    folders = tuple(sorted({*inside.folders, HOME.partition("/")[0], HOME}))
    search, wanted = tuple(search_path(order.base.image.config)), wanted_by_command(order, frozenset(files))
    findings = find(order.base, BaseQuery(folders, files, search, wanted=wanted), library, on_event)
    if findings.clashes:
        raise ImageError(
            f"the base and the views use the same path: {findings.clashes[0]}",
            hint="another `at` in the recipe, or another --dir DIR",
            end=SOURCE,
        )
    if findings.absent and not findings.unread:
        names = " and ".join(findings.absent)
        on_event(Noted("command", f"the base has no {names}: --base takes the app's own image, --dir its folder there"))
    lock = lock_of(required, order.home)
    annotations = _notes(order, required, library, lock)
    additions = _config_additions(order, findings, inside.environ, annotations, on_event)
    new = [folder for folder in folders if folder not in findings.folders]
    if findings.unread:  # unread layers may have some of these folders, whose owner must not change
        new = [folder for folder in new if folder.startswith(HOME)]
    guard = guard_file() if additions.guard else b""
    hub = prepare_answers(required, library, inside.locator()) if needs_hub(order.recipe) else ""
    own = own_group(guard, lock, new, image_start_list(order.recipe, inside.groups), hub)
    budget = LayerBudget(MOST_LAYERS - len(order.base.image.layers), order.layer_size)
    return ImagePlan(order, required, tuple(plan([*inside.groups, own], budget)), additions, annotations)


def wanted_by_command(order: BuildOrder, own: frozenset[str]) -> tuple[str, ...]:
    """Return what the started command needs from the base: its program, and the files of the app that it names.

    A word names a file of the app if the app's folder on this machine has it. `own` are paths that the image adds. A
    base that starts its own command has what that needs.
    """
    entrypoint, command = starts(
        order.base.image.config, ConfigAdditions(command=order.recipe.command, given_command=order.command)
    )
    if entrypoint or not command or command not in (order.recipe.command, order.command):
        return ()
    folder = order.recipe.folder
    program = command[0] if "/" not in command[0] else str(folder / command[0])
    named = [str(folder / word) for word in command[1:] if (order.home / _relative(word, folder)).is_file()]
    return tuple(word for word in dict.fromkeys((program, *named)) if word.lstrip("/") not in own)


def _relative(word: str, folder: Path) -> str:
    return os.path.relpath(word, folder) if word.startswith("/") else word or "."


def find(base: Base, question: BaseQuery, library: Library, on_event: Listener) -> BaseFindings:
    """Search the base's layers, or return the cached result of an earlier search."""
    if base.content is None:
        return BaseFindings()
    images, key = Images(library.root), question.key(base.image.layers)
    found = images.base(key, BaseFindings)
    if found is None:
        on_event(Reading("inspect in the base", len(base.image.layers), sum(layer.size for layer in base.image.layers)))
        found = inspect_base(base.image, question, base.content, lambda size: on_event(Read(size)))
        images.keep_base(key, found)
    if found.unread:
        on_event(Noted("base", f"layers compressed with zstd, which were not read: {len(found.unread)}"))
    return found


def _volume(order: BuildOrder, required: Required, library: Library) -> ImagePlan:
    """Return the plan of an image with only the weights, as plain files."""
    inside = plain(required, library, "models" if order.form == MODELCAR else "")
    lock = lock_of(required, order.home)
    annotations = _notes(order, required, library, lock)
    groups = [*inside.groups, *([own_group(b"", lock, inside.folders)] if order.form == MODELCAR else [])]
    budget = LayerBudget(MOST_LAYERS - len(order.base.image.layers), order.layer_size)
    return ImagePlan(order, required, tuple(plan(groups, budget)), ConfigAdditions(labels=annotations), annotations)


def _config_additions(
    order: BuildOrder, findings: BaseFindings, environ: Mapping[str, str], labels: dict[str, str], on_event: Listener
) -> ConfigAdditions:
    recipe = order.recipe
    additions = ConfigAdditions(
        command=recipe.command,
        given_command=order.command,
        folder=str(recipe.folder),
        env={**in_container(recipe.env, hub=recipe.hub), **environ, **recipe.env},
        labels=labels,
    )
    started = tuple(itertools.chain(*starts(order.base.image.config, additions)))
    has_guard = bool(started and findings.python and order.status)
    port = container_port(recipe, started, order.status if has_guard else "", order.port)
    guard = _guard_command(order, findings.python, port) if has_guard else ()
    if order.status and not guard:
        why = (
            f"{order.base.name or 'the base'} has no Python 3.8 or later"
            if started
            else "the image has no command to start"
        )
        on_event(Noted("guard", f"omitted, because {why}; entrypoint and command are unchanged"))
    if needs_hub(recipe) and not guard:
        raise no_hub_in_container("without the guard, nothing serves one")
    if not guard:
        additions = replace(
            additions,
            command=tuple(map(port.filled, additions.command)),
            given_command=tuple(map(port.filled, additions.given_command)),
            env={name: port.filled(value) for name, value in additions.env.items()},
        )
    ready = port.filled(port.ready)
    health = _health(ready, guard, order.status, findings)
    if ready and health is None:
        on_event(Noted("health check", f"omitted, because the base has no program that can check {ready}"))
    if health is not None:
        health = replace(health, interval_s=order.health_interval_s)
    return replace(additions, guard=guard, health=health, ports=() if port.number is None else (port.number,))


def _guard_command(order: BuildOrder, python: str, port: ContainerPort) -> tuple[str, ...]:
    options = (*guard_options(order.recipe, port.ready), *port.options)
    return (python, f"/{GUARD}", *options, "--status", order.status, "--name", order.recipe.name, "--")


def _health(ready: str, guard: Sequence[str], status: str, findings: BaseFindings) -> Health | None:
    """Return a health check that queries the guard, or else runs the probe in the base; None if neither is possible."""
    if guard:
        return Health(("CMD", guard[0], guard[1], "--check", status))
    if ready.startswith("exec:"):
        return Health(("CMD-SHELL", ready.removeprefix("exec:")))
    if ready.startswith(("http://", "https://")):
        if "curl" in findings.programs:
            return Health(("CMD", "curl", "-fsS", "-o", "/dev/null", ready))
        if "wget" in findings.programs:
            return Health(("CMD", "wget", "-q", "-O", "/dev/null", ready))
    return None


def _notes(order: BuildOrder, required: Required, library: Library, lock: str) -> dict[str, str]:
    sources = [str(snapshot.ref.at(snapshot.commit)) for _, snapshot in required]
    licenses = [license_ for _, one in required if (license_ := _license(one.ref.at(one.commit), library))]
    digest = f"sha256:{hashlib.sha256(lock.encode()).hexdigest()}"
    annotations = image_annotations(order.recipe.name, sources, licenses, digest, FORMAT)
    return {**annotations, **base_annotations(order.base.name, order.base.image.digest)}


def _license(ref: Ref, library: Library) -> str:
    snapshot = library.find(ref)
    readme = snapshot.file("README.md") if snapshot else None
    if readme is None or not library.has(readme.digest):
        return ""
    return license_of(library.path(readme.digest).read_text(encoding="utf-8", errors="replace"))
