"""Build: write an image with the weights on top of a base image, without a daemon or temporary copies."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from preheat.core.digest import Digest, sha256
from preheat.core.errors import UsageError
from preheat.core.events import LayerPut, Listener, Reading
from preheat.core.values.replace import replace
from preheat.disk.free_space import disk_need, existing
from preheat.library.library import Library
from preheat.library.records.image_cache import Images, LayerFact
from preheat.oci.config.base_image import read_image
from preheat.oci.config.image_config import add_to_config
from preheat.oci.config.modelpack import ARTIFACT, model_config, model_layer
from preheat.oci.layers.layer import Layer
from preheat.oci.layers.parallel import map_parallel
from preheat.oci.model.content import Content
from preheat.oci.model.descriptor import LAYER, Descriptor
from preheat.oci.model.image import Image, ImageDocument, config_document, write_manifest
from preheat.oci.model.interfaces import ImageSource, Target
from preheat.oci.model.platform import Platform
from preheat.oci.registry.push import Mounts
from preheat.verbs.building.build_order import MODELPACK, Base, BuildOrder
from preheat.verbs.building.image_contents import refuse_secrets
from preheat.verbs.building.image_plan import ImagePlan, assemble
from preheat.verbs.locked_needs import Required, all_required, report_missing, unmodified
from preheat.views.links import COPY, REFLINK, likely_way
from preheat.views.view_protocol import View

_MOST_REPOSITORIES = 8


@dataclass(frozen=True, slots=True)
class Built:
    """The image's digest, size in bytes and number of layers; `took` maps each way to store a layer to its bytes."""

    digest: str
    size: int
    layers: int
    took: Mapping[str, int]


def open_base(source: ImageSource | None, platform: Platform, name: str = "") -> Base:
    """Read the manifest and config of a base; `source` is None for `scratch`. Raise ImageError if it is unusable."""
    if source is None:
        return Base(Image({name: value for name, value in platform.fields.items() if value}))
    image = read_image(source, platform)
    return Base(image, lambda descriptor: source.content(descriptor, f"layer {descriptor.digest}"), name)


def plan_image(
    order: BuildOrder,
    library: Library,
    view_of: Callable[[str], View],
    target_of: Callable[[Mounts], Target],
    on_event: Listener,
    tokens: Iterable[str] = (),
) -> ImagePlan:
    """Plan an image: its layers, and which of them the target already has. Nothing is written to the target.

    Raise NotPreloaded for files that are not in the library, ImageError (its `end` is the side that failed: source or
    target) if views overlap files of the base, or the image would contain a secret.
    """
    needed = all_required(order.recipe, library)
    report_missing(order.recipe, library, on_event, needed)
    refuse_secrets(needed, library, _texts(order), tuple(tokens))
    images = Images(library.root)
    plan = assemble(order, needed, library, view_of, on_event)
    plan = replace(plan, layers=tuple(_known(layer, images.layer(layer.key)) for layer in plan.layers))
    with contextlib.closing(target_of({})) as target:
        known = {part.digest: part.size for part in plan.parts if part.digest is not None}
        has = map_parallel(lambda digest: target.has(digest, known[digest]), list(known), target.parallel)
    plan = replace(plan, present=frozenset(digest for digest, there in zip(known, has, strict=True) if there))
    if order.at is None:
        return plan
    shared = likely_way(library.root, existing(order.at), (REFLINK, COPY)) == REFLINK
    return replace(plan, disk=disk_need(order.at, 0 if shared else plan.to_write, 0))


def carry_out(
    plan: ImagePlan,
    library: Library,
    replan: Callable[[], ImagePlan],
    target_of: Callable[[Mounts], Target],
    on_event: Listener,
    *,
    docker: bool = False,
) -> Built:
    """Write the layers of a plan to the target, then publish the image's name.

    `replan` makes the plan again if the library's files have changed since. Raise NotPreloaded for files that are not
    in the library any more, ImageError (its `end` is the side that failed: source or target), and IntegrityError for a
    blob that does not match its digest.
    """
    with claimed(plan.order, library, on_event) as needed:
        if list(needed) != list(plan.needed):
            plan = replan()
        plan.require()
        facts = [Images(library.root).layer(layer.key) for layer in plan.layers]
        with contextlib.closing(target_of(_mounts(plan.order.base, plan.layers, facts))) as target:
            target.begin()
            return _put(plan, library, target, on_event, docker=docker)


@contextlib.contextmanager
def claimed(order: BuildOrder, library: Library, on_event: Listener) -> Iterator[Required]:
    """Return the recipe's needs, protected from prune inside the `with` block. Raise NotPreloaded for missing files."""
    with library.wanted(*(snapshot for _, snapshot in all_required(order.recipe, library)), at=order.at):
        # Check again: a file may have been pruned before it was claimed.
        yield unmodified(order.recipe, library, on_event)


def _put(plan: ImagePlan, library: Library, target: Target, on_event: Listener, *, docker: bool) -> Built:
    order = plan.order
    base = [] if order.base.content is None else [order.base.content(one) for one in order.base.image.layers]
    contents: list[Content] = [*base, *plan.layers]
    on_event(Reading("write to the image", sum(not part.present for part in plan.parts), plan.to_write))

    def put(content: Content) -> tuple[str, str]:
        digest, how = target.put(content)
        on_event(LayerPut(content.name, str(digest), content.size, how))
        return str(digest), how

    came = map_parallel(put, contents, target.parallel)
    digests = [digest for digest, _ in came]
    took: dict[str, int] = {}
    for content, (_, how) in zip(contents, came, strict=True):
        took[how] = took.get(how, 0) + content.size
    images = Images(library.root)
    for layer, digest in zip(plan.layers, digests[len(base) :], strict=True):
        _remember(images, layer, digest, target.repository)
    manifest, config = _documents(order, plan, digests[len(base) :], docker=docker)
    target.publish(manifest, config)
    size = sum(one.size for one in contents) + len(config.body) + len(manifest.body)
    return Built(str(manifest.digest), size, len(contents), took)


def _documents(
    order: BuildOrder, plan: ImagePlan, digests: list[str], *, docker: bool
) -> tuple[ImageDocument, ImageDocument]:
    if order.form == MODELPACK:
        config = model_config(order.recipe.name, plan.annotations, digests)
        layers = tuple(model_layer(layer, digest) for layer, digest in zip(plan.layers, digests, strict=True))
        return write_manifest(config, layers, plan.annotations, docker=False, artifact=ARTIFACT), config
    on_top = [(digest, layer.name) for layer, digest in zip(plan.layers, digests, strict=True)]
    config = config_document(add_to_config(order.base.image.config, plan.additions, on_top))
    own = tuple(
        Descriptor(LAYER, sha256(digest.removeprefix("sha256:")), layer.size)
        for layer, digest in zip(plan.layers, digests, strict=True)
    )
    manifest = write_manifest(config, (*order.base.image.layers, *own), plan.annotations, docker=docker)
    return manifest, config


def _known(layer: Layer, fact: LayerFact | None) -> Layer:
    """Return the layer with its digest from an earlier build, if there is one: its key covers all of its files."""
    if fact is None or fact.size != layer.size:
        return layer
    try:
        return layer.known(Digest.parse(fact.digest), trusted=True)
    except UsageError:
        return layer  # an invalid record: compute the digest again


def _remember(images: Images, layer: Layer, digest: str, repository: str) -> None:
    """Record a layer's digest, and the repository that now has it."""
    before = images.layer(layer.key)
    pushed = list(before.pushed) if before else []
    if repository and repository not in pushed:
        pushed.append(repository)
    fact = LayerFact(digest, layer.size, pushed[-_MOST_REPOSITORIES:])
    if fact != before:
        images.keep_layer(layer.key, fact)


def _mounts(base: Base, layers: Iterable[Layer], facts: Iterable[LayerFact | None]) -> Mounts:
    """Return the repositories to mount each layer from: the base's repository, and those of earlier pushes."""
    found: dict[Digest, tuple[str, ...]] = {one.digest: (base.repository,) for one in base.image.layers}
    for layer, fact in zip(layers, facts, strict=True):
        if layer.digest is not None and fact is not None:
            found[layer.digest] = tuple(reversed(fact.pushed))
    return found


def _texts(order: BuildOrder) -> list[str]:
    recipe = order.recipe
    return [*recipe.command, *order.command, recipe.ready, *(f"{name}={value}" for name, value in recipe.env.items())]
