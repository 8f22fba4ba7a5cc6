"""`preheat build`."""

import argparse
from dataclasses import replace
from pathlib import Path

from preheat.cli.places import Places
from preheat.cli.wiring import Wiring
from preheat.cli.words import read_address, read_seconds, read_size, say_seconds, say_size
from preheat.errors import TARGET, ImageError, UsageError
from preheat.events import Read
from preheat.oci.dress import work_folder
from preheat.oci.limits import limit_of
from preheat.oci.place import DOCKER_ARCHIVE, LAYOUT, OCI_ARCHIVE, SCRATCH, Place, read_place
from preheat.oci.platform import Platform
from preheat.oci.store import HERE, MOUNTED, SENT, SHARED, WRITTEN
from preheat.recipes.collection import built_in, is_built_in
from preheat.recipes.recipe import Recipe, understand
from preheat.verbs.assemble import IMAGE, Order
from preheat.verbs.build import Built, build, open_base
from preheat.verbs.check_image import check_image
from preheat.verbs.context import write_context

_HOW = {
    WRITTEN: "written",
    SENT: "sent",
    SHARED: "shared by reflink",
    HERE: "there already",
    MOUNTED: "there already, in another repository",
}


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Do what `preheat build` says."""
    if options.check:
        return _check(options, wiring)
    if not options.base or not (options.output or options.dockerfile):
        raise UsageError(
            "a base and a place for the image are needed", hint="--base IMAGE --output WHERE; --base scratch for none"
        )
    output = _output(options) if options.output else None
    places = Places(wiring, options.plain_http)
    order = _order(options, wiring, places, output)
    tokens = tuple(wiring.config.tokens.values())
    if options.dockerfile:
        folder = Path(options.dockerfile).absolute()
        write_context(order, folder, wiring.library, wiring.image_view, wiring.console, tokens)
        wiring.console.done({"dockerfile": str(folder)}, f"docker build --tag {order.recipe.name} {folder}")
        return 0
    assert output is not None, "asked for above"
    built = build(
        order,
        wiring.library,
        wiring.image_view,
        lambda mounts: places.target(output, mounts, lambda size: wiring.console(Read(size))),
        wiring.console,
        tokens,
        # What docker loads from an archive is its own form of an image.
        docker=options.format == "docker" or (order.form == IMAGE and output.kind == DOCKER_ARCHIVE),
    )
    figures = {"image": str(output), "digest": built.digest, "size": built.size, "layers": built.layers}
    wiring.console.done({**figures, "took": dict(built.took)}, _sentence(built, output))
    return 0


def _output(options: argparse.Namespace) -> Place:
    output = read_place(options.output)
    if output.kind == SCRATCH:
        raise UsageError("an image cannot be written to scratch", hint="--output oci:DIR:TAG")
    if output.name is not None and output.name.digest:
        raise UsageError(f"{output} names an image that is there", hint="name a tag: docker://REGISTRY/REPOSITORY:TAG")
    if options.format == "docker" and output.kind in (LAYOUT, OCI_ARCHIVE):
        raise UsageError(
            "a layout holds images in OCI's form alone", hint="--format docker is for docker:// and docker-archive:"
        )
    return output


def _order(options: argparse.Namespace, wiring: Wiring, places: Places, output: Place | None) -> Order:
    read_address(options.status)
    at = read_place(options.base)
    recipe = wiring.recipe(options.app)
    platform = Platform.parse(options.platform) if options.platform else Platform.here()
    base = open_base(places.source(at), platform, "" if at.name is None else str(at.name))
    folder = Path("/", options.inside or work_folder(base.image.config))
    return Order(
        recipe=_inside(recipe, options.app, folder),
        base=base,
        form=IMAGE if options.format in ("oci", "docker") else options.format,
        command=tuple(options.command),
        status=options.status if options.guard else "",
        layer_size=_layer_size(options.max_layer_size, output),
        home=recipe.folder,
        at=Path(options.dockerfile) if options.dockerfile else output.path if output is not None else None,
    )


def _check(options: argparse.Namespace, wiring: Wiring) -> int:
    place = read_place(options.check)
    source = Places(wiring, options.plain_http).source(place)
    if source is None:
        raise UsageError("there is nothing to check in scratch", hint="--check oci:DIR:TAG")
    platform = Platform.parse(options.platform) if options.platform else Platform.here()
    image = open_base(source, platform)
    plain = place.name is not None and (place.name.loopback or place.name.host in options.plain_http)
    within_s = read_seconds(options.ready_within)
    checked = check_image(image, str(place), within_s, wiring.console, plain_http=plain)
    ready = "" if checked.ready_s is None else f", ready after {say_seconds(checked.ready_s)} without a network"
    figures = {"image": str(place), "files": checked.files, "ready_s": checked.ready_s}
    wiring.console.done(figures, f"{checked.files} files are as the lock in {place} says{ready}")
    return 0


def _inside(recipe: Recipe, words: str | None, folder: Path) -> Recipe:
    """Read the recipe's own words once more, with the folder in the image for its `{dir}`; the needs stay."""
    if words is not None and is_built_in(words):
        again = built_in(words, folder)
    else:
        assert recipe.path is not None, "read from a file"
        again = understand(recipe.path, recipe.path.read_bytes(), folder)
    return replace(again, needs=recipe.needs)


def _layer_size(words: str | None, output: Place | None) -> int:
    """Say how long a layer may be: what was asked for, and no more than the registry is known to take."""
    asked = read_size(words) if words else 0
    limit = limit_of(output.name.host) if output is not None and output.name is not None else None
    if limit is None:
        return asked
    if asked > limit.layer_size:
        raise ImageError(
            f"{limit.name} takes layers of {say_size(limit.layer_size)}, and --max-layer-size is {say_size(asked)}",
            hint=f"--max-layer-size {limit.layer_size}",
            end=TARGET,
        )
    return asked or limit.layer_size


def _sentence(built: Built, output: Place) -> str:
    took = ", ".join(f"{say_size(size)} {_HOW[how]}" for how, size in sorted(built.took.items()) if size)
    return f"{output} is {built.digest}\n{say_size(built.size)} in {built.layers} layers: {took}"
