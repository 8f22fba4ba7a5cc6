"""Check image: start a built image without a network, and check that every file of its lock is in it."""

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from preheat.core.errors import CheckFailed, ImageError
from preheat.core.events import Listener, Noted, Read, Reading
from preheat.core.units import say_some
from preheat.oci.config.image_config import ConfigAdditions, starts
from preheat.oci.config.inspection import has_empty_base, inspect, own_layers
from preheat.recipes.lock_file import read_lock
from preheat.verbs.building.build_order import Base

_FETCHES = ("Downloading", "downloading from")
_LOOKS_EVERY_S = 0.3
_STAYS_S = 3.0
_ANSWERS_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Checked:
    """The number of files that match the lock, and the seconds until the app was ready; None if it was not started."""

    files: int
    ready_s: float | None


def check_image(
    base: Base, place: str, ready_within_s: float, on_event: Listener, *, plain_http: bool = False
) -> Checked:
    """Check the image that `base` reads; `place` is its name for podman.

    Raise CheckFailed if a file is missing, or if the app tries to download or is not ready in time; ImageError if the
    image cannot be read.
    """
    files = _check_files(base, on_event)
    if not any(starts(base.image.config, ConfigAdditions())):
        on_event(Noted("check", "the image has no command to start: only its files were checked"))
        return Checked(files, None)
    if has_empty_base(base.image):
        on_event(Noted("check", "the image cannot be started, as its base is scratch: only its files were checked"))
        return Checked(files, None)
    if shutil.which("podman") is None:
        on_event(Noted("podman", "not found: the files are correct, but the image was not started"))
        return Checked(files, None)
    return Checked(files, _start(base, place, ready_within_s, on_event, plain_http=plain_http))


def _check_files(base: Base, on_event: Listener) -> int:
    assert base.content is not None, "not scratch"
    layers = own_layers(base.image)
    on_event(Reading("check", len(layers), sum(layer.size for layer in layers)))
    found = inspect(base.image, base.content, lambda size: on_event(Read(size)))
    if not found.lock:
        raise CheckFailed("the image has no lock", hint="was it built by preheat build?")
    with TemporaryDirectory(prefix="preheat-") as aside:
        path = Path(aside) / "preheat.lock"
        path.write_text(found.lock, encoding="utf-8")
        lock = read_lock(path)
    assert lock is not None, "it was written just now"
    wanted = [(pinned.need.ref, file) for pinned in lock.needs for file in pinned.snapshot.files]
    missing = [f"{file.path} of {ref}" for ref, file in wanted if file.digest not in found.digests]
    if missing:
        raise CheckFailed(f"{say_some(missing)}: missing, or different from its lock", hint="build the image again")
    return len(wanted)


def _start(base: Base, place: str, within_s: float, on_event: Listener, *, plain_http: bool) -> float | None:
    before = set(_podman("images", "--quiet", "--no-trunc").split())
    insecure = ["--tls-verify=false"] if plain_http else []
    image = _podman("pull", "--quiet", *insecure, place).split()[-1]
    began = time.monotonic()
    container = _podman("run", "--detach", "--network=none", image).split()[-1]
    try:
        asked = _health_command(base)
        if not asked:
            on_event(Noted("check", f"the image has no health check: it must stay up for {_STAYS_S:.0f} s"))
        ready = _wait(container, asked, began, within_s)
        logs = _logs(container)
        fetched = next((line for line in logs.splitlines() if any(word in line for word in _FETCHES)), "")
        if fetched:
            raise CheckFailed(f"the app tries to download: {fetched.strip()[:200]}", hint="add it to the recipe")
        return ready
    finally:
        _podman("rm", "--force", "--time", "5", container)
        if not any(one.endswith(image) for one in before):
            _podman("rmi", "--force", image)


def _health_command(base: Base) -> Sequence[str]:
    """Return the command of the image's health check, empty if there is none."""
    config = base.image.config.get("config")
    health = config.get("Healthcheck") if isinstance(config, dict) else None
    test = health.get("Test") if isinstance(health, dict) else None
    match test:
        case ["CMD", *words]:
            return [str(word) for word in words]
        case ["CMD-SHELL", words]:
            return ["/bin/sh", "-c", str(words)]
    return ()


def _wait(container: str, asked: Sequence[str], began: float, within_s: float) -> float:
    while True:
        took = time.monotonic() - began
        state = json.loads(_podman("inspect", "--format", "{{json .State}}", container))
        if not state.get("Running"):
            last = _logs(container).strip().splitlines()[-1:]
            raise CheckFailed(
                f"the app exited with status {state.get('ExitCode')} before it was ready: {''.join(last)[:200]}",
                hint="podman run --network=none shows its output",
            )
        if asked and _ask("exec", container, *asked, within_s=_ANSWERS_WITHIN_S).returncode == 0:
            return took
        if not asked and took >= _STAYS_S:
            return took
        if took >= within_s:
            raise CheckFailed(f"the app was not ready within {within_s:.0f} s", hint="more time: --ready-within 20m")
        time.sleep(_LOOKS_EVERY_S)


def _logs(container: str) -> str:
    done = _ask("logs", container)
    return done.stdout + done.stderr


def _podman(*words: str) -> str:
    done = _ask(*words)
    if done.returncode:
        last = "".join(done.stderr.strip().splitlines()[-1:])
        raise ImageError(f"podman {words[0]} failed: {last}", hint="can podman run containers on this machine?")
    return done.stdout


def _ask(*words: str, within_s: float | None = None) -> "subprocess.CompletedProcess[str]":
    command = ["podman", *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=within_s)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", "")
