"""Build order: what to build: the app, the base image, the form, and the guard's options."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from preheat.oci.config.image_config import INTERVAL_S
from preheat.oci.model.content import Content
from preheat.oci.model.descriptor import Descriptor
from preheat.oci.model.image import Image
from preheat.recipes.recipe import Recipe

IMAGE, MODELCAR, MODELPACK = "image", "modelcar", "modelpack"


@dataclass(frozen=True, slots=True)
class Base:
    """A base image: its manifest and config, a function that opens its layers (None for scratch), and its name."""

    image: Image = field(default_factory=Image)
    content: Callable[[Descriptor], Content] | None = None
    name: str = ""

    @property
    def repository(self) -> str:
        """Return the repository to mount its layers from, as `HOST/REPOSITORY`."""
        return re.sub(r"(:[^:/@]*)?(@.*)?$", "", self.name)


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """What to build: `recipe.folder` is the app's folder in the image, `home` the recipe's folder on this machine.

    `command` replaces the recipe's and the base's command. `status` is the guard's status address, empty for no guard.
    `port` is the app's port in the container, None for the recipe's. `layer_size` is the maximum layer size in bytes, 0
    for no limit. `health_interval_s` is the seconds between two health checks. `at` is the path that is written on this
    machine, None for an image that is pushed to a registry.
    """

    recipe: Recipe
    base: Base
    form: str = IMAGE
    command: tuple[str, ...] = ()
    status: str = ""
    port: int | None = None
    layer_size: int = 0
    health_interval_s: int = INTERVAL_S
    home: Path = Path()
    at: Path | None = None

    @property
    def lacks_program(self) -> bool:
        """Return whether the image has a command, and nothing to start it with: no Python, no shell, no app."""
        return self.form == IMAGE and self.base.content is None and bool(self.command or self.recipe.command)
