"""Installation: the command that adds a package, from the metadata of pipx and uv; tests/installed runs it."""

import sys
from pathlib import Path

import pytest

from preheat.core.installation import how_to_install, is_installed

SCANNER = "'picklescan>=1.0.5'"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


def uv_tool(home: Path, receipt: str, tools: str = ".local/share/uv/tools") -> Path:
    prefix = home / tools / "preheat"
    prefix.mkdir(parents=True)
    (prefix / "uv-receipt.toml").write_text(f"[tool]\n{receipt}")
    return prefix


def pipx(folder: Path) -> Path:
    (folder / "venvs/preheat").mkdir(parents=True)
    (folder / "venvs/preheat/pipx_metadata.json").write_text("{}")
    return folder / "venvs/preheat"


def test_a_plain_environment_uses_its_own_python() -> None:
    assert how_to_install("picklescan") == f"{sys.executable} -m pip install {SCANNER}"
    assert how_to_install("cryptography").endswith("'cryptography>=44'")
    assert how_to_install("numpy").endswith(" numpy"), "no bound is known"


def test_pipx_gets_its_home_only_if_it_is_not_the_default(home: Path, tmp_path: Path) -> None:
    assert how_to_install("picklescan", pipx(home / ".local/pipx"), home) == f"pipx inject preheat {SCANNER}"
    assert how_to_install("picklescan", pipx(home / ".local/share/pipx"), home) == f"pipx inject preheat {SCANNER}"
    elsewhere = pipx(tmp_path / "my pipx")
    told = f"PIPX_HOME='{tmp_path}/my pipx' pipx inject preheat {SCANNER}"
    assert how_to_install("picklescan", elsewhere, home) == told


@pytest.mark.parametrize(
    ("requirement", "source"),
    [
        ('{ name = "preheat" }', "preheat"),
        ('{ name = "preheat", specifier = ">=0.1" }', "'preheat>=0.1'"),
        ('{ name = "preheat", extras = ["tls"] }', "'preheat[tls]'"),
        ('{ name = "preheat", git = "https://x.org/p.git?rev=v1" }', "'preheat @ git+https://x.org/p.git@v1'"),
        ('{ name = "preheat", git = "https://x.org/p.git" }', "'preheat @ git+https://x.org/p.git'"),
        ('{ name = "preheat", url = "https://x.org/p.whl" }', "'preheat @ https://x.org/p.whl'"),
        ('{ name = "preheat", editable = "HERE" }', "--editable HERE"),
        ('{ name = "preheat", directory = "HERE" }', "HERE"),
        ('{ name = "preheat", directory = "HERE", extras = ["tls"] }', "'preheat[tls] @ file://HERE'"),
    ],
)
def test_uv_tool_keeps_the_source_of_preheat(home: Path, requirement: str, source: str) -> None:
    receipt = f"requirements = [{requirement.replace('HERE', str(home))}]"
    told = how_to_install("picklescan", uv_tool(home, receipt), home)
    assert told == f"uv tool install --with {SCANNER} {source.replace('HERE', str(home))}"


def test_uv_tool_keeps_other_packages_the_python_and_the_folders(home: Path) -> None:
    receipt = """
requirements = [
    { name = "preheat", specifier = "==0.1" },
    { name = "cryptography", specifier = ">=44" },
    { name = "picklescan", specifier = "<1" },
]
python = "3.12"
entrypoints = [{ name = "preheat", install-path = "/opt/bin/preheat", from = "preheat" }]
"""
    prefix = uv_tool(home, receipt, "tools")
    assert how_to_install("picklescan", prefix, home) == (
        f"UV_TOOL_DIR={home}/tools UV_TOOL_BIN_DIR=/opt/bin uv tool install --python 3.12"
        f" --with 'cryptography>=44' --with {SCANNER} preheat==0.1"
    )


@pytest.mark.parametrize(
    "receipt",
    [
        'requirements = [{ name = "preheat", path = "/gone/preheat.whl" }]',
        'requirements = [{ name = "preheat", from-another-time = 1 }]',
        "requirements = [1]",
        "not TOML",
        "",
    ],
)
def test_uv_tool_with_a_missing_or_unknown_source_installs_in_place(home: Path, receipt: str) -> None:
    prefix = uv_tool(home, receipt)
    assert how_to_install("picklescan", prefix, home) == f"uv pip install --python {prefix} {SCANNER}"


def test_a_module_is_found_without_importing_it() -> None:
    assert is_installed("json")
    assert not is_installed("no_such_module")
