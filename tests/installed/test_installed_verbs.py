"""Installed: every module is importable and every verb works from a copy that pip, pipx or uv installed."""

import argparse
import json
import re
import signal
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from preheat import __version__
from preheat.cli.parser import parser
from tests.command import Preheat, Running
from tests.guard.apps import free_port
from tests.installed.copies import SOURCE, Copy
from tests.installed.webui import answer, write_recipe, write_webui
from tests.oci.bases import Files, layer, layout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FILES = sorted(
    path.relative_to(SOURCE).as_posix()
    for path in SOURCE.rglob("*")
    if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
)
MODULES = sorted(name.removesuffix(".py").removesuffix("/__init__") for name in FILES if name.endswith(".py"))
[ACTION] = [one for one in parser()._actions if isinstance(one, argparse._SubParsersAction)]
VERBS = sorted(ACTION.choices)
PYTHON: Files = {"usr/bin/python3": "python3.11", "usr/bin/python3.11": b"#!", "app": None, "app/webui.py": b"pass"}


def test_wheel_and_sdist_have_every_file(distributions: tuple[Path, Path]) -> None:
    sdist, wheel = distributions
    with zipfile.ZipFile(wheel) as packed:
        assert {f"preheat/{name}" for name in FILES} <= set(packed.namelist())
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/preheat/{name}" for name in FILES} | {"README.md", "LICENSE", "pyproject.toml"} <= names
    assert "py.typed" in FILES
    assert wheel.name == f"preheat-{__version__}-py3-none-any.whl"


def test_every_module_is_importable(copy: Copy, tmp_path: Path) -> None:
    names = [".".join(("preheat", *name.split("/"))).removesuffix(".__init__") for name in MODULES]
    # Except the one that changes the Python which imports it.
    names = [name for name in names if not name.endswith(".sitecustomize")]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(sys.modules['preheat'].__file__)"
    )
    words = [str(copy.python), "-W", "error", "-c", code]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).is_relative_to(SOURCE.parents[1])


def test_version_and_help_of_every_verb(installed: Preheat) -> None:
    assert installed("--version").out == f"preheat {__version__}\n"
    assert installed("--help").status == 0
    for verb in VERBS:
        told = installed(verb, "--help")
        assert (told.status, told.err) == (0, "")
        assert f"preheat {verb}" in told.out


def test_upkeep_verbs(installed: Preheat, model: Path) -> None:
    assert installed("pull", "acme/tiny").status == 0
    assert len(installed("ls", "--json").last["versions"]) == 1
    assert len(installed("show", "acme/tiny", "--json").last["files"]) == 7
    assert installed("verify").status == 0
    assert installed("status", "--json").last["library"]
    for kind in ("hf-cache", "local-dir", "flat"):
        assert installed("view", kind, f"as-{kind}", "acme/tiny").status == 0
    assert (installed.folder / "as-flat/config.json").read_bytes() == (model / "config.json").read_bytes()
    assert installed("pin", "acme/tiny").status == 0
    assert installed("unpin", "acme/tiny").status == 0
    assert installed("rm", "acme/tiny", "--yes").status == 0
    assert installed("prune", "--younger", "0s", "--yes").status == 0
    assert installed("ls", "--json").last["versions"] == []
    assert installed("adopt", "as-local-dir", "--as", "acme/tiny").status == 0
    assert len(installed("ls", "--json").last["versions"]) == 1


def test_a_nodes_disk_is_filled_from_the_library(installed: Preheat) -> None:
    assert installed("pull", "acme/tiny").status == 0
    told = installed("stage", "acme/tiny", "--to", "nvme", "--json")
    assert (told.status, told.last["received"] < 100_000) == (0, True), told.out + told.err
    assert installed("stage", "acme/tiny", "--to", "nvme", "--json").last["fetched"] == 0


def test_an_app_is_traced_locked_and_run_offline(installed: Preheat) -> None:
    port = free_port()
    write_webui(installed.folder, "acme/tiny", ["model.safetensors", "config.json"])
    command = ["python3", "-u", "webui.py", "--port", str(port)]
    told = installed("trace", "--opens", "proc", "--settle", "1s", "--json", "--", *command)
    assert told.status == 0, told.out + told.err
    [need] = told.last["needs"]
    assert [file["path"] for file in need["files"]] == ["config.json", "model.safetensors"]
    lock = installed.folder / "preheat.lock"
    needs = lock.read_text().partition("\n# What a traced start")[0]
    lock.write_text(f"{needs}\n[start]\nreads = '''\n{{dir}}/webui.py\n'''\n")
    assert installed("lock", "preheat.toml").status == 0
    assert "\n[start]\nreads = '''\n{dir}/webui.py\n" in lock.read_text()
    assert installed("lock", "preheat.toml", "--check").status == 0
    running = installed.start("run", "--locked", HF_ENDPOINT="http://127.0.0.1:9")
    assert b"9000023 bytes are loaded" in answer(running, f"http://127.0.0.1:{port}/")
    assert stopped(running) == 128 + signal.SIGTERM


def test_prove_measures_a_gain(installed: Preheat) -> None:
    write_recipe(installed, free_port())
    told = installed("prove", "--observe", "0s", "--report", "proof.html", "--json")
    assert told.status == 0, told.out + told.err
    assert told.last["weights"] == 9_000_046
    assert {"cold", "preloaded", "warm", "restart"} <= set(told.last)
    page = (installed.folder / "proof.html").read_text(encoding="utf-8")
    assert "</html>" in page


def test_doctor_examines_the_app(installed: Preheat) -> None:
    write_recipe(installed, free_port())
    told = installed("doctor", "preheat.toml")
    assert told.status == 0, told.err


def test_built_in_recipes_are_listed(installed: Preheat) -> None:
    told = installed("recipes", "--json")
    assert told.status == 0
    assert "indextts2" in told.out


def test_an_image_is_built(installed: Preheat, tmp_path: Path) -> None:
    write_recipe(installed, 7860)
    (installed.folder / "preheat.toml").write_text(
        '[app]\nname = "tiny"\ncommand = ["python3", "{dir}/webui.py"]\nready = "http://127.0.0.1:7860/"\n'
        '[[needs]]\nref = "acme/tiny"\n'
    )
    assert installed("pull", "preheat.toml").status == 0
    base = layout(tmp_path / "bases", [layer(PYTHON)], {"WorkingDir": "/app"}, packed=True)
    told = installed("build", "--base", base, "--output", "oci:image", "--json")
    assert told.status == 0, told.err
    assert json.loads((installed.folder / "image/index.json").read_bytes())["manifests"]


def test_service_files_are_written(installed: Preheat) -> None:
    write_recipe(installed, 7860)
    assert installed("pull", "preheat.toml").status == 0
    for kind in ("systemd", "compose"):
        told = installed("serve-config", kind, "preheat.toml")
        assert told.status == 0, told.err
        assert str(installed.folder) in told.out
    told = installed("serve-config", "k8s", "preheat.toml", "--weights", "node", "--image", "registry.lan/app:1")
    assert told.status == 0, told.err
    assert "kind: DaemonSet" in told.out


def test_the_mirror_serves_its_page_and_pulled_models(installed: Preheat) -> None:
    assert installed("pull", "acme/tiny").status == 0
    mirror = installed.start("mirror", "--listen", "127.0.0.1:0", "--json")
    url = mirror.event("serving")["url"]
    assert b"acme/tiny" in answer(mirror, f"{url}/")
    told = installed("pull", "acme/tiny", "--library", "other", HF_ENDPOINT=url)
    assert told.status == 0, told.err
    assert stopped(mirror) == 0


def test_a_bundle_is_carried_to_another_library(installed: Preheat) -> None:
    assert installed("pull", "acme/tiny").status == 0
    assert installed("export", "acme/tiny", "-o", "tiny.tar").status == 0
    told = installed("import", "tiny.tar", "--library", "other", "--json")
    assert told.status == 0, told.err
    assert told.last["new"] > 9_000_000


def test_a_push_names_the_extra_that_it_needs(installed: Preheat) -> None:
    assert installed("pull", "acme/tiny").status == 0
    told = installed("push", "s3://models/team", "acme/tiny")
    assert told.status == 2
    assert "pip install 'preheat[stores]'" in told.err


def test_model_folders_are_shown(installed: Preheat, model: Path) -> None:
    told = installed("fold", "--also", str(model), "--json")
    assert told.status == 0, told.err
    assert told.last["done"] is False


def test_completion_is_printed(installed: Preheat) -> None:
    assert "preheat" in installed("completion", "bash").out


def test_every_verb_is_tested() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert sorted(set(re.findall(r'installed(?:\.start)?\("([a-z][a-z-]*)"', text)) & set(VERBS)) == VERBS


def stopped(running: Running) -> int:
    """Stop it as systemd would, and return its exit status."""
    return running.kill(signal.SIGTERM).status
