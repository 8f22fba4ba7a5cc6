"""serve-config, end to end: the files that it writes work."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guard.apps import free_port, until
from tests.guard.zipped import guard_zip

RECIPE = """
[app]
name = "web"
command = ["python3", "-m", "http.server", "{port}", "--bind", "127.0.0.1"]
ready = "http://127.0.0.1:{port}/"
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    recipe = tmp_path / "app/preheat.toml"
    recipe.write_text(RECIPE.replace("{port}", str(free_port())))
    return recipe


def serve_config(*words: str, library: Path) -> "subprocess.CompletedProcess[str]":
    preheat = shutil.which("preheat", path=str(Path(sys.executable).parent))
    assert preheat is not None
    return subprocess.run(
        [preheat, "serve-config", *words, "--library", str(library)], capture_output=True, text=True, check=False
    )


def test_systemd_accepts_the_unit(app: Path, tmp_path: Path) -> None:
    done = serve_config("systemd", str(app), library=tmp_path / "library")
    assert done.returncode == 0, done.stderr
    assert f"run {app}" in done.stdout
    if shutil.which("systemd-analyze"):
        (tmp_path / "web.service").write_text(done.stdout)
        judged = subprocess.run(
            ["systemd-analyze", "verify", str(tmp_path / "web.service")], capture_output=True, text=True, check=False
        )
        assert (judged.returncode, judged.stderr) == (0, "")


def test_the_commands_of_a_compose_file_work_unchanged(app: Path, tmp_path: Path) -> None:
    status = f"127.0.0.1:{free_port()}"
    done = serve_config("compose", str(app), "--status", status, "--json", library=tmp_path / "library")
    assert done.returncode == 0, done.stderr
    text = json.loads(done.stdout.splitlines()[-1])["text"]
    words = [line.strip()[2:] for line in text.partition("entrypoint:\n")[2].partition("    command:")[0].splitlines()]
    test = [line.strip()[2:] for line in text.partition("test:\n")[2].partition("      interval:")[0].splitlines()]
    start, check = [json.loads(word) for word in words], [json.loads(word) for word in test][1:]
    assert Path(start[1]).read_bytes() == Path(guard_zip()).read_bytes()
    assert subprocess.run(check, capture_output=True, check=False).returncode == 1
    with subprocess.Popen(start, stdout=-1, stderr=-1, cwd=app.parent) as guard:
        try:
            assert until(lambda: subprocess.run(check, capture_output=True, check=False).returncode == 0, 30)
        finally:
            guard.terminate()
            guard.communicate(timeout=20)
    assert guard.returncode == 143


def test_a_recipe_without_a_command_is_rejected(app: Path, tmp_path: Path) -> None:
    app.write_text('[app]\nname = "web"\n')
    done = serve_config("compose", str(app), library=tmp_path / "library")
    assert done.returncode == 2
    assert "has no command" in done.stderr + done.stdout
