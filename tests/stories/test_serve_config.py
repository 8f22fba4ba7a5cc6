"""serve-config, end to end: the files that it writes work."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import Preheat
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


def test_a_unit_for_systemctl_user_has_no_user_and_starts_at_login(app: Path, tmp_path: Path) -> None:
    # As in `systemctl --user UNIT`, the app may follow `--user`.
    for words in ((str(app), "--user"), ("--user", str(app))):
        done = serve_config("systemd", *words, library=tmp_path / "library")
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert "WantedBy=default.target" in lines
        assert not [line for line in lines if line.startswith(("User=", "Protect", "Private"))]
        assert "~/.config/systemd/user/web.service" in lines[0]
        assert "loginctl enable-linger" in lines[1]
        assert "loginctl enable-linger" in done.stderr or Path("/var/lib/systemd/linger").exists()
    if shutil.which("systemd-analyze"):
        (tmp_path / "web.service").write_text(done.stdout)
        judged = subprocess.run(
            ["systemd-analyze", "verify", "--user", str(tmp_path / "web.service")],
            capture_output=True, text=True, check=False, env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        )  # fmt: skip
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


NEEDY = """
[app]
name = "web"
command = ["python3", "app.py"]
ready = "http://127.0.0.1:7860/"
[[needs]]
ref = "acme/tiny"
"""


def test_a_unit_for_a_model_that_is_not_pulled_says_so(preheat: Preheat) -> None:
    (preheat.folder / "preheat.toml").write_text(NEEDY)
    told = preheat("serve-config", "systemd")
    assert told.status == 0
    assert "pull it before the service starts" in told.err
    assert preheat("serve-config", "compose").status == 5
    assert preheat("pull").status == 0
    assert "pull it before" not in preheat("serve-config", "systemd").err


def test_a_program_that_only_this_shell_finds_brings_its_path_along(preheat: Preheat) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE.replace("python3", "only-here"))
    assert "Environment=" not in preheat("serve-config", "systemd").out
    (preheat.folder / "bin").mkdir()
    (preheat.folder / "bin/only-here").symlink_to(sys.executable)
    preheat.env["PATH"] = f"{preheat.folder}/bin:/usr/bin:/bin"
    assert f"Environment=PATH={preheat.folder}/bin:" in preheat("serve-config", "systemd").out


def test_a_compose_file_replaces_the_programs_of_a_virtual_environment_and_lists_its_packages(preheat: Preheat) -> None:
    venv = preheat.folder / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").touch()
    (venv / "lib/python3.10/site-packages/gradio-5.1.dist-info").mkdir(parents=True)
    (venv / "bin/python").symlink_to(sys.executable)
    recipe = (
        RECIPE.replace('"python3"', '"{dir}/.venv/bin/python"').replace('"{port}"', '"7860"').replace("{port}", "7860")
    )
    (preheat.folder / "preheat.toml").write_text(recipe)
    told = preheat("serve-config", "compose", "--front", "127.0.0.1:8080", "--user", "1234:1234")
    assert told.status == 0, told.err
    assert "FROM docker.io/library/python:3.10-slim" in told.out
    assert "RUN pip install --no-cache-dir gradio==5.1" in told.out
    assert '      - "--"\n      - "python3"\n' in told.out
    assert '      - "127.0.0.1:8080:7860"' in told.out
    assert '    user: "1234:1234"' in told.out
    fronted = preheat("serve-config", "compose", "--image", "x")
    assert fronted.status == 0
    (preheat.folder / "preheat.toml").write_text(recipe.replace("7860", "{port}"))
    fronted = preheat("serve-config", "compose", "--image", "x", "--front", "127.0.0.1:8080")
    assert '      - "--front"\n      - "0.0.0.0:7860"\n' in fronted.out
    assert '      - "127.0.0.1:8080:7860"' in fronted.out


def test_the_recipes_port_and_the_chosen_one_decide_in_both_files(preheat: Preheat) -> None:
    recipe = RECIPE.replace("[app]", "[app]\nport = 8188")
    (preheat.folder / "preheat.toml").write_text(recipe)
    for words, port in (((), 8188), (("--port", "9005"), 9005)):
        told = preheat("serve-config", "compose", *words)
        assert f'      - "--front"\n      - "0.0.0.0:{port}"\n' in told.out
        assert f'      - "{port}:{port}"' in told.out
        built = preheat("serve-config", "compose", "--image", "x", "--built", "--front", "127.0.0.1:80", *words)
        assert f'      - "127.0.0.1:80:{port}"' in built.out
    assert " --port 9005\n" in preheat("serve-config", "systemd", "--port", "9005").out
    for kind in ("compose", "systemd"):
        status = ("--status", "127.0.0.1:7861") if kind == "systemd" else ()
        taken = preheat("serve-config", kind, "--port", "7861", *status)
        assert (taken.status, "--status 127.0.0.1:7862" in taken.err) == (2, True)
        assert preheat("serve-config", kind, "--port", "7861", "--status", "127.0.0.1:7862").status == 0
    # Units of several apps on one machine must not share a port that nobody has chosen.
    assert "--status" not in preheat("serve-config", "systemd", "--port", "7861").out
    both = preheat("serve-config", "systemd", "--port", "9005", "--front", ":9006")
    assert (both.status, "exclude each other" in both.err) == (2, True)
    (preheat.folder / "preheat.toml").write_text(recipe.replace("{port}", "8188"))
    for kind in ("compose", "systemd"):
        refused = preheat("serve-config", kind, "--port", "9005")
        assert (refused.status, "does not say how the app takes its port" in refused.err) == (2, True)


def test_an_unknown_user_is_rejected(preheat: Preheat) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE.replace("{port}", "7860"))
    for kind in ("systemd", "compose"):
        told = preheat("serve-config", kind, "--user", "nobody-of-that-name")
        assert told.status == 2
        assert "has no user 'nobody-of-that-name'" in told.err


def test_the_guard_of_a_compose_file_is_never_replaced_by_another_version(preheat: Preheat) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE.replace("{port}", "7860"))
    assert preheat("serve-config", "compose").status == 0
    [guard] = preheat.library.glob("guard-*.pyz")
    before = guard.stat()
    older = guard.with_name("guard-000000000000.pyz")
    guard.rename(older)
    assert preheat("serve-config", "compose").status == 0
    assert (older.stat().st_ino, guard.read_bytes()) == (before.st_ino, older.read_bytes())
    kept = guard.stat().st_ino
    assert preheat("serve-config", "compose").status == 0
    assert guard.stat().st_ino == kept
    assert sorted(preheat.library.glob("guard-*")) == sorted([guard, older])


def test_a_unit_of_an_app_with_memory_snapshots_has_no_limits_that_criu_cannot_work_under(
    app: Path, tmp_path: Path
) -> None:
    criu = tmp_path / "criu"
    criu.write_text("#!/bin/sh\n")
    criu.chmod(0o755)
    app.write_text(app.read_text() + "memory_snapshot = true\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("preheat"), "serve-config", "systemd", app, "--library", tmp_path / "library"],
        env={**os.environ, "PREHEAT_CRIU": str(criu)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"PREHEAT_CRIU={criu}" in done.stdout
    assert "NoNewPrivileges=yes" in done.stdout
    for limit in ("CapabilityBoundingSet", "SystemCallArchitectures", "ProtectKernelTunables", "PrivateTmp"):
        assert limit not in done.stdout
    if shutil.which("systemd-analyze"):
        (tmp_path / "web.service").write_text(done.stdout)
        judged = subprocess.run(
            ["systemd-analyze", "verify", tmp_path / "web.service"], capture_output=True, text=True, check=False
        )
        assert "Unknown" not in judged.stderr
    composed = serve_config("compose", str(app), library=tmp_path / "library")
    assert "memory_snapshot: left out" in composed.stderr
