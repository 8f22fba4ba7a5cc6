"""Docker context: write a Dockerfile and a folder of links, for users who build with docker."""

import shutil
from collections.abc import Callable
from pathlib import Path

from preheat.core.errors import TARGET, ImageError, UsageError
from preheat.core.events import Listener
from preheat.deploy.dockerfile import MARK, DockerfileContents, dockerfile
from preheat.disk.temporary_file import put, tidy
from preheat.library.library import Library
from preheat.oci.config.image_config import starts
from preheat.oci.layers.layer import Layer, LayerEntry
from preheat.oci.layers.tar import FOLDER, LINK
from preheat.verbs.building.build import claimed
from preheat.verbs.building.build_order import BuildOrder
from preheat.verbs.building.image_contents import refuse_secrets
from preheat.verbs.building.image_plan import ImagePlan, assemble
from preheat.verbs.locked_needs import Required, report_missing
from preheat.views.links import COPY, HARDLINK, REFLINK, link
from preheat.views.view_protocol import View

_WAYS = (REFLINK, HARDLINK, COPY)
_UNFINISHED = "# This file is incomplete: run preheat build --dockerfile again."


def write_context(
    order: BuildOrder,
    at: Path,
    library: Library,
    view_of: Callable[[str], View],
    on_event: Listener,
    tokens: tuple[str, ...],
) -> None:
    """Write `Dockerfile` and one folder per layer to `at`: a new or empty folder, or a context written earlier.

    Raise NotPreloaded and ImageError as `build` does, UsageError if the folder contains other files.
    """
    with claimed(order, library, on_event) as required:
        report_missing(order.recipe, library, on_event, required)
        _write(order, at, library, view_of, on_event, tokens, required)


def _write(
    order: BuildOrder,
    at: Path,
    library: Library,
    view_of: Callable[[str], View],
    on_event: Listener,
    tokens: tuple[str, ...],
    required: Required,
) -> None:
    recipe = order.recipe
    words = [*recipe.command, *order.command, recipe.ready, *(f"{name}={value}" for name, value in recipe.env.items())]
    refuse_secrets(required, library, words, tokens)
    plan = assemble(order, required, library, view_of, on_event)
    _require_ours(at)
    try:
        _clear(at)
        folders = []
        for number, layer in enumerate(plan.layers):
            folders.append(f"layers/{number:03}")
            _lay(layer, at / folders[-1])
        text = dockerfile(_dockerfile_contents(order, plan, folders))
        put(at / "Dockerfile", lambda aside: aside.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise ImageError(
            f"{at} cannot be written: {(error.strerror or str(error)).lower()}",
            hint="choose another folder",
            end=TARGET,
        ) from error


def _dockerfile_contents(order: BuildOrder, plan: ImagePlan, folders: list[str]) -> DockerfileContents:
    additions = plan.additions
    entrypoint, command = starts(order.base.image.config, additions)
    health = additions.health
    times = (
        f"--interval={health.interval_s}s --timeout={health.timeout_s}s --start-period={health.start_period_s}s "
        f"--retries={health.retries}"
        if health
        else ""
    )
    scratch = order.base.content is None
    return DockerfileContents(
        base=order.base.name or ("scratch" if scratch else ""),
        folders=folders,
        env=additions.env,
        labels=additions.labels,
        ports=additions.ports,
        work_folder=additions.folder if scratch else "",
        entrypoint=(*additions.guard, *entrypoint),
        command=command,
        health=health.test if health else (),
        health_times=times,
    )


def _lay(layer: Layer, at: Path) -> None:
    for entry in layer.entries:
        _put(entry, at / entry.path)


def _put(entry: LayerEntry, path: Path) -> None:
    if entry.kind == FOLDER:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if entry.kind == LINK:
        path.symlink_to(entry.target)
    elif entry.source:
        if link(Path(entry.source), path, _WAYS) != HARDLINK:
            path.chmod(0o444)
    else:
        path.write_bytes(entry.body)
        path.chmod(0o555 if entry.executable else 0o444)


def _require_ours(at: Path) -> None:
    if at.is_dir():
        tidy(at / "Dockerfile")  # what a killed process left may be all that is there
    ours = (at / "Dockerfile").is_file() and (at / "Dockerfile").read_text(errors="replace").startswith(MARK)
    if at.exists() and not ours and (not at.is_dir() or any(at.iterdir())):
        raise UsageError(f"{at} contains other files", hint="--dockerfile DIR: a new or empty folder")


def _clear(at: Path) -> None:
    at.mkdir(parents=True, exist_ok=True)
    # Write an unfinished Dockerfile first: if this process is killed, docker refuses it and preheat can overwrite it.
    put(at / "Dockerfile", lambda aside: aside.write_text(f"{MARK}\n{_UNFINISHED}\n", encoding="utf-8"))
    if (at / "layers").is_dir():
        shutil.rmtree(at / "layers")
