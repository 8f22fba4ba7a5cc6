"""Building: build an image with an app's weights, and check an existing image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from preheat.api.image_stores import ImageStores
from preheat.core.errors import TARGET, ImageError, UsageError
from preheat.core.events import Noted, Read
from preheat.core.units import say_size
from preheat.core.values.replace import replace
from preheat.oci.config.image_config import INTERVAL_S, work_folder
from preheat.oci.local.engine import find_image
from preheat.oci.model.image_name import (
    DOCKER_ARCHIVE,
    LAYOUT,
    OCI_ARCHIVE,
    SCRATCH,
    STORES,
    ImageName,
    read_base,
    read_place,
)
from preheat.oci.model.platform import Platform
from preheat.oci.registry.layer_limits import limit_of
from preheat.recipes.builtin_recipes import built_in, is_built_in
from preheat.recipes.recipe import Recipe, understand
from preheat.verbs.building.build import carry_out, open_base, plan_image
from preheat.verbs.building.build_order import IMAGE, BuildOrder
from preheat.verbs.building.check_image import check_image
from preheat.verbs.building.docker_context import write_context
from preheat.verbs.building.image_places import at_image_places
from preheat.verbs.locked_needs import fitting

if TYPE_CHECKING:
    from preheat.api.session import Session
    from preheat.oci.model.interfaces import Target
    from preheat.oci.registry.push import Mounts
    from preheat.verbs.building.build import Built
    from preheat.verbs.building.check_image import Checked
    from preheat.verbs.building.image_plan import ImagePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTerms:
    """Options of an image; see docs/images.md.

    `base` and `output` are image names: `oci:DIR:TAG`, `oci-archive:FILE:TAG`, `docker-archive:FILE:NAME:TAG`,
    `docker://REGISTRY/REPOSITORY:TAG`, `containers-storage:NAME:TAG` (podman), `docker-daemon:NAME:TAG`; `base` may
    be `scratch`, or a name as `docker images` and `podman images` show it. `inside`: the app's folder in the image, by
    default the base's working directory. `platform`: `OS/ARCH`, by default this machine's. `max_layer_size`: bytes, 0
    for the registry's limit. `command`: replaces the recipe's and the base's command. `port`: the app's port in the
    container, by default the recipe's. `status`: the guard's status address there; empty for no guard.
    `health_interval_s`: seconds between two health checks. Raise UsageError if that is less than 1.
    `plain_http`: registries to connect to without TLS, as HOST or HOST:PORT.
    """

    base: str
    output: str = ""
    inside: str = ""
    platform: str = ""
    format: Literal["oci", "docker", "modelpack", "modelcar"] = "oci"
    max_layer_size: int = 0
    command: tuple[str, ...] = ()
    status: str = "127.0.0.1:7861"
    port: int | None = None
    plain_http: tuple[str, ...] = ()
    health_interval_s: int = INTERVAL_S

    def __post_init__(self) -> None:
        if self.health_interval_s < 1:
            raise UsageError("health checks need an interval of at least 1 s", hint="for example 10 s")


class ImageBuilder:
    """Plans and builds the image of an app, at `terms.output`. Raise ImageError, NotPreloaded and UsageError."""

    def __init__(self, app: str | None, session: Session, terms: ImageTerms) -> None:
        self._session, self._terms = session, terms
        self._output = _read_output(terms)
        self._stores = ImageStores(session, terms.plain_http)
        self._order = _order(app, session, terms, self._stores, self._output)

    @property
    def lacks_program(self) -> bool:
        """Return whether the image will have a command that nothing in it can start, since its base is empty."""
        return self._order.lacks_program

    def plan(self) -> ImagePlan:
        """Return the plan of the image; see `preheat.verbs.building.build.plan_image`."""
        session = self._session
        tokens = tuple(session.config.tokens.values())
        return plan_image(self._order, session.library, session.image_view, self._target, session.on_event, tokens)

    def build(self, plan: ImagePlan) -> Built:
        """Write the image as planned; see `preheat.verbs.building.build.carry_out`."""
        # docker load requires Docker's image format.
        loads = self._output.kind in (DOCKER_ARCHIVE, *STORES)
        docker = self._terms.format == "docker" or (self._order.form == IMAGE and loads)
        session = self._session
        if plan.additions.health is not None and not docker:
            check = " ".join(plan.additions.health.test[1:])
            every_s = self._terms.health_interval_s
            every = "" if every_s == INTERVAL_S else f" --health-interval {every_s}s"
            said = (
                f"podman drops it from OCI images, docker keeps it: podman run --health-cmd '{check}'{every}, "
                "or --output containers-storage:NAME:TAG, which keeps it"
            )
            session.on_event(Noted("health check", said))
        return carry_out(plan, session.library, self.plan, self._target, session.on_event, docker=docker)

    def _target(self, mounts: Mounts) -> Target:
        return self._stores.target(self._output, mounts, lambda size: self._session.on_event(Read(size)))


@dataclass(frozen=True, slots=True)
class DockerContext:
    """A Dockerfile for `app`, which was written. `lacks_program`: its base is empty, so nothing can start the app."""

    app: str
    lacks_program: bool


def write_docker_context(app: str | None, session: Session, terms: ImageTerms, folder: Path) -> DockerContext:
    """Write a Dockerfile and its build context to `folder`, without building."""
    output = _read_output(terms) if terms.output else None
    order = _order(app, session, terms, ImageStores(session, terms.plain_http), output, folder)
    tokens = tuple(session.config.tokens.values())
    write_context(order, folder, session.library, session.image_view, session.on_event, tokens)
    return DockerContext(order.recipe.name, order.lacks_program)


def check_built(image: str, session: Session, terms: ImageTerms, within_s: float = 600.0) -> Checked:
    """Check an image's files against its lock, and start it without network access. Raise ImageError, CheckFailed."""
    place = find_image(read_base(image))
    source = ImageStores(session, terms.plain_http).source(place)
    if source is None:
        raise UsageError("there is nothing to check in scratch", hint="--check oci:DIR:TAG")
    plain = place.name is not None and (place.name.loopback or place.name.host in terms.plain_http)
    base = open_base(source, _platform(terms))
    return check_image(base, str(place), within_s, session.on_event, plain_http=plain)


def _platform(terms: ImageTerms) -> Platform:
    return Platform.parse(terms.platform) if terms.platform else Platform.here()


def _read_output(terms: ImageTerms) -> ImageName:
    output = read_place(terms.output)
    if output.kind == SCRATCH:
        raise UsageError("an image cannot be written to scratch", hint="--output oci:DIR:TAG")
    if output.name is not None and output.name.digest:
        raise UsageError(f"{output} is a digest, not a tag", hint="use a tag: docker://REGISTRY/REPOSITORY:TAG")
    if terms.format == "docker" and output.kind in (LAYOUT, OCI_ARCHIVE):
        raise UsageError(
            "an OCI layout cannot contain Docker images", hint="use --format docker with docker:// or docker-archive:"
        )
    return output


def _order(
    app: str | None,
    session: Session,
    terms: ImageTerms,
    stores: ImageStores,
    output: ImageName | None,
    folder: Path | None = None,
) -> BuildOrder:
    at = read_base(terms.base)
    recipe = session.recipe(app)
    # docker finds the base of a Dockerfile in its own store too; an image that is built names only a registry's.
    name = at.tag if folder and at.kind in STORES else "" if at.name is None else str(at.name)
    base = open_base(stores.source(at), _platform(terms), name)
    inside = recipe_inside(recipe, app, Path("/", terms.inside or work_folder(base.image.config)))
    inside = fitting(at_image_places(inside, base, session.library, session.on_event), session.on_event)
    return BuildOrder(
        recipe=inside,
        base=base,
        form=IMAGE if terms.format in ("oci", "docker") else terms.format,
        command=terms.command,
        status=terms.status,
        port=terms.port,
        health_interval_s=terms.health_interval_s,
        layer_size=_layer_size(terms.max_layer_size, output),
        home=recipe.folder,
        at=folder or _written(output, stores),
    )


def _written(output: ImageName | None, stores: ImageStores) -> Path | None:
    if output is not None and output.kind in STORES:
        return stores.aside
    return output.path if output is not None else None


def recipe_inside(recipe: Recipe, app: str | None, folder: Path) -> Recipe:
    """Parse the recipe again with the folder in the image as `{dir}`, and keep what its lock says."""
    if app is not None and is_built_in(app):
        again = built_in(app, folder)
    else:
        assert recipe.path is not None, "read from a file"
        again = understand(recipe.path, recipe.path.read_bytes(), folder)
    return replace(again, needs=recipe.needs, start_list=recipe.start_list)


def _layer_size(asked: int, output: ImageName | None) -> int:
    """Return the maximum layer size in bytes: the requested size, else the registry's known limit."""
    limit = limit_of(output.name.host) if output is not None and output.name is not None else None
    if limit is None:
        return asked
    if asked > limit.layer_size:
        raise ImageError(
            f"{limit.name} accepts layers up to {say_size(limit.layer_size)}; --max-layer-size is {say_size(asked)}",
            hint=f"--max-layer-size {limit.layer_size}",
            end=TARGET,
        )
    return asked or limit.layer_size
