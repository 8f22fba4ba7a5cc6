"""The modules that the command imports before it starts an app, which waits for that."""

import re

from tests.command import Preheat
from tests.flaky_hub import FlakyHub

# A hub's client, what reads archives, and what only options of `run`, downloads or hashing need.
_UNUSED = {
    "dataclasses",
    "hashlib",
    "importlib.resources",
    "json",
    "pickle",
    "platformdirs",
    "preheat.api.plans",
    "preheat.api.upkeep",
    "preheat.disk.file_hash",
    "preheat.guard.net.network_namespace",
    "preheat.guard.witness.connections",
    "preheat.hubs.huggingface",
    "preheat.library.blobs.partial",
    "preheat.net.http",
    "preheat.verbs.upkeep.verify",
    "preheat.views.layouts.modelscope_old",
    "socket",
    "ssl",
    "tempfile",
    "urllib3",
    "zipfile",
}

# Each module takes 0.1 ms of an app's start.
_MOST_MODULES = 165


def _pulled(preheat: Preheat) -> None:
    preheat("pull", "acme/tiny", "--files", "*.json")
    (preheat.folder / "preheat.toml").write_text(
        '[app]\nname = "talk"\n[[needs]]\nref = "hf:acme/tiny"\nfiles = ["*.json"]'
    )


def test_run_with_a_complete_library_imports_only_what_it_uses(preheat: Preheat, hub: FlakyHub) -> None:
    _pulled(preheat)
    told = preheat("run", "--", "/bin/true", PYTHONPROFILEIMPORTTIME="1")
    imported = set(re.findall(r"^import time: .*\| +(\S+)$", told.err, re.MULTILINE))
    assert told.status == 0, told.err
    assert "preheat.verbs.run" in imported
    assert not imported & _UNUSED
    assert sum(name.startswith("preheat.") for name in imported) <= _MOST_MODULES


def test_what_reads_a_start_list_ahead_is_imported_once_the_app_is_being_started(preheat: Preheat) -> None:
    (preheat.folder / "preheat.toml").write_text('[app]\nname = "talk"')
    (preheat.folder / "preheat.lock").write_text('version = 1\n[start]\nreads = "{dir}/preheat.toml"\n')
    told = preheat("run", "--", "/bin/sleep", "1", PYTHONPROFILEIMPORTTIME="1")
    assert told.status == 0, told.err
    before, starting, after = told.err.partition("app starting")
    assert starting
    assert "preheat.guard.warm_up" not in before
    assert "preheat.guard.warm_up.start_list" in after
