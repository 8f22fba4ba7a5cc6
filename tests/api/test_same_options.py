"""Each option of a verb is also in the Python API: an argument of its function, or a field of its terms or settings."""

import dataclasses
import inspect
from collections.abc import Callable

import msgspec
import pytest

from preheat import api
from preheat.api.building import ImageTerms, check_built, write_docker_context
from preheat.api.mirroring import MirrorTerms, RunningMirror
from preheat.api.proving import Proof
from preheat.api.running import Guarding
from preheat.api.settings import Settings
from preheat.api.staging.stage import StageTerms
from preheat.api.tracing import TraceTerms
from preheat.cli.parser import parser
from preheat.guard.model.life import RestartPolicy
from preheat.verbs.staging.make_room import StageLimits
from preheat.verbs.tracing.readiness import TraceWatch

# The functions and terms of each verb.
PARTS: dict[str, tuple[Callable[..., object], ...]] = {
    "pull": (api.pull, api.plan_pull),
    "run": (api.run, Guarding, RestartPolicy),
    "view": (api.view, api.plan_view),
    "mirror": (api.mirror, MirrorTerms, RunningMirror.stop),
    "stage": (api.stage, api.release, StageTerms, StageLimits),
    "trace": (api.trace, TraceTerms, TraceWatch),
    "lock": (api.lock, api.check_lock, api.replay),
    "build": (api.build, api.plan_build, ImageTerms, check_built, write_docker_context),
    "prove": (api.prove, Proof),
    "status": (api.status,),
    "ls": (api.ls,),
    "pin": (api.pin,),
    "unpin": (api.unpin,),
    "rm": (api.remove, api.plan_remove),
    "prune": (api.prune, api.plan_prune),
    "verify": (api.verify,),
    "adopt": (api.adopt, api.plan_adopt),
    "fold": (api.fold, api.plan_fold, api.unfold, api.watch_fold),
    "export": (api.export, api.plan_export),
    "import": (api.import_bundle,),
    "push": (api.push, api.plan_push),
}
# Verbs that print what a file or a value of the API has already.
WITHOUT = {
    "completion": "the shell reads it",
    "doctor": "preheat.verbs.doctor.doctor returns the same values",
    "recipes": "preheat.recipes.builtin_recipes has them",
    "serve-config": "it prints a file",
    "show": "Session.library.find returns the snapshot",
}
# Options whose argument has another name.
NAMES = {
    "allow_place": "allowed_places",
    "connect_timeout": "connect_s",
    "endpoint": "endpoints",
    "patience": "patience_s",
    "read_timeout": "read_s",
    "token_for": "tokens_for",
    "dir": "folder",
    "view": "views",
    "at": "folder",
    "access_log": "access_log",
    "folder": "folders",
    "grace": "patience_s",
    "host": "hosts",
    "listen": "address",
    "remember": "remember_s",
    "tls_name": "tls_names",
    "mirror": "mirrors",
    "max_size": "size",
    "max_age": "age_s",
    "release": "job",
    "upstream": "upstreams",
    "upstream_token": "upstream_tokens",
    "drain_within": "drain_within_s",
    "every": "every_s",
    "hang_after": "hang_after_s",
    "idle_after": "idle_after_s",
    "health_interval": "health_interval_s",
    "ready_within": "ready_within_s",
    "stop_within": "stop_within_s",
    "settle": "settle_s",
    "since": "since_s",
    "younger": "younger_s",
    "memory": "memory_snapshots",
    "all": "all_versions",
    "runs": "rounds",
    "observe": "observe_s",
    "hub_rate": "imitated",
    "hub_rtt": "imitated",
    "guard": "status",
    "split": "piece",
}
# Options that only a command line needs, with what a program uses instead.
EXCEPTIONS = {
    ("pull", "dry_run"): "plan_pull",
    ("pull", "exclude"): "!PATTERN in files",
    ("pull", "cache_dir"): "views",
    ("pull", "local_dir"): "views",
    ("pull", "repo_type"): "the model's name",
    ("pull", "revision"): "the model's name",
    ("pull", "token"): "tokens_for",
    ("view", "dry_run"): "plan_view",
    ("trace", "no_replay"): "replay",
    ("trace", "ready_within"): "TraceWatch's limit",
    ("lock", "check"): "check_lock",
    ("lock", "replay"): "the function replay",
    ("build", "check"): "check_built",
    ("build", "ready_within"): "check_built's within_s",
    ("build", "dockerfile"): "write_docker_context",
    ("build", "dry_run"): "plan_build",
    ("prove", "allow_outbound"): "Report.online",
    ("prove", "compare"): "preheat.proof.report.comparison.compare",
    ("prove", "fail_if"): "preheat.proof.report.fail_if.read_criterion",
    ("prove", "lang"): "preheat.proof.report.html_page.page",
    ("prove", "report"): "preheat.proof.report.html_page.page",
    ("stage", "export"): "Staged.environ",
    ("rm", "dry_run"): "plan_remove",
    ("rm", "yes"): "plan_remove",
    ("prune", "dry_run"): "plan_prune",
    ("prune", "yes"): "plan_prune",
    ("adopt", "dry_run"): "plan_adopt",
    ("fold", "dry_run"): "plan_fold",
    ("fold", "lang"): "preheat.verbs.folding.fold_page.fold_page",
    ("fold", "report"): "preheat.verbs.folding.fold_page.fold_page",
    ("fold", "timer"): "preheat.deploy.fold_timer.fold_units",
    ("fold", "undo"): "unfold",
    ("fold", "watch"): "watch_fold",
    ("fold", "yes"): "plan_fold",
    ("export", "dry_run"): "plan_export",
    ("push", "dry_run"): "plan_push",
}
EVERYWHERE = {"help", "library", "json", "events", "verbosity"}


def arguments(part: Callable[..., object]) -> set[str]:
    """Return the names of a function's arguments, or of the fields of a dataclass or struct."""
    if isinstance(part, type) and issubclass(part, msgspec.Struct):
        return set(part.__struct_fields__)
    if dataclasses.is_dataclass(part):
        return {field.name for field in dataclasses.fields(part)}
    return set(inspect.signature(part).parameters)


def options(verb: str) -> set[str]:
    """Return the names of a verb's own options and arguments."""
    return {action.dest for action in parser(verb).verbs[verb]._actions} - EVERYWHERE


def test_each_verb_has_a_function_or_a_stated_reason() -> None:
    assert set(parser().verbs) == {*PARTS, *WITHOUT}


@pytest.mark.parametrize("verb", PARTS)
def test_each_option_has_an_argument_or_a_stated_reason(verb: str) -> None:
    known = arguments(Settings).union(*map(arguments, PARTS[verb]))
    lacking = {name for name in options(verb) if name not in known and NAMES.get(name) not in known}
    assert lacking == {name for of, name in EXCEPTIONS if of == verb}


def test_no_exception_is_stale() -> None:
    assert [one for one in EXCEPTIONS if one[1] not in options(one[0])] == []
    every = {name for verb in PARTS for name in options(verb)}
    assert sorted(NAMES.keys() - every) == []
