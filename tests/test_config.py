"""Config: the meaning of environment variables, also of conflicting ones."""

import itertools
import os
from pathlib import Path

import platformdirs
import pytest

from preheat.config import read_config


@pytest.mark.parametrize(
    ("environ", "proxies"),
    [
        ({}, {}),
        ({"HTTP_PROXY": "a", "https_proxy": "b"}, {"http": "a", "https": "b"}),
        ({"HTTPS_PROXY": "a", "https_proxy": "b"}, {"https": "b"}),
        ({"HTTPS_PROXY": "a", "https_proxy": ""}, {}),
        ({"ALL_PROXY": "a", "no_proxy": "b"}, {"all": "a", "no": "b"}),
        ({"HTTP_PROXY": "a", "REQUEST_METHOD": "GET"}, {}),
        ({"http_proxy": "a", "REQUEST_METHOD": "GET"}, {"http": "a"}),
    ],
)
def test_lower_case_proxy_variables_take_precedence_and_a_client_cannot_set_one(
    environ: dict[str, str], proxies: dict[str, str]
) -> None:
    assert read_config({"HOME": "/home/me", **environ}).proxies == proxies


@pytest.mark.parametrize(
    ("home", "named"),
    list(itertools.product(("/home/me", "/home/me/", "/", "home", "", None), ("/srv/x", "x", "", None))),
)
def test_folders_of_a_user_are_those_of_platformdirs(
    home: str | None, named: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"HOME": home, "XDG_DATA_HOME": named, "XDG_STATE_HOME": named, "PREHEAT_LIBRARY": None}
    for name, value in variables.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    config = read_config(dict(os.environ))
    assert config.state == Path(platformdirs.user_state_path("preheat"))
    assert config.library == Path(platformdirs.user_data_path("preheat"), "library")
