"""`fold --watch` and `--timer`: what apps download later is folded, once it is complete and quiet."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from preheat import api
from preheat.core.events import Event, Noted
from tests.command import Preheat
from tests.stories.desk import AS_USER, MEBI, comfyui, fooocus, safetensors, write
from tests.stories.test_fold import bytes_of, fold, state, undone

CHECKPOINT = safetensors("model.diffusion_model.input_blocks.0.0.weight")
LORA = safetensors("lora_unet_a.lora_up.weight", seed=3)
WATCH = ("fold", "--json", "--watch", "--every", "1s", "--settle", "1s")


@pytest.fixture
def home(preheat: Preheat) -> Path:
    """Two apps with the same checkpoint."""
    write(comfyui(preheat.folder) / "checkpoints/dream.safetensors", CHECKPOINT)
    write(fooocus(preheat.folder) / "checkpoints/dream.safetensors", CHECKPOINT)
    return preheat.folder


def same(*paths: Path) -> bool:
    return len({path.stat().st_ino for path in paths}) == 1


def test_downloads_are_folded_once_they_are_complete_and_closed(preheat: Preheat, home: Path) -> None:
    first, second = (home / app / "models/checkpoints/dream.safetensors" for app in ("ComfyUI", "Fooocus"))
    running = preheat.start(*WATCH, "--yes", inside=AS_USER)
    running.until(lambda _: same(first, second))
    assert "watching" in running.out
    # A download that pauses: closed, quiet, and shorter than its header says. It is no model yet.
    lora = home / "ComfyUI/models/loras/style.safetensors"
    write(lora, LORA[: MEBI + 5000], age_s=0)
    whole = write(home / "Fooocus/models/loras/style.safetensors", LORA)
    running.until(lambda _: whole.stat().st_nlink == 2)
    assert lora.stat().st_nlink == 1
    assert os.access(lora, os.W_OK)
    with open(lora, "ab") as file:
        file.write(LORA[MEBI + 5000 :])
    running.until(lambda _: running.out.count("1 file folded into") == 2)
    assert same(lora, whole)
    assert lora.read_bytes() == LORA
    told = running.kill(signal.SIGINT)
    assert (told.status, told.err) == (0, "")
    assert (told.last["event"], told.last["folded"]) == ("done", 4)
    undone(preheat)
    assert lora.read_bytes() == LORA


def test_file_that_stays_open_is_folded_when_it_is_closed(preheat: Preheat, home: Path) -> None:
    path = home / "ComfyUI/models/checkpoints/again.safetensors"
    running = preheat.start(*WATCH, "--yes", inside=AS_USER)
    with open(path, "wb") as file:
        file.write(CHECKPOINT)
        file.flush()
        running.until(lambda _: "folded into" in running.out)
        first = running.out.count('"reading"')
        running.until(lambda _: running.out.count('"reading"') >= first + 2)
        assert path.stat().st_nlink == 1
    # Its last byte was written before; only that it is closed now lets it be folded.
    running.until(lambda _: same(path, home / "Fooocus/models/checkpoints/dream.safetensors"))
    assert running.kill(signal.SIGTERM).status == 0


def test_without_yes_it_only_reports(preheat: Preheat, home: Path) -> None:
    before = state(home)
    running = preheat.start(*WATCH, inside=AS_USER)
    running.until(lambda _: "folding frees" in running.out)
    assert running.kill(signal.SIGINT).last["folded"] == 0
    assert state(home) == before


def test_library_that_is_gone_for_a_while_is_told_once(preheat: Preheat, home: Path) -> None:
    running = preheat.start(*WATCH, "--yes", inside=AS_USER)
    running.until(lambda _: same(*home.glob("*/models/checkpoints/dream.safetensors")))
    running.until(lambda _: "folded into" in running.out)
    preheat.library.rename(home / "away")
    lora = write(home / "ComfyUI/models/loras/style.safetensors", LORA)
    running.until(lambda _: "is gone" in running.out)
    (home / "away").rename(preheat.library)
    running.until(lambda _: lora.stat().st_nlink == 2)
    told = running.kill(signal.SIGINT)
    assert (told.status, told.out.count("is gone")) == (0, 1)


def test_killed_watch_loses_nothing(preheat: Preheat, home: Path) -> None:
    before = state(home)
    running = preheat.start(*WATCH, "--yes", inside=AS_USER)
    running.event("reading")
    running.kill()
    assert bytes_of(state(home)) == bytes_of(before)
    undone(preheat)
    assert state(home) == before


def test_api_yields_plans_until_nothing_is_left(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    heard: list[Event] = []
    session = api.Session(api.Settings(library=home / "library"), on_event=heard.append)
    plans = api.watch_fold(every_s=0.05, settle_s=0.0, session=session)
    plan = next(plans)
    assert len(plan.files) == 2
    # As it was not carried out, it comes again, later.
    assert [one.file.path for one in next(plans).files] == [one.file.path for one in plan.files]
    api.execute(plan, session=session)
    write(home / "Fooocus/models/loras/style.safetensors", LORA)
    assert len(next(plans).files) == 3
    assert not any(isinstance(event, Noted) for event in heard)


def test_settle_leaves_out_what_has_just_changed(preheat: Preheat, home: Path) -> None:
    told = fold(preheat, "--settle", "1h", "--yes")
    assert (told.status, told.last["folded"], told.last["files"]) == (0, 0, 0)
    assert {one["reason"] for one in told.last["left"]} == {"it changed less than 60 min 0 s ago"}
    assert fold(preheat, "--settle", "0s").last["files"] == 2


@pytest.mark.parametrize("beside", [".aria2", ".st"])
def test_file_that_a_downloader_has_not_finished_is_left_out(preheat: Preheat, home: Path, beside: str) -> None:
    path = write(home / "ComfyUI/models/loras/half.safetensors", LORA)
    control = write(path.with_name(path.name + beside), b"state")
    assert fold(preheat).last["files"] == 2
    control.unlink()
    assert fold(preheat).last["files"] == 3


@pytest.mark.parametrize(
    "words",
    [
        ("--watch", "--undo"),
        ("--watch", "--report", "fold.html"),
        ("--watch", "--timer", "units"),
        ("--timer", "units", "--undo"),
        ("--every", "5m"),
        ("--watch", "--every", "0s"),
        ("--undo", "--settle", "5s"),
    ],
)
def test_options_that_exclude_each_other(preheat: Preheat, words: tuple[str, ...]) -> None:
    assert (fold(preheat, *words).status, fold(preheat, *words).last["kind"]) == (2, "UsageError")


def test_timer_is_two_units_that_fold(preheat: Preheat, home: Path) -> None:
    units = home / "config/systemd/user"
    also = home / "more models 100%"
    also.mkdir()
    words = ("fold", "--json", "--timer", str(units), "--every", "30m", "--also", str(also))
    told = preheat(*words, HF_HOME=str(home / "hugging face"), OLLAMA_MODELS="")
    assert told.status == 0, told.out
    assert told.last["start"] == "systemctl --user daemon-reload && systemctl --user enable --now preheat-fold.timer"
    service = (units / "preheat-fold.service").read_text()
    timer = (units / "preheat-fold.timer").read_text()
    assert told.last["units"] == {
        str(units / "preheat-fold.service"): service,
        str(units / "preheat-fold.timer"): timer,
    }
    assert "User=" not in service
    assert f'Environment="HF_HOME={home}/hugging face"' in service
    assert "OLLAMA_MODELS" not in service
    assert "OnUnitInactiveSec=1800" in timer
    # What the unit starts, folds: the line without systemd's own escapes.
    line = next(one for one in service.splitlines() if one.startswith("ExecStart="))
    assert "100%%" in line
    command = line.removeprefix("ExecStart=").replace("%%", "%").replace(" 1m ", " 0s ")
    done = subprocess.run([*AS_USER, "sh", "-c", command], env=preheat.env, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert same(*(home / app / "models/checkpoints/dream.safetensors" for app in ("ComfyUI", "Fooocus")))


def test_system_unit_names_its_user(preheat: Preheat, home: Path) -> None:
    told = preheat("fold", "--timer", "units", "--json", inside=AS_USER)
    assert told.status == 0, told.out
    service = (home / "units/preheat-fold.service").read_text()
    assert "\nUser=" in service
    assert told.last["start"].startswith("systemctl daemon-reload")
    taken = write(home / "a file", b"")
    told = preheat("fold", "--timer", str(taken), "--json")
    assert (told.status, told.last["hint"]) == (1, f"--timer {taken}")


def test_systemd_analyze_finds_no_fault_in_the_timer(preheat: Preheat, home: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    for folder in ("system", "user"):
        preheat("fold", "--timer", folder, "--also", str(home))
        units = [str(home / folder / f"preheat-fold.{kind}") for kind in ("service", "timer")]
        done = subprocess.run(
            ["systemd-analyze", f"--{folder}", "verify", *units], capture_output=True, text=True, check=False
        )
        if done.stderr.startswith("Failed to") and folder == "user":
            pytest.skip(f"there is no manager of this user here: {done.stderr}")
        assert (done.returncode, done.stderr) == (0, "")
