"""Places: the same recipe for another user, another folder and another Python; and what depends on these."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.errors import UsageError
from preheat.recipes.app_python import AppPython
from preheat.recipes.depends import Depends
from preheat.recipes.places import Places, split_place

ANNE = Places(
    Path("/home/anne/apps/tts"),
    Path("/home/anne"),
    Path("/home/anne/.cache"),
    Path("/tmp"),
    Path("/home/anne/apps/tts/.venv/lib/python3.11/site-packages"),
)
BERT = Places(
    Path("/srv/tts"),
    Path("/root"),
    Path("/var/cache/bert"),
    Path("/scratch"),
    Path("/opt/venv/lib/python3.12/site-packages"),
)


@pytest.mark.parametrize(
    ("path", "short", "bert"),
    [
        ("/home/anne/.insightface/models", "{home}/.insightface/models", "/root/.insightface/models"),
        ("/home/anne/.cache/torch/hub", "{cache}/torch/hub", "/var/cache/bert/torch/hub"),
        ("/home/anne/apps/tts/caches", "{dir}/caches", "/srv/tts/caches"),
        ("/home/anne/apps/tts", "{dir}", "/srv/tts"),
        ("/home/anne/apps/tts2/x", "{home}/apps/tts2/x", "/root/apps/tts2/x"),
        (
            "/home/anne/apps/tts/.venv/lib/python3.11/site-packages/x",
            "{site-packages}/x",
            "/opt/venv/lib/python3.12/site-packages/x",
        ),
        ("/tmp/data-gym-cache/x", "{tmp}/data-gym-cache/x", "/scratch/data-gym-cache/x"),
        ("/home/annemarie/x", "/home/annemarie/x", "/home/annemarie/x"),
        ("/etc/passwd", "/etc/passwd", "/etc/passwd"),
    ],
)
def test_a_path_of_one_user_is_the_same_place_of_another(path: str, short: str, bert: str) -> None:
    assert ANNE.shorten(path) == short
    assert str(ANNE.expand(short)) == path
    assert str(BERT.expand(short)) == bert


@given(st.lists(st.sampled_from([".cache", "home", "anne", "apps", "tts", "tmp", "x", "é", "a b"]), max_size=6))
def test_what_is_shortened_expands_to_the_same(parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    assert str(ANNE.expand(ANNE.shorten(path))) == path


def test_the_root_is_nobodys_place() -> None:
    assert Places(Path("/"), Path("/"), Path("/.cache"), Path("/")).shorten("/srv/x") == "/srv/x"


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("~", ("home", "")),
        ("~/x", ("home", "x")),
        ("{home}", ("home", "")),
        ("{site-packages}/x/y", ("site-packages", "x/y")),
        ("checkpoints", ("dir", "checkpoints")),
        ("x/{home}", ("dir", "x/{home}")),
        ("~anne/x", ("dir", "~anne/x")),
    ],
)
def test_an_at_names_a_place(text: str, split: tuple[str, str]) -> None:
    assert split_place(text) == split


def test_an_unknown_place_and_one_that_is_missing_here() -> None:
    with pytest.raises(UsageError, match="is not a place"):
        split_place("{hone}/x")
    with pytest.raises(UsageError, match="no Python with site-packages"):
        Places(Path("/srv"), Path("/root")).expand("{site-packages}/x")


def test_the_places_of_an_environment(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "XDG_CACHE_HOME": "relative", "TMPDIR": "/scratch", "PATH": os.defpath}
    places = Places.of(environ, tmp_path / "app", ())
    assert (places.home, places.cache, places.tmp) == (tmp_path, tmp_path / ".cache", Path("/scratch"))
    assert Places.of(environ | {"XDG_CACHE_HOME": "/c"}, tmp_path, ()).cache == Path("/c")


# ---- the app's Python


def venv(folder: Path, version: str = "3.11") -> Path:
    packages = folder / f"lib/python{version}/site-packages"
    (packages / "Some_Package-2.1.dist-info").mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin/python").touch(mode=0o755)
    return packages


@pytest.mark.parametrize(
    "words",
    [
        ["{app}/.venv/bin/python", "webui.py"],
        [".venv/bin/python"],
        ["serve"],
        ["{app}/.venv/bin/serve"],
        ["bash", "start.sh"],
        ["./start.sh"],
        ["uv", "run", "webui.py"],
        [],
    ],
    ids=" ".join,
)
def test_the_python_of_a_command_is_found_without_starting_it(tmp_path: Path, words: list[str]) -> None:
    app = tmp_path / "app"
    packages = venv(app / ".venv")
    (app / ".venv/bin/serve").write_text(f"#!{app}/.venv/bin/python\n")
    (app / "start.sh").write_text('#!/bin/bash\ncd "$(dirname "$0")"\nexec "$HERE/.venv/bin/python" webui.py\n')
    for script in (app / ".venv/bin/serve", app / "start.sh"):
        script.chmod(0o755)
    environ = {"PATH": f"{app}/.venv/bin:{os.defpath}"}
    found = AppPython.of(environ, app, [word.replace("{app}", str(app)) for word in words])
    assert (found.python, found.site_packages) == ("3.11", packages)
    assert found.version("some-package") == "2.1"
    assert found.version("other") == ""


def test_an_active_environment_counts_for_a_command_that_is_no_python(tmp_path: Path) -> None:
    packages = venv(tmp_path / "other", "3.12")
    found = AppPython.of({"VIRTUAL_ENV": str(tmp_path / "other"), "PATH": ""}, tmp_path, ["./nothing"])
    assert (found.python, found.site_packages) == ("3.12", packages)
    assert AppPython.of({"PATH": ""}, tmp_path, ["./nothing"]).site_packages is None


def test_the_first_virtual_environment_on_path_counts_for_a_shell_script(tmp_path: Path) -> None:
    venv(tmp_path / "system", "3.13")
    packages = venv(tmp_path / "env", "3.12")
    (tmp_path / "env/pyvenv.cfg").touch()
    (tmp_path / "start.sh").write_text("python webui.py\n")
    path = f"{tmp_path}/system/bin:{tmp_path}/env/bin"
    assert AppPython.of({"PATH": path}, tmp_path, ["/bin/bash", "start.sh"]).site_packages == packages
    assert AppPython.of({"PATH": f"{tmp_path}/system/bin"}, tmp_path, ["/bin/bash", "start.sh"]).python == "3.13"


def test_what_made_files_depend_on(tmp_path: Path) -> None:
    packages = venv(tmp_path)
    here = AppPython("3.11", "x86_64", "NVIDIA H200", tmp_path, packages)
    assert Depends().fits(here) == ()
    assert Depends("3.11", "x86_64", {"some.package": "2.1"}, "NVIDIA H200").fits(here) == ()
    assert Depends("3.12", "aarch64", {"pynini": "1", "Some-Package": "2.0"}, "NVIDIA A100").fits(here) == (
        "Python is 3.11, not 3.12",
        "machine is x86_64, not aarch64",
        "GPU is NVIDIA H200, not NVIDIA A100",
        "Some-Package is 2.1, not 2.0",
        "pynini is unknown, not 1",
    )
