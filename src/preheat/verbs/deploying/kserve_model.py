"""KServe model: the one model of a recipe, as a modelcar or at the commit that the lock pins."""

from collections.abc import Mapping

from preheat.core.errors import UsageError
from preheat.core.events import Listener, Noted
from preheat.core.ref import HUGGING_FACE, MODEL
from preheat.deploy.kubernetes.served_model import ServedModel
from preheat.deploy.kubernetes.workload import NODE, VOLUME
from preheat.library.library import Library
from preheat.recipes.app_python import AppPython
from preheat.recipes.recipe import Recipe
from preheat.verbs.deploying.kubernetes_workload import ClusterTerms, check_namespace
from preheat.verbs.locked_needs import required

_HINT = "--weights image: KServe starts the app itself"


def kserve_model(
    recipe: Recipe, library: Library, environ: Mapping[str, str], cluster: ClusterTerms, on_event: Listener
) -> ServedModel:
    """Return the recipe's model for a serving runtime of KServe, which knows one model and not the app's folders.

    Raise UsageError for a recipe with several models, or options that do not fit. Raise NotPreloaded for a cache on
    nodes if the files, whose size it states, are not in the library.
    """
    check_namespace(cluster.namespace)
    if len(recipe.needs) != 1:
        raise UsageError(f"a serving runtime of KServe serves one model, not {len(recipe.needs)}", hint=_HINT)
    [need] = recipe.needs
    has_gpu = bool(AppPython.of({**environ, **recipe.env}, recipe.folder, recipe.command).gpu)
    if cluster.weights == VOLUME:
        if not cluster.weights_image:
            raise UsageError("a modelcar requires its image's name", hint="--weights-image REGISTRY/NAME@sha256:…")
        if need.at:
            raise UsageError(
                f"KServe expects the model in /models of a modelcar, not in /models/{need.at}",
                hint=f"{_HINT}; or no `at`",
            )
        uri = f"oci://{cluster.weights_image.removeprefix('oci://')}"
        return ServedModel(recipe.name, VOLUME, uri, cluster.model_format, cluster.namespace, has_gpu=has_gpu)
    if need.ref.hub != HUGGING_FACE or need.ref.kind != MODEL:
        raise UsageError(
            f"KServe's cache on nodes cannot fetch {need.ref}", hint="--weights volume, or --weights image"
        )
    if not cluster.node_group:
        raise UsageError("--weights node requires a LocalModelNodeGroup", hint="--node-group NAME")
    snapshot = required(need, library, recipe.typed)
    if need.files:
        on_event(Noted(str(need.ref), "KServe downloads all files of the commit, not only those that the recipe names"))
    return ServedModel(
        recipe.name,
        NODE,
        f"hf://{need.ref.repo}:{snapshot.commit}",
        cluster.model_format,
        cluster.namespace,
        node_group=cluster.node_group,
        size=sum(file.size for file in snapshot.files),
        has_gpu=has_gpu,
    )
