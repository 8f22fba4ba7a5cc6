"""Every verb that uses the network, through real proxies: squid and tinyproxy, with a password, over TLS."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.mirroring import mirroring
from tests.oci.bases import layer, layout
from tests.oci.small_registry import Faults, serving
from tests.real_proxies import squid, tinyproxy
from tests.stories.kept import contents
from tests.stories.test_trace import CLIENT

pytestmark = pytest.mark.slow

LOGIN = "joe:s3cret"
NO_LOGIN = ""


@contextlib.contextmanager
def tinyproxy_behind_squid(login: str) -> Iterator[str]:
    with squid(LOGIN) as far, tinyproxy(login, upstream=f"{LOGIN}@{far.partition('://')[2]}") as url:
        yield url


Start = Callable[[str], AbstractContextManager[str]]
KINDS: dict[str, Start] = {
    "squid": squid,
    "squid over TLS": lambda login: squid(login, tls=True),
    "tinyproxy": tinyproxy,
    "tinyproxy behind squid": tinyproxy_behind_squid,
}


@pytest.fixture(params=KINDS)
def proxy(request: pytest.FixtureRequest) -> Iterator[str]:
    """A proxy that requires a password, and its URL with the password."""
    with KINDS[request.param](LOGIN) as url:
        yield url.replace("://", f"://{LOGIN}@")


@pytest.mark.parametrize("tls", [True, False], ids=["https hub", "http hub"])
def test_pull(proxy: str, tls: bool, preheat: Preheat, model: Path) -> None:
    with FlakyHub({"acme/tiny": model}, tls=tls) as hub:
        told = preheat("pull", "acme/tiny", "--view", "flat=here", HF_ENDPOINT=hub.url, all_proxy=proxy)
        assert told.status == 0, told.err
        assert contents(preheat.folder / "here") == contents(model)
        assert not any("proxy-authorization" in request.headers for request in hub.asked())


@pytest.mark.parametrize("tls", [True, False], ids=["https hub", "http hub"])
@pytest.mark.parametrize("start", [squid, tinyproxy])
def test_a_password_is_asked_for_and_a_wrong_one_rejected(
    start: Start, tls: bool, preheat: Preheat, model: Path
) -> None:
    with FlakyHub({"acme/tiny": model}, tls=tls) as hub, start(LOGIN) as url:
        variable = "https_proxy" if tls else "http_proxy"
        preheat.env |= {"HF_ENDPOINT": hub.url}
        for shown, said in ((url, "requires a user and a password"), (url.replace("://", "://joe:wr0ng@"), "rejects")):
            preheat.env[variable] = shown
            told = preheat("pull", "acme/tiny", "--json")
            assert told.status == 3
            assert said in told.last["message"], told.last
            assert variable in told.last["hint"]
            assert "wr0ng" not in told.out + told.err
        assert hub.asked() == []


@pytest.mark.parametrize("tls", [True, False], ids=["https hub", "http hub"])
@pytest.mark.parametrize("start", [squid, tinyproxy])
def test_a_hub_that_is_down_behind_a_proxy(start: Start, tls: bool, preheat: Preheat) -> None:
    endpoint = f"{'https' if tls else 'http'}://127.0.0.1:1"
    with start(NO_LOGIN) as url:
        told = preheat("pull", "acme/tiny", "--json", HF_ENDPOINT=endpoint, all_proxy=url)
        assert told.status == 3
        assert url in told.last["message"], told.last
        assert f"cannot reach {endpoint}" in told.last["message"]


def test_a_proxy_that_does_not_speak_tls(preheat: Preheat) -> None:
    with squid() as url:
        told = preheat("pull", "acme/tiny", "--json", all_proxy=url.replace("http", "https"))
        assert told.status == 3
        assert "does not support TLS" in told.last["message"], told.last


def test_mirror(proxy: str, preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    mirror, url = mirroring(preheat, "--upstream", f"hf={hub.url}", all_proxy=proxy)
    library = str(preheat.folder / "other")
    told = preheat("pull", "acme/tiny", "--view", "flat=here", "--library", library, HF_ENDPOINT=url)
    assert told.status == 0, told.err
    assert contents(preheat.folder / "here") == contents(model)
    assert "s3cret" not in mirror.out + mirror.err


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_build(proxy: str, tls: bool, preheat: Preheat, tmp_path: Path) -> None:
    (preheat.folder / "preheat.toml").write_text(
        '[app]\nname = "demo"\n[[needs]]\nref = "acme/tiny"\nview = "local-dir"\nat = "checkpoints"\n'
    )
    base = layout(tmp_path / "base", [layer({"app": None, "app/app.py": b"print()"})], {"WorkingDir": "/app"})
    with serving(Faults(auth="token"), tls=tls) as registry:
        (preheat.folder / ".docker").mkdir()
        login = {"auths": {registry.host: {"username": "me", "password": "very secret"}}}
        (preheat.folder / ".docker/config.json").write_text(json.dumps(login))
        preheat.env["all_proxy"] = proxy
        assert preheat("pull", "preheat.toml").status == 0
        for start, output in ((base, f"docker://{registry.host}/me/app:1"), ("", "oci:out:v1")):
            start = start or f"docker://{registry.host}/me/app:1"
            told = preheat("build", "--no-guard", "--base", start, "--output", output, "--json")
            assert told.status == 0, told.out + told.err
            assert "s3cret" not in told.out + told.err


def test_trace(proxy: str, preheat: Preheat, hub: FlakyHub) -> None:
    (preheat.folder / "app.py").write_text(f"{CLIENT}\nopen(get('model.safetensors'), 'rb').read()")
    preheat.env |= {"MODELSCOPE_ENDPOINT": hub.url, "all_proxy": proxy, "https_proxy": proxy, "http_proxy": proxy}
    told = preheat("trace", "--json", "--settle", "0s", "--", sys.executable, "-u", "app.py")
    assert told.status == 0, told.err
    [need] = told.last["needs"]
    assert need["ref"] == "hf:acme/tiny"
    assert "s3cret" not in told.out + told.err
    assert "s3cret" not in (preheat.folder / "preheat.toml").read_text()
