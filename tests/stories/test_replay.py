"""Replay: trace ends with 0 only when the app has started from its recipe alone, without a network."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from preheat.guard.net.network_namespace import why_not
from tests.command import Preheat
from tests.stories.test_trace import SCRIPT, traced, write_app

__all__ = ["traced"]

KEEPS = """
import shutil
os.makedirs("weights", exist_ok=True)
if not os.path.exists("weights/own.bin"):
    shutil.copyfile(get("model.safetensors"), "weights/own.bin")
"""
# As nltk does since 3.10.
REFUSES_LINKS = """
look = os.lstat("weights/own.bin")
if os.path.islink("weights/own.bin") or look.st_nlink > 1: raise SystemExit("a link is not trusted")
open("weights/own.bin", "rb").read()
"""
# Neither overlays nor network namespaces: no privileges, and no further user namespaces.
CONFINED = (
    "unshare", "-U", "-r", "sh", "-c",
    'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --inh-caps=-all --bounding-set=-all "$@"', "sh",
)  # fmt: skip


def recipe(preheat: Preheat) -> str:
    return (preheat.folder / "preheat.toml").read_text()


def test_app_that_refuses_links_gets_copies_also_when_it_runs(traced: Preheat) -> None:
    write_app(traced, KEEPS + REFUSES_LINKS)
    told = traced("trace", "--json", "--", *SCRIPT)
    assert told.status == 0, told.err
    links = {need["ref"]: need.get("link") for need in _needs(traced) if need.get("at") == "weights"}
    assert list(links.values()) == ["copy"]
    assert [need.get("link") for need in _needs(traced) if need.get("at") is None] in ([], [None])
    told = traced("run", "--locked", HF_ENDPOINT="http://127.0.0.1:9")
    assert told.status == 0, told.err


def test_app_that_asks_for_an_unread_file_at_each_start_gets_it(traced: Preheat) -> None:
    write_app(traced, "open(get('model.safetensors'), 'rb').read(); get('voices/deep/low.bin')")
    told = traced("trace", "--json", "--", *SCRIPT)
    assert told.status == 0, told.err
    assert "low.bin" in recipe(traced)


def test_app_that_goes_online_at_each_start_ends_trace_with_8(traced: Preheat) -> None:
    goes = "import socket\ntry: socket.getaddrinfo('telemetry.invalid', 443)\nexcept OSError: pass\n"
    write_app(traced, goes + "open(get('config.json')).read()")
    told = traced("trace", "--", *SCRIPT)
    assert told.status == 8, told.err
    assert "telemetry.invalid" in told.err
    assert "Next:" not in told.out
    assert 'verified = "no: the app tried to reach telemetry.invalid' in recipe(traced)
    assert "config.json" in recipe(traced), "the recipe is written all the same"
    assert not list(traced.library.glob("trace-*"))


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_app_that_ends_without_a_host_is_told_which_one(traced: Preheat) -> None:
    # As gpt4all does with its list of models: nothing of it is on the disk, and nothing goes on without it.
    here = Path("/proc/self/ns/net").stat().st_ino
    away = f"os.stat('/proc/self/ns/net').st_ino != {here}"
    asks = f"import socket\nif {away}: socket.getaddrinfo('models.invalid', 443)\n"
    write_app(traced, asks + "open(get('config.json')).read()")
    told = traced("trace", "--", *SCRIPT)
    assert told.status == 8, told.err
    verified = tomllib.loads(recipe(traced))["app"]["verified"]
    assert verified.startswith("no: the app was never ready: it ended with status 1; the app tried to reach ")
    assert "models.invalid" in verified


def test_interrupted_replay_leaves_the_recipe_and_ends_with_8(traced: Preheat) -> None:
    slow = "print('replaying' if 'HF_HUB_OFFLINE' in os.environ else 'traced', flush=True)\n"
    waits = "import time; time.sleep(600 if 'HF_HUB_OFFLINE' in os.environ else 0)"
    write_app(traced, slow + "open(get('config.json')).read()\n" + waits)
    running = traced.start("trace", "--", *SCRIPT)
    running.until(lambda running: "replaying" in running.err)
    told = running.kill(2)
    assert told.status == 8, told.err
    assert 'verified = "no: interrupted"' in recipe(traced)
    assert "config.json" in recipe(traced)
    assert not list(traced.library.glob("trace-*"))


@pytest.mark.slow
def test_trace_without_replay_says_so_in_the_recipe_and_lock_replays_it(traced: Preheat) -> None:
    write_app(traced, "open(get('config.json')).read()")
    told = traced("trace", "--no-replay", "--", *SCRIPT)
    assert told.status == 0, told.err
    assert 'verified = "no: not replayed"' in recipe(traced)
    assert "Next:" not in told.out
    told = traced("lock", "--check", "--replay", HF_ENDPOINT="http://127.0.0.1:9")
    assert told.status == 0, told.err
    assert "0 outbound attempts" in told.out
    assert 'verified = "no: not replayed"' in recipe(traced), "a check writes nothing"
    shutil.rmtree(traced.library / "blobs")
    told = traced("lock", "--check", "--replay", HF_ENDPOINT="http://127.0.0.1:9")
    assert told.status == 8, told.err
    assert "config.json" in told.err
    assert traced("lock", "--replay").status == 2


def test_fuller_recipe_is_kept_when_a_trace_with_force_finds_less(traced: Preheat) -> None:
    write_app(traced, "open(get('config.json')).read(); open(get('model.safetensors'), 'rb').read()")
    assert traced("trace", "--", *SCRIPT).status == 0
    before = recipe(traced)
    write_app(traced, "open(get('config.json')).read()")
    told = traced("trace", "--force", "--", *SCRIPT)
    assert told.status == 0, told.err
    assert "it is kept as preheat.toml.old" in told.err
    assert "it is kept as preheat.toml.old" in recipe(traced)
    assert (traced.folder / "preheat.toml.old").read_text() == before
    assert "model.safetensors" in (traced.folder / "preheat.lock.old").read_text()


def test_second_trace_of_a_folder_is_refused_while_the_first_one_runs(traced: Preheat) -> None:
    write_app(traced, "print('up', flush=True); import time; time.sleep(600)")
    running = traced.start("trace", "--no-replay", "--", *SCRIPT)
    running.until(lambda running: "up" in running.err)
    told = traced("trace", "-o", "other.toml", "--", *SCRIPT)
    assert told.status == 5, told.err
    assert "another preheat trace is running" in told.err
    assert running.kill(15).status == 0


def test_trace_in_place_replays_on_a_copy_and_says_so(traced: Preheat) -> None:
    if subprocess.run([*CONFINED, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    write_app(traced, KEEPS + "open('weights/own.bin', 'rb').read()\n")
    told = traced("trace", "--", *SCRIPT, inside=CONFINED)
    assert told.status == 0, told.err
    assert "what the app writes stays in its folders" in told.err
    assert "with its network calls counted, on a copy of its folder: 0 outbound attempts" in recipe(traced)
    assert (traced.folder / "weights/own.bin").stat().st_size == 9_000_000
    assert not list(traced.library.glob("trace-*"))


def _needs(preheat: Preheat) -> list[dict[str, str]]:
    needs: list[dict[str, str]] = tomllib.loads(recipe(preheat))["needs"]
    return needs
