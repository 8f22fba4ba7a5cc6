"""Kubernetes workload: an app whose weights are in its image, or in one of their own that is copied or mounted."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from preheat.core.errors import UsageError
from preheat.core.events import Listener, Noted
from preheat.core.values.replace import replace
from preheat.deploy.kubernetes.workload import APART, Workload, outermost
from preheat.deploy.service import Service
from preheat.library.library import Library
from preheat.oci.layers.view_entries import HOME as PREHEAT_HOME
from preheat.proof.report.comparison import OlderReport
from preheat.proof.start.timeline import OFFLINE
from preheat.recipes.app_python import AppPython
from preheat.recipes.container_port import container_port
from preheat.recipes.offline_env import in_container
from preheat.recipes.places import CACHE, HOME, Places, split_place
from preheat.recipes.recipe import Recipe
from preheat.verbs.building.image_contents import GUARD, guard_options, lay_out
from preheat.verbs.deploying.service_terms import ServiceTerms, container_user, start_time
from preheat.verbs.locked_needs import all_required, fitting
from preheat.views.view_protocol import View

_TMP = "/tmp"  # noqa: S108 - the container's own
_NOBODY = "65534:65534"
_LOOPBACK = re.compile(r"(127\..*|localhost|\[::1\]):\d+")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ClusterTerms:
    """Options of an app in a cluster: where the weights come from, their image, the namespace, and a proof's report.

    `model_format` and `node_group` are KServe's: what its runtimes are chosen by, and the nodes that cache a model.
    """

    weights: str
    weights_image: str = ""
    namespace: str = "default"
    report: OlderReport | None = None
    model_format: str = "huggingface"
    node_group: str = ""


def kubernetes_workload(
    recipe: Recipe,
    library: Library,
    view_of: Callable[[str], View],
    environ: Mapping[str, str],
    terms: ServiceTerms,
    cluster: ClusterTerms,
    on_event: Listener,
) -> Workload:
    """Return an app for Kubernetes. Places and writes nothing.

    `recipe.folder` is the app's folder in its image, where the weights' folders are mounted. Only weights in an image
    of their own require it, and their files in the library. Raise UsageError for options that do not fit, NotPreloaded.
    """
    _check(terms, cluster)
    port = container_port(recipe, recipe.command, terms.status, terms.port)
    if port.number is None:
        on_event(Noted("ports", f"none: {recipe.name} names no port; in [app]: port = 7860"))
    if recipe.memory_snapshot:
        on_event(Noted("memory_snapshot", "left out: in a pod, CRIU would lack privileges"))
    apart = cluster.weights in APART
    laid = _laid_apart(recipe, library, view_of, on_event) if apart else None
    service = Service(
        name=recipe.name,
        command=_guarded(recipe, terms, port.ready, port.options) if laid else (),
        check=(),
        folder=None,
        env={**_homes(recipe, on_event), **(laid.env if laid else {})},
        user=container_user(Path("/"), terms.user) if terms.user else _NOBODY,
        scratch=tuple(dict.fromkeys((_TMP, *_homes(recipe).values()))),
        ready_within_s=terms.ready_within_s,
        stop_within_s=terms.stop_within_s,
        health_interval_s=terms.health_interval_s,
        start=start_time(recipe, library),
        has_gpu=bool(AppPython.of({**environ, **recipe.env}, recipe.folder, recipe.command).gpu),
    )
    return Workload(
        service=service,
        weights=cluster.weights,
        image=terms.image,
        weights_image=cluster.weights_image if apart else terms.image,
        namespace=cluster.namespace,
        status_port=int(terms.status.rpartition(":")[2]),
        port=port.number,
        folders=laid.folders if laid else (),
        size=laid.size if laid else 0,
        peak_memory=_peak(cluster.report, recipe.name),
    )


def _check(terms: ServiceTerms, cluster: ClusterTerms) -> None:
    if not terms.image:
        raise UsageError("a cluster requires the image's name in a registry", hint="--image REGISTRY/NAME@sha256:…")
    if cluster.weights in APART and not cluster.weights_image:
        raise UsageError(
            f"--weights {cluster.weights} requires an image with the weights",
            hint="--weights-image REGISTRY/NAME@sha256:…",
        )
    if cluster.weights not in APART and cluster.weights_image:
        raise UsageError(
            f"with --weights {cluster.weights} the weights are in the app's image",
            hint="--image without --weights-image",
        )
    if _LOOPBACK.fullmatch(terms.status):
        port = terms.status.rpartition(":")[2]
        raise UsageError(f"the kubelet cannot probe {terms.status}", hint=f"--status 0.0.0.0:{port}")
    if terms.front:
        raise UsageError("--front is for one machine; in a cluster, the Service has the app's port", hint="--port N")
    check_namespace(cluster.namespace)


def check_namespace(name: str) -> None:
    """Raise UsageError for a name that no namespace can have."""
    if not _NAMESPACE.fullmatch(name):
        raise UsageError(f"{name!r} is not the name of a namespace", hint="--namespace default")


@dataclass(frozen=True, slots=True)
class _LaidApart:
    """The weights in an image of their own: the folders to mount, the app's variables, the size in bytes."""

    folders: tuple[str, ...]
    env: Mapping[str, str]
    size: int


def _laid_apart(recipe: Recipe, library: Library, view_of: Callable[[str], View], on_event: Listener) -> _LaidApart:
    recipe = fitting(_with_places(recipe), on_event)
    required = all_required(recipe, library)
    inside = lay_out(recipe, required, library, view_of)
    named = [str(recipe.place_of(need)) for need, _ in required if need.at]
    folders = outermost((f"/{PREHEAT_HOME}", *named))
    for folder in folders:
        if recipe.folder.is_relative_to(folder):
            raise UsageError(
                f"the weights lie in {folder}, where a volume would hide the app's own files",
                hint="--weights image, or another `at` in the recipe",
            )
    hidden = [folder for folder in folders if folder != f"/{PREHEAT_HOME}"]
    if hidden:
        said = f"what the app's image has in {', '.join(hidden)} is hidden by the weights' volume"
        on_event(Noted("volume", said))
    env = {**in_container(recipe.env, hub=recipe.hub), **inside.environ, **recipe.env}
    sizes = {file.digest: file.size for _, snapshot in required for file in snapshot.files}
    return _LaidApart(folders, env, sum(sizes.values()))


def _with_places(recipe: Recipe) -> Recipe:
    """Return the recipe with the places that it sets itself; an image that is not known yet may have others."""
    home, cache, tmp = (recipe.env.get(name) for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR"))
    cache = cache or (f"{home}/.cache" if home else None)
    return replace(
        recipe,
        places=Places(
            recipe.folder, Path(home) if home else None, Path(cache) if cache else None, Path(tmp or _TMP), None, None
        ),
    )


def _guarded(recipe: Recipe, terms: ServiceTerms, ready: str, options: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command of an app whose image has no guard: it comes with the weights."""
    words = ("python3", f"/{GUARD}", "--ready-within", terms.ready_within, "--stop-within", terms.stop_within)
    named = ("--status", terms.status, "--name", recipe.name)
    return (*words, *named, *options, *guard_options(recipe, ready), "--", *recipe.command)


def _homes(recipe: Recipe, on_event: Listener | None = None) -> dict[str, str]:
    """Return the variables that give the pod's user a HOME to write to, unless weights lie there."""
    at = {split_place(need.at)[0] for need in recipe.needs if need.at}
    if "HOME" in recipe.env or not at.isdisjoint((HOME, CACHE)):
        if on_event is not None:
            on_event(Noted("HOME", "the recipe or its weights name it: it is read-only, unless you add an emptyDir"))
        return {}
    return {"HOME": _TMP}


def _peak(report: OlderReport | None, app: str) -> float:
    """Return the largest median of the app's memory in starts without a hub, in bytes; 0 without a report."""
    if report is None:
        return 0.0
    if report.app != app:
        raise UsageError(f"the report is about {report.app}, not {app}", hint="another --report")
    peaks = [
        peak
        for condition, figures in report.medians.items()
        if condition in OFFLINE and isinstance(peak := figures.get("peak_pss") or figures.get("peak_rss"), int | float)
    ]
    if not peaks:
        raise UsageError("the report has no start without a hub", hint="another --report")
    return max(peaks)
