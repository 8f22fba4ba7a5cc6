"""The `preheat serve-config` command."""

import argparse
import sys
from pathlib import Path

from preheat.api.building import recipe_inside
from preheat.cli.typed_units import read_address, read_period, read_seconds
from preheat.cli.wiring import Wiring
from preheat.core.errors import UsageError
from preheat.deploy.compose import compose
from preheat.deploy.kubernetes.manifests import manifests, model_manifests
from preheat.deploy.kubernetes.workload import APART, IMAGE, NODE, VOLUME, WAYS
from preheat.deploy.service import HEALTH_INTERVAL_S
from preheat.deploy.systemd import unit
from preheat.proof.report.comparison import read_older
from preheat.recipes.builtin_recipes import is_built_in
from preheat.recipes.recipe import FILE_NAME, Recipe
from preheat.verbs.deploying.compose_service import compose_service
from preheat.verbs.deploying.kserve_model import kserve_model
from preheat.verbs.deploying.kubernetes_workload import ClusterTerms, kubernetes_workload
from preheat.verbs.deploying.service_terms import ServiceTerms, is_user
from preheat.verbs.deploying.systemd_service import systemd_service
from preheat.verbs.locked_needs import fitting
from preheat.verbs.placing.allowed_places import require_inside

_CLUSTERS = ("k8s", "kserve")
_FOR_KSERVE = ("model_format", "node_group")
_FOR_CLUSTERS = ("weights", "weights_image", "namespace", "report", *_FOR_KSERVE)
# systemd needs no status page, and two units on one host would use the same port.
_STATUS = {"systemd": "", "compose": "127.0.0.1:7861", "k8s": "0.0.0.0:7861", "kserve": "0.0.0.0:7861"}
_KSERVE_WAYS = (IMAGE, NODE, VOLUME)


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat serve-config`; return the exit status."""
    _separate_user(options)
    recipe = wiring.recipe(options.app)
    if not recipe.command:
        raise UsageError(f"{recipe.name} has no command", hint="command = […] in [app]")
    if options.kind in _CLUSTERS:
        text = _manifests(options, wiring, recipe)
        wiring.console.done({"kind": options.kind, "text": text}, text.rstrip("\n"))
        return 0
    if given := next((one for one in _FOR_CLUSTERS if getattr(options, one)), None):
        raise UsageError(f"--{given.replace('_', '-')} is for Kubernetes", hint="serve-config k8s, or leave it out")
    terms = _terms(options)
    if not terms.built:  # what is in an image was decided when it was built
        recipe = fitting(recipe, wiring.on_event)
    require_inside(recipe, wiring.permissions)
    if options.kind == "systemd":
        words = (str(Path(sys.argv[0]).absolute()), "run", *_named(recipe, options))
        environ = wiring.config.environ
        text = unit(systemd_service(recipe, words, wiring.library, wiring.permissions, terms, environ, wiring.on_event))
    else:
        session = (wiring.library, wiring.view, wiring.config.environ, wiring.permissions)
        text = compose(*compose_service(recipe, *session, terms, wiring.on_event))
    wiring.console.done({"kind": options.kind, "text": text}, text.rstrip("\n"))
    return 0


def _manifests(options: argparse.Namespace, wiring: Wiring, recipe: Recipe) -> str:
    """Return the Kubernetes objects of an app, whose folder in the image is `--dir`."""
    if not options.weights:
        ways = _KSERVE_WAYS if options.kind == "kserve" else WAYS
        raise UsageError("--weights is required", hint=f"--weights {'|'.join(ways)}")
    if options.built:
        raise UsageError("--built is for compose", hint="--weights image")
    report = read_older(Path(options.report)) if options.report else None
    cluster = ClusterTerms(
        options.weights,
        options.weights_image or "",
        options.namespace or "default",
        report,
        options.model_format or "huggingface",
        options.node_group or "",
    )
    if options.kind == "kserve":
        if options.weights not in _KSERVE_WAYS:
            raise UsageError(f"--weights {options.weights} is for k8s", hint=f"--weights {'|'.join(_KSERVE_WAYS)}")
        if options.weights != IMAGE:
            if options.health_interval:
                raise UsageError("--health-interval: KServe's runtimes have probes of their own", hint="leave it out")
            model = kserve_model(recipe, wiring.library, wiring.config.environ, cluster, wiring.on_event)
            return model_manifests(model)
    elif given := next((one for one in _FOR_KSERVE if getattr(options, one)), None):
        raise UsageError(f"--{given.replace('_', '-')} is for kserve", hint="leave it out")
    if options.weights in APART:
        if not options.dir or not options.dir.startswith("/"):
            raise UsageError(
                f"--weights {options.weights} requires the app's folder in its image", hint="--dir /app, as for build"
            )
        recipe = recipe_inside(recipe, options.app, Path(options.dir))
    terms, environ = _terms(options), wiring.config.environ
    session = (wiring.library, wiring.image_view, environ)
    return manifests(
        kubernetes_workload(recipe, *session, terms, cluster, wiring.on_event), kserve=options.kind == "kserve"
    )


def _separate_user(options: argparse.Namespace) -> None:
    """Take the word after `--user` as the app, as in `systemctl --user NAME`, if it is no user. Raise UsageError."""
    word = options.user
    if options.kind == "systemd" and word and options.app is None and not is_user(word):
        if "/" in word or word.endswith(".toml") or is_built_in(word):
            options.app, options.user = word, ""
    elif word == "" and options.kind != "systemd":
        raise UsageError("--user requires the user of the container", hint="--user UID:GID")


def _terms(options: argparse.Namespace) -> ServiceTerms:
    status = options.status or _STATUS[options.kind]
    if status:
        read_address(status)
    if options.front:
        read_address(options.front)
    if options.kind == "systemd" and options.front and options.port is not None:
        raise UsageError("--port and --front exclude each other", hint="the front chooses the app's own port")
    if options.kind == "systemd" and options.health_interval:
        raise UsageError("--health-interval is for compose and k8s: systemd has no health checks", hint="leave it out")
    if options.built and not options.image:
        raise UsageError("--built requires the image's name", hint="--image NAME --built")
    return ServiceTerms(
        status=status,
        ready_within=options.ready_within,
        stop_within=options.stop_within,
        ready_within_s=read_seconds(options.ready_within),
        stop_within_s=read_seconds(options.stop_within),
        front=options.front or "",
        port=options.port,
        user=options.user or "",
        own=options.user == "",
        health_interval_s=read_period(options.health_interval) if options.health_interval else HEALTH_INTERVAL_S,
        image=options.image or "",
        built=options.built,
    )


def _named(recipe: Recipe, options: argparse.Namespace) -> tuple[str, ...]:
    if options.app is not None and is_built_in(options.app):
        return options.app, "--dir", str(recipe.folder)
    return (str(recipe.path or recipe.folder / FILE_NAME),)
