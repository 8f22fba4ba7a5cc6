"""Hinted: each text of the code that names a command, and what a user types who follows it."""

import re
import shlex
import signal
import sys
from pathlib import Path

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.guard.apps import free_port
from tests.stories.caches import hf_cache, write

# Each text of the code that names a command, with the command that a user then types in the folder of `world`.
TYPED = {
    "where the container can reach it: preheat mirror --listen 0.0.0.0:8000; and name it in the recipe: env = "
    '{ HF_ENDPOINT = "http://HOST:8000", MODELSCOPE_ENDPOINT = '
    '"http://HOST:8000" }': "preheat mirror --listen 0.0.0.0:{port}",
    "{} in the library that no start opened; to remove them: "
    "preheat prune --unread --yes": "preheat prune --unread --yes",
    "command = […] in [app], or preheat run APP -- CMD": "preheat run preheat.toml -- true",
    "digests: none shipped; to pin those that the hub lists: preheat lock {}": "preheat lock preheat.toml",
    "do not trust this hub; to list what changed: preheat lock --check": "preheat lock --check",
    "pass the path of a preheat.toml; to write one: preheat trace -- CMD; without one: "
    "preheat run -- CMD": "preheat run -- true",
    "to start a program: preheat run -- python {}": "preheat run -- python webui.py",
    "its models: preheat ls '{}/*'; ": "preheat ls 'acme/*'",
    "preheat pull {}{}": "preheat pull acme/tiny --files config.json",
    "to start a program with it: preheat run -- CMD; its files: preheat show {}": "preheat run -- true",
    "to download it: preheat pull {}; to start a program with it then: preheat run -- CMD": "preheat pull acme/tiny",
    "its models in the library: preheat ls {}": "preheat ls acme/tiny",
    "none of its models is in the library; to download them: preheat pull {}": "preheat pull preheat.toml",
    "to pull the app of that name: preheat pull {}; ": "preheat pull preheat.toml",
    "    to free them: {}; preheat prune --yes --younger 0s": "preheat prune --yes --younger 0s",
    "preheat adopt {}": "preheat adopt hub",
    "preheat adopt ~/.cache/huggingface": "preheat adopt ~/.cache/huggingface",
    "preheat lock": "preheat lock",
    "to pin the files: preheat lock; or pull without --from": "preheat lock",
    "to find the damaged blobs: preheat verify": "preheat verify",
    "a program has written to it in place since it was folded, and so to the library's copy and all other links of it; "
    "to take that copy out of use: preheat verify": "preheat verify",
    "preheat lock {}": "preheat lock preheat.toml",
    "preheat lock --check --replay": "preheat lock --check --replay",
    "to update it: preheat lock": "preheat lock",
    "what was verified is noted; to continue: preheat verify --since 24h": "preheat verify --since 24h",
    "to list all models: preheat ls": "preheat ls",
    "to list the pins: preheat ls": "preheat ls",
    "to list them: preheat ls": "preheat ls",
    "preheat run --locked {}": "preheat run --locked preheat.toml",
    "preheat prune": "preheat prune",
    "preheat prune --old": "preheat prune --old",
    "preheat pull": "preheat pull",
    "preheat pull {}": "preheat pull acme/tiny",
    "preheat pull owner/name; to list the built-in apps: preheat recipes": "preheat recipes",
    "to get the current version: preheat pull {}": "preheat pull acme/tiny",
    "preheat pull {}, when no process changes it": "preheat pull file:plain",
    "preheat pull OWNER/NAME --endpoint hf={}": "preheat pull acme/tiny --endpoint hf={url}",
    "preheat recipes": "preheat recipes",
    "to see the format: preheat recipes --form": "preheat recipes --form",
    "preheat run": "preheat run",
    "preheat run -- CMD; is a variable in it unset?": "preheat run -- true",
    "to see it again: preheat run --network none {}; "
    "docs/trace.md says what to do": "preheat run --network none preheat.toml",
    "preheat run {}": "preheat run preheat.toml",
    "preheat run{}": "preheat run preheat.toml",
    "preheat run{} --mmap-weights": "preheat run preheat.toml --mmap-weights",
    "preheat stage --to DIR --release JOB": "preheat stage --to nvme --release 17",
    "preheat stage REF|APP --to DIR; to list the built-in apps: preheat recipes": "preheat recipes",
    "preheat trace -- python webui.py": "preheat trace -o traced.toml -- python webui.py",
    "preheat trace --force -- {}": "preheat trace --force -o traced.toml -- python webui.py",
    "preheat unpin {}, then remove it": "preheat unpin acme/tiny",
    "preheat verify --mend, or pull again": "preheat verify --mend",
    "run preheat doctor, then try again": "preheat doctor",
    "to record the digests while the first hub is available: preheat lock": "preheat lock",
    "on a machine that can write to the library: preheat verify": "preheat verify",
    "run preheat verify, or use another base": "preheat verify",
    "the source is damaged: run preheat verify, or download it again": "preheat verify",
    "use --size-cap {}G or more, or preheat unpin NAME": "preheat unpin acme/tiny",
    "{}--dir requires one; to list them: preheat recipes": "preheat recipes",
    "{}to list all models: preheat ls": "preheat ls",
    "{}to list them: preheat recipes": "preheat recipes",
    "{}. Next: preheat run --locked --network none{} {}": "preheat run --locked --network none preheat.toml",
    "{}; not replayed; to replay it: preheat lock --check --replay {}": "preheat lock --check --replay preheat.toml",
    "{}; {}; or make it again: preheat trace -- CMD": "preheat trace -o again.toml -- python webui.py",
}  # fmt: skip
# Texts whose commands need more than `world`, each with the test that provokes it and follows it.
FOLLOWED = {
    "if it is a bundle: preheat import {}": (
        "tests.stories.test_bundles",
        "test_a_bundle_that_is_pulled_leads_to_its_import",
    ),
    "possible: preheat run --memory-snapshot": (
        "tests.stories.test_memory_snapshots",
        "test_the_second_start_restores_the_first_and_reads_its_model_from_the_library",
    ),
    "{} is not measured yet; to measure it: preheat prove": (
        "tests.stories.test_doctor",
        "test_imports_are_named_once_a_start_was_measured",
    ),
    "preheat pull MODEL --from {}": (
        "tests.stories.test_pull_from_images",
        "test_without_a_lock_the_image_lists_the_files",
    ),
    "do not trust this bundle; if the library is wrong, remove its files first: preheat rm {}": (
        "tests.stories.test_bundles",
        "test_a_bundle_does_not_replace_what_the_library_has_of_a_commit",
    ),
    "to place it by hand: preheat view {} DIR REF": (
        "tests.stories.test_app_views",
        "test_a_recipe_cannot_have_a_view_that_depends_on_what_the_files_are",
    ),
    "preheat prove --json > old.json": ("tests.stories.test_prove_judges", "test_a_slower_app_is_flagged"),
    "preheat pull {} --endpoint made=URL; URL is a mirror of the library that has it": (
        "tests.stories.test_unpacked_and_made",
        "test_made_files_come_from_another_preheats_mirror",
    ),
    "or carry it over: preheat export APP -o app.tar, where it was traced; here: preheat import app.tar": (
        "tests.stories.test_made_again",
        "test_a_missing_made_need_does_not_stop_the_pull_of_the_others",
    ),
}
# Texts with a command's name that nobody is to type.
NAMED = {
    "Basic realm=\"preheat mirror: the token as the password\", charset=\"UTF-8\"",
    "Bearer realm=\"preheat mirror\"",
    "Found by preheat trace on {}, from one start. Files that only later use needs are not in it.",
    "The last line of preheat prove --json",
    "another preheat trace is running in {}",
    "made:APP/NAME, as `preheat trace` writes it",
    "preheat mirror",
    "preheat mirror: {}, {}",
    "preheat trace",
    "was it built by preheat build?",
    "{} is not a report of preheat prove",
    "{}: preheat pull and run need --allow-place {}: {}",
}  # fmt: skip

RECIPE = f"""[app]
name = "small"
command = [{sys.executable!r}, "-c", "print('listening', flush=True)"]
ready = "line:listening"

[[needs]]
ref = "acme/tiny"
files = ["config.json"]
"""


def world(preheat: Preheat) -> None:
    """Prepare a folder with an app that is locked and pulled, a pinned model, and caches of other programs."""
    folder = preheat.folder
    write(folder / "preheat.toml", RECIPE.encode())
    write(folder / "webui.py", b"print('listening', flush=True)")
    write(folder / "plain/config.json", b"{}")
    for cache in ("hub", ".cache/huggingface/hub"):
        hf_cache(folder / cache, "acme/voice", {"config.json": b"{}"})
    preheat.env["PATH"] = f"{Path(sys.executable).parent}:{preheat.env['PATH']}"
    for words in (("pull", "acme/tiny"), ("pin", "acme/tiny"), ("lock",)):
        told = preheat(*words)
        assert told.status == 0, told.err


def type_all(preheat: Preheat, hub: FlakyHub) -> list[tuple[str, int, str]]:
    """Type each command of `TYPED`; return those that failed, with their status and what they said."""
    failed = []
    for command in dict.fromkeys(TYPED.values()):
        typed = command.format(url=hub.url, port=free_port()).replace("~", str(preheat.folder))
        words = shlex.split(typed.partition(" > ")[0])[1:]
        if words[0] == "mirror":
            running = preheat.start(*words, "--json")
            running.event("serving")
            told = running.kill(signal.SIGTERM)
        else:
            told = preheat(*words)
        if told.status:
            failed.append((command, told.status, told.out[-2000:] + told.err))
    return failed


def follows(text: str, command: str) -> bool:
    """Return whether a command is one that a text names: word by word, with what a user inserts, and nothing after it.

    `{}`, and words in capitals, stand for what the code or the user inserts.
    """
    for at in [found.start() for found in re.finditer(r"\bpreheat ", text)]:
        named = re.split(r"[;,] |$", text[at:], maxsplit=1)[0]
        pattern = re.sub(r"\\\{\\\}", "(.*)", re.escape(named))
        pattern = re.sub(r"\b(CMD|APP|DIR|JOB|NAME|OWNER/NAME|owner/name|URL)\b", "(.+)", pattern)
        typed = command.replace(" -o traced.toml", "").replace(" -o again.toml", "").replace("{port}", "8000")
        if re.fullmatch(pattern, typed) or (named.endswith("-- CMD") and typed.startswith(named.removesuffix("CMD"))):
            return True
    return False
