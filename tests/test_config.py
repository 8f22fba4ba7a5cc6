"""Config: the meaning of environment variables, also of conflicting ones."""

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
