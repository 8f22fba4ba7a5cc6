"""Run with a hub: an app that asks its hub at each start is answered from the library, on loopback."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from preheat.guard.net.network_namespace import why_not
from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.guard.apps import free_port

needs_isolation = pytest.mark.skipif(bool(why_not()), reason=why_not())

# A client that knows no offline mode: it lists the repository, and reads a file of it, at both hubs' addresses.
APP = """
import json, os, ssl, sys, urllib.request
told = json.load(urllib.request.urlopen(os.environ["HF_ENDPOINT"] + "/api/models/acme/tiny/revision/main"))
got = urllib.request.urlopen(os.environ["HF_ENDPOINT"] + "/acme/tiny/resolve/main/model.safetensors").read()
trusted = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
page = "https://" + os.environ["MODELSCOPE_DOMAIN"] + "/api/models/acme/tiny"
urllib.request.urlopen(page, context=trusted).read()
print("offline:", sorted(name for name in os.environ if name.endswith("_OFFLINE") and name.startswith(("HF", "TRANS"))))
print("read", told["id"], len(got))
if os.path.exists("crash"):
    os.unlink("crash")
    sys.exit(3)
"""


@pytest.fixture
def recipe(preheat: Preheat, hub: FlakyHub, tmp_path: Path) -> Path:
    """An app that has its model in the library."""
    (tmp_path / "app.py").write_text(APP)
    path = tmp_path / "preheat.toml"
    path.write_text(
        f'[app]\nname = "asks"\ncommand = ["{sys.executable}", "-u", "app.py"]\nhub = true\n'
        '[[needs]]\nref = "hf:acme/tiny"\n'
    )
    assert preheat("pull", str(path)).status == 0
    hub.recovers()
    return path


@pytest.mark.parametrize("network", ["watch", pytest.param("none", marks=needs_isolation)])
def test_an_app_without_an_offline_switch_is_served_by_its_own_library(
    preheat: Preheat, hub: FlakyHub, recipe: Path, network: str
) -> None:
    told = preheat("run", "--json", "--network", network, str(recipe))
    assert told.status == 0, told.err
    assert "read acme/tiny 9000000" in told.out
    assert "offline: []" in told.out
    (seen,) = [event for event in map(json.loads, told.err.splitlines()) if event["event"] == "network-seen"]
    assert seen["outbound"] == 0
    assert not hub.asked()


@needs_isolation
def test_a_restarted_app_reaches_its_hub_again(preheat: Preheat, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "crash").touch()
    told = preheat("run", "--network", "none", "--ready", "line:never", "--max-restarts", "1", str(recipe))
    assert told.out.count("read acme/tiny 9000000") == 2, told.err


def test_a_recipe_that_asks_for_no_hub_gets_none(preheat: Preheat, recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("hub = true\n", ""))
    (recipe.parent / "app.py").write_text(
        "import os; print(os.environ.get('MODELSCOPE_DOMAIN'), os.environ['HF_HUB_OFFLINE'])"
    )
    assert preheat("run", str(recipe)).out == "None 1\n"


WRITTEN_IN = """
import urllib.request
got = urllib.request.urlopen("https://huggingface.co/acme/tiny/resolve/main/config.json").read()
print("read", len(got))
for scheme in ("https", "http"):
    try:
        urllib.request.urlopen(f"{scheme}://telemetry.example.org/ping")
    except OSError as error:
        # As without a network: no host has answered. torch.hub falls back to its cache then, and fails at any status.
        print("refused:", type(error).__name__)
"""


@needs_isolation
def test_an_isolated_app_with_its_hub_written_in_is_served_and_reaches_nobody_else(
    preheat: Preheat, hub: FlakyHub, recipe: Path
) -> None:
    (recipe.parent / "app.py").write_text(WRITTEN_IN)
    told = preheat("run", "--json", "--network", "none", str(recipe))
    assert told.status == 0, told.err
    assert told.out == "read 23\nrefused: URLError\nrefused: RemoteDisconnected\n"
    events = [json.loads(line) for line in told.err.splitlines()]
    assert [event["outbound"] for event in events if event["event"] == "network-seen"] == [0]
    assert "telemetry.example.org" in told.err, "what was refused is reported"
    assert not hub.asked()


ESCAPES = """
import os, socket, sys
proxy = int(os.environ["https_proxy"].rpartition(":")[2])
for _ in range(2):
    with socket.create_connection(("127.0.0.1", proxy), 10) as there:
        there.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\\r\\n\\r\\n" % int(sys.argv[1]))
        print(there.recv(12).decode())
        there.sendall(b"\\x15\\x03\\x03\\x00\\x02\\x02\\x30")
        try:
            while there.recv(1000):
                pass
        except OSError:
            pass
"""


@needs_isolation
def test_an_isolated_app_cannot_leave_by_rejecting_the_certificate(preheat: Preheat, recipe: Path) -> None:
    (recipe.parent / "app.py").write_text(ESCAPES)
    with socket.create_server(("127.0.0.1", 0)) as outside:
        outside.settimeout(0.3)
        port = str(outside.getsockname()[1])
        recipe.write_text(recipe.read_text().replace('"app.py"', f'"app.py", "{port}"'))
        told = preheat("run", "--network", "none", str(recipe))
        assert told.out == "HTTP/1.1 502\n" * 2, told.err
        with pytest.raises(TimeoutError):
            outside.accept()


IMAGE = ("build", "preheat.toml", "--base", "scratch", "--dir", "/app")


def text_of(preheat: Preheat, told: Told, words: tuple[str, ...]) -> str:
    """Return what a container is started with: the compose file, the Dockerfile, or the image's small documents."""
    if words[0] == "serve-config":
        return told.out
    if "--dockerfile" in words:
        return (preheat.folder / "context/Dockerfile").read_text()
    found = preheat.folder.glob("image/blobs/sha256/*")
    return "".join(path.read_text() for path in found if path.stat().st_size < 9000)


@pytest.mark.parametrize(
    "words",
    [
        (*IMAGE, "--output", "oci:image:1"),
        (*IMAGE, "--dockerfile", "context"),
        ("serve-config", "compose", "preheat.toml"),
    ],
    ids=["image", "context", "compose"],
)
def test_a_recipe_may_name_the_hub_that_its_container_asks(
    preheat: Preheat, recipe: Path, words: tuple[str, ...]
) -> None:
    recipe.write_text(recipe.read_text().replace("hub = true", 'hub = true\nenv = { HF_ENDPOINT = "http://m:8000" }'))
    told = preheat(*words)
    assert told.status == 0, told.err
    text = text_of(preheat, told, words)
    assert "http://m:8000" in text
    assert "HF_HUB_OFFLINE" not in text
    assert "--hub" not in text


@pytest.mark.parametrize("more", [(), ("--no-guard",)], ids=["no Python in the base", "--no-guard"])
def test_an_image_without_the_guard_has_no_hub(preheat: Preheat, recipe: Path, more: tuple[str, ...]) -> None:
    told = preheat(*IMAGE, "--output", "oci:image:1", *more)
    assert told.status == 2
    assert "asks its hub at each start, and its container has none" in told.err
    assert "preheat mirror" in told.err
    assert not (preheat.folder / "image").exists()


def test_the_guard_of_a_compose_service_serves_the_hub(preheat: Preheat, hub: FlakyHub, recipe: Path) -> None:
    # The container's command, here without a container: it names only files that the container mounts.
    recipe.write_text(recipe.read_text() + '[[needs]]\nref = "ms:acme/tiny"\n')
    assert preheat("pull", str(recipe), MODELSCOPE_ENDPOINT=hub.url).status == 0
    hub.recovers()
    told = preheat("serve-config", "compose", "preheat.toml")
    assert told.status == 0, told.err
    lines = told.out.partition("entrypoint:")[2].partition("command:")[0].splitlines()
    words = [json.loads(line.strip().removeprefix("- ")) for line in lines if line.strip()]
    port = str(free_port())
    words = [word.replace("127.0.0.1:7861", f"127.0.0.1:{port}") for word in words]
    assert Path(words[words.index("--hub") + 1]).is_relative_to(preheat.library)
    assert '"HF_HUB_OFFLINE"' not in told.out
    environ = {"PATH": preheat.env["PATH"], "HF_ENDPOINT": "http://of-the-base.example"}
    done = subprocess.run(
        [sys.executable, *words[1:]], cwd=preheat.folder, env=environ, capture_output=True, text=True, check=False
    )
    assert "read acme/tiny 9000000" in done.stdout, done.stderr
    assert "offline: []" in done.stdout
    assert not hub.asked()
