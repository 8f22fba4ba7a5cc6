"""Unit files and compose files, and the values that they must preserve."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from preheat.core.errors import UsageError
from preheat.deploy.compose import compose
from preheat.deploy.container_image import ContainerImage, app_image
from preheat.deploy.service import Mount, Service, StartTime
from preheat.deploy.systemd import unit

NASTY = ("sh", "-c", "echo \"$HOME\" 100% \\ 'it's' ;#&| é\t.", "", "{port}", "a b")


USUAL = Service(
    name="web-ui",
    command=("/bin/sh", *NASTY[1:]),
    check=("python3", "/x/guard.pyz", "--check", "127.0.0.1:7861"),
    folder=Path("/srv/web ui"),
    env={"TOKEN": 'a "b" $c 5%', "EMPTY": ""},
    mounts=(Mount(Path("/srv/web ui"), writable=True), Mount(Path("/data/library"))),
    ports=("7860:7860",),
    user="1000:1000",
    scratch=("/tmp",),
)
SLIM = ContainerImage("docker.io/library/python:3.11-slim")


def test_systemd_analyze_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    for renews, user in ((False, ""), (True, "root")):
        path = tmp_path / "web-ui.service"
        path.write_text(unit(replace(USUAL, renews=renews, folder=tmp_path, user=user)))
        done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
        if "Failed to" in done.stderr and "bus" in done.stderr:
            pytest.skip(done.stderr)
        assert (done.returncode, done.stderr) == (0, "")


def test_systemd_waits_a_minute_longer_than_the_guard_and_leaves_restarts_to_it() -> None:
    text = unit(replace(USUAL, ready_within_s=1200.0, stop_within_s=20.0))
    for line in ("Type=notify", "TimeoutStartSec=1260", "TimeoutStopSec=25", "OOMPolicy=continue"):
        assert f"\n{line}\n" in text
    assert "ExecReload" not in text
    assert "\nExecReload=kill -HUP $MAINPID\n" in unit(replace(USUAL, renews=True))


def test_systemd_gives_up_on_an_app_whose_port_is_taken_and_waits_between_starts() -> None:
    first, _, service = unit(USUAL).partition("[Service]")
    values = dict(line.split("=", 1) for line in (first + service).splitlines() if "=" in line and line[0] != "#")
    starts, within_s = int(values["StartLimitBurst"]), int(values["StartLimitIntervalSec"])
    assert "StartLimitBurst" in first, "systemd ignores it in [Service]"
    assert starts * int(values["RestartSec"]) * 4 < within_s + 1, "slow starts count too"


def test_a_system_unit_has_its_user_and_a_user_unit_only_what_its_manager_can_apply() -> None:
    system = unit(replace(USUAL, user="joe")).splitlines()
    own = unit(replace(USUAL, user="")).splitlines()
    assert {"User=joe", "ProtectSystem=full", "WantedBy=multi-user.target", "NoNewPrivileges=yes"} <= set(system)
    assert {"WantedBy=default.target", "NoNewPrivileges=yes"} <= set(own)
    assert not [line for line in own if line.startswith(("User=", "Protect", "Private", "Capability"))]


def test_slow_starts_that_were_measured_extend_the_limits_and_quick_ones_only_the_health_checks() -> None:
    slow = replace(USUAL, start=StartTime(300.0, 3), user="")
    assert "\nTimeoutStartSec=1260\n" in unit(slow)
    assert "\n# The slowest of 3 starts took 300.0 s here.\n" in unit(slow)
    assert "\n      start_period: 900s\n" in compose(slow, SLIM)
    quick = replace(USUAL, start=StartTime(2.0, 1), user="")
    assert "\nTimeoutStartSec=660\n" in unit(quick)
    assert "\n      start_period: 30s\n" in compose(quick, SLIM)


def test_arguments_in_a_unit_keep_their_meaning() -> None:
    line = next(line for line in unit(USUAL).splitlines() if line.startswith("ExecStart="))
    assert '"echo \\"$$HOME\\" 100%% \\\\ \'it\'s\' ;#&| é\\t."' in line
    assert line.endswith(' "" {port} "a b"')


def test_variables_in_a_unit_keep_their_dollar_signs() -> None:
    # systemd.exec(5): in Environment=, "$" has no special meaning.
    assert '\nEnvironment="TOKEN=a \\"b\\" $c 5%%"\n' in unit(USUAL)


def test_a_system_unit_hides_and_protects_no_folder_that_the_app_uses() -> None:
    for path, limit in (("/tmp/app", "PrivateTmp=yes"), ("/usr/share/app", "ProtectSystem=full")):
        own = unit(replace(USUAL, user="joe", mounts=(Mount(Path(path), writable=True),)))
        assert f"\n{limit}\n" not in own
        assert f"\n{limit}\n" in unit(replace(USUAL, user="joe"))


def test_values_that_a_unit_file_cannot_contain_are_rejected() -> None:
    with pytest.raises(UsageError, match="cannot be written in a unit file"):
        unit(replace(USUAL, command=("/bin/sh", "-c", "one\ntwo")))


def test_a_compose_file_quotes_every_word_as_json_and_doubles_dollar_signs() -> None:
    lines = compose(USUAL, SLIM).splitlines()
    at = lines.index("    entrypoint:") + 1
    words = [json.loads(line.strip()[2:]) for line in lines[at : at + len(NASTY)]]
    assert words == [word.replace("$", "$$") for word in ("/bin/sh", *NASTY[1:])]
    assert '      - "7860:7860"' in lines
    assert "      start_period: 600s" in lines


def test_a_compose_file_without_ports_or_folders_has_no_empty_lists() -> None:
    text = compose(replace(USUAL, ports=(), mounts=(), scratch=(), env={}), SLIM)
    assert not any(word in text for word in ("ports:", "volumes:", "environment:", "tmpfs:"))


def test_an_app_gets_the_image_of_its_dockerfile_or_one_with_its_packages(tmp_path: Path) -> None:
    def image(installed: dict[str, str] | None = None) -> ContainerImage:
        return app_image("My WebUI", tmp_path, "3.12", installed or {})

    slim = "docker.io/library/python:3.12-slim"
    assert image() == ContainerImage(slim)
    pinned = image({"torch": "2.8.0+cu128", "pip": "25.0", "gradio": "5.0"})
    assert pinned.inline.splitlines()[-2:] == ["RUN pip install --no-cache-dir gradio==5.0 \\", "    torch==2.8.0"]
    (tmp_path / "requirements.txt").touch()
    text = compose(USUAL, image({"gradio": "5.0"}))
    assert f"      dockerfile_inline: |\n        FROM {slim}\n        COPY requirements.txt /\n" in text
    (tmp_path / "Dockerfile").touch()
    assert image() == ContainerImage("localhost/my-webui:latest", tmp_path, "Dockerfile")


def test_an_image_with_the_weights_keeps_its_user_and_its_writable_folders() -> None:
    built = compose(replace(USUAL, command=(), mounts=(), user=""), SLIM)
    assert not any(word in built for word in ("read_only", "cap_drop", "volumes", "\n    user:", "entrypoint"))
    assert '    security_opt: ["no-new-privileges:true"]' in built
