"""Images as skopeo, umoci, podman, docker, docker-registry and containerd read them; missing programs are skipped."""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority import authority
from tests.command import Preheat, Told
from tests.guard.apps import free_port, until
from tests.oci.bases import layer, layout, python_layer
from tests.outsiders.test_guard_in_containers import docker, podman, works

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Reads its weights through both views, and responds with the result and its user.
APP = b"""
import hashlib, http.server, os
from pathlib import Path
def digest(path): return hashlib.sha256(Path(path).read_bytes()).hexdigest()
[snapshot] = Path(os.environ["HF_HUB_CACHE"], "models--acme--tiny/snapshots").iterdir()
said = f"{digest('/app/checkpoints/model.safetensors')} {digest(snapshot / 'model.safetensors')} {os.getuid()}".encode()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", str(len(said))); self.end_headers()
        self.wfile.write(said)
http.server.HTTPServer(("127.0.0.1", 7860), Handler).serve_forever()
"""
RECIPE = """
[app]
name = "demo"
command = ["/usr/bin/python3", "{dir}/app.py"]
ready = "http://127.0.0.1:7860/"
[[needs]]
ref = "acme/tiny"
[[needs]]
ref = "acme/tiny"
view = "flat"
at = "checkpoints"
"""
ASK = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:7860/').read().decode())"


def run(*words: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=200,
        env={**os.environ, **authority().environ},
    )
    assert done.returncode == 0, f"{words}: {done.stderr}{done.stdout}"
    return done.stdout


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not here")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A layer with a Python."""
    return python_layer(tmp_path_factory.mktemp("python"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, python: bytes) -> str:
    """An image with a Python, and an app that reads its weights, as an unprivileged user."""
    return starting(tmp_path_factory.mktemp("base") / "layout", python, APP)


def starting(at: Path, python: bytes, app: bytes) -> str:
    layers = [python, layer({"app": None, "app/app.py": app})]
    return layout(at, layers, {"WorkingDir": "/app", "User": "4321:4321"}, packed=True)


@pytest.fixture
def app(preheat: Preheat) -> Preheat:
    # Options that podman needs on this machine, as set by CI.
    preheat.env.update({name: os.environ[name] for name in ("CONTAINERS_CONF",) if name in os.environ})
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    assert preheat("pull", "acme/tiny", "--quiet").status == 0
    return preheat


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short name: a socket's path has at most 107 bytes."""
    return tmp_path_factory.mktemp("d")


def build(preheat: Preheat, base: str, output: str, *words: str) -> Told:
    told = preheat("build", "--base", base, "--output", output, "--json", *words)
    assert told.status == 0, told.out + told.err
    return told


def right(said: str, model: Path) -> bool:
    digest = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    return said.split() == [digest, digest, "4321"]


def test_skopeo_reads_and_copies_every_form(app: Preheat, base: str) -> None:
    need("skopeo")
    digest = build(app, base, "oci:out:v1").last["digest"]
    build(app, base, "oci-archive:out.tar:v1")
    build(app, base, "docker-archive:load.tar:acme/demo:1")
    for place in (f"oci:{app.folder}/out:v1", f"oci-archive:{app.folder}/out.tar:v1"):
        assert json.loads(run("skopeo", "inspect", place))["Digest"] == digest
    for number, place in enumerate(("oci:out:v1", "oci-archive:out.tar:v1", "docker-archive:load.tar:acme/demo:1")):
        run("skopeo", "--insecure-policy", "copy", place, f"dir:copied-{number}", cwd=app.folder)
        layers = [path for path in (app.folder / f"copied-{number}").iterdir() if len(path.name) == 64]
        assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in layers)


def test_umoci_unpacks_the_expected_tree(app: Preheat, base: str, model: Path) -> None:
    need("umoci")
    build(app, base, "oci:out:v1")
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    run("umoci", "unpack", *rootless, "--image", f"{app.folder}/out:v1", app.folder / "bundle")
    root = app.folder / "bundle/rootfs"
    there = {str(one.relative_to(model)): one.read_bytes() for one in model.rglob("*") if one.is_file()}
    flat = root / "app/checkpoints"
    files = [Path(folder, name) for folder, _, names in os.walk(flat) for name in names]
    assert {str(one.relative_to(flat)): one.read_bytes() for one in files} == there
    ours = [root / "opt/preheat", *(root / "opt/preheat").rglob("*"), flat, *flat.rglob("*")]
    assert all(one.exists() for one in ours)
    modes = {one.stat().st_mode & 0o777 for one in ours if not one.is_symlink()}
    assert modes == {0o444, 0o555, 0o755}
    assert {(one.lstat().st_uid, one.lstat().st_mtime) for one in ours if one.is_file() and os.geteuid() == 0} <= {
        (0, 0.0)
    }


def test_podman_starts_it_without_a_network_and_check_succeeds(app: Preheat, base: str, model: Path) -> None:
    with podman() as command:
        build(app, base, "oci:out:v1")
        place = f"oci:{app.folder}/out:v1"
        name = f"preheat-{uuid.uuid4().hex[:8]}"
        run(*command, "run", "--detach", "--name", name, "--network=none", place)
        image = run(*command, "inspect", "--format", "{{.Image}}", name).strip()
        try:
            check = [*command, "exec", name, "/usr/bin/python3", "/opt/preheat/guard.pyz", "--check", "127.0.0.1:7861"]
            assert until(lambda: works(*check), 60), run(*command, "logs", name)
            assert right(run(*command, "exec", name, "/usr/bin/python3", "-c", ASK), model)
        finally:
            run(*command, "rm", "--force", "--time", "2", name)
            run(*command, "rmi", "--force", image)
        told = app("build", "--check", place, "--json")
        assert told.status == 0, told.out
        assert told.last["ready_s"] is not None
        assert image not in run(*command, "images", "--quiet", "--no-trunc")


def test_podmans_store_is_read_by_short_names_and_written_with_the_health_check(
    app: Preheat, base: str, model: Path
) -> None:
    with podman() as command:
        name = f"preheat-{uuid.uuid4().hex[:8]}"
        need("skopeo")
        run("skopeo", "--insecure-policy", "copy", base, f"containers-storage:localhost/{name}:base")
        try:
            build(app, f"{name}:base", f"containers-storage:{name}:loaded")
            health = json.loads(run(*command, "inspect", "--format", "{{json .HealthCheck}}", f"{name}:loaded"))
            assert health["Test"][2:] == ["/opt/preheat/guard.pyz", "--check", "127.0.0.1:7861"]
            run(*command, "run", "--detach", "--name", name, f"{name}:loaded")
            assert until(lambda: works(*command, "healthcheck", "run", name), 60), run(*command, "logs", name)
            address = run(*command, "inspect", "--format", "{{.NetworkSettings.IPAddress}}", name).strip()
            # The app listens on 127.0.0.1 in the container.
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{address}:7860/") as page:
                assert right(page.read().decode(), model)
            told = app("build", "--check", f"{name}:loaded", "--json")
            assert told.status == 0, told.out
            run(*command, "image", "exists", f"{name}:loaded")
            # Without podman, by skopeo.
            skopeo = shutil.which("skopeo")
            assert skopeo is not None
            (app.folder / "bin").mkdir()
            (app.folder / "bin/skopeo").symlink_to(skopeo)
            app.env["PATH"] = str(app.folder / "bin")
            build(app, f"containers-storage:{name}:base", f"containers-storage:{name}:again")
            run(*command, "image", "exists", f"localhost/{name}:again")
        finally:
            run(*command, "rm", "--force", "--ignore", "--time", "2", name)
            for tag in ("base", "loaded", "again"):
                works(*command, "rmi", "--force", f"{name}:{tag}")


def test_an_image_that_the_store_has_with_another_tag_is_named(app: Preheat, base: str) -> None:
    with podman() as command:
        need("skopeo")
        name = f"preheat-{uuid.uuid4().hex[:8]}"
        run("skopeo", "--insecure-policy", "copy", base, f"containers-storage:localhost/{name}:base")
        try:
            told = app("build", "--base", name, "--output", "oci:out:v1")
            assert told.status == 6
            assert (
                f"podman or docker has no image {name}:latest" in told.err or f"podman has no image {name}:" in told.err
            )
            assert f"it has localhost/{name}:base" in told.err
            identity = run(*command, "images", "--quiet", f"{name}:base").strip()
            said = app("build", "--base", identity, "--output", "oci:out:v1")
            assert said.status == 0, said.err
            words = "podman run --health-cmd '/usr/bin/python3 /opt/preheat/guard.pyz --check 127.0.0.1:7861'"
            assert words in said.err
        finally:
            works(*command, "rmi", "--force", f"{name}:base")


def test_check_finds_faults_of_an_image(app: Preheat, base: str, python: bytes, tmp_path: Path) -> None:
    with podman():
        nothing = app("build", "--check", base, "--json")
        assert (nothing.status, nothing.last["message"]) == (8, "the image has no lock")
        fetching = starting(tmp_path / "fetching", python, b"print('Downloading shards: 0%', flush=True)\n" + APP)
        build(app, fetching, "oci:out:v1")
        told = app("build", "--check", f"oci:{app.folder}/out:v1", "--json")
        assert (told.status, told.last["message"]) == (8, "the app tries to download: Downloading shards: 0%")
        (app.folder / "preheat.toml").write_text(RECIPE.replace("{dir}/app.py", "{dir}/none.py"))
        build(app, base, "oci:out:v2")
        told = app("build", "--check", f"oci:{app.folder}/out:v2", "--json", "--ready-within", "20s")
        assert told.status == 8
        assert "before it was ready" in told.last["message"] or "not ready within" in told.last["message"]


def test_docker_loads_and_runs_it_and_its_health_check_turns_healthy(
    app: Preheat, base: str, model: Path, short: Path
) -> None:
    with docker(short) as command:
        build(app, base, "docker-archive:load.tar:acme/demo:1")
        run(*command, "load", "--input", app.folder / "load.tar")
        # The image's interval of 30 s is too long for a test: only its command is used.
        test = json.loads(run(*command, "inspect", "--format", "{{json .Config.Healthcheck}}", "acme/demo:1"))
        assert (test["Interval"], test["Timeout"], test["Retries"]) == (30_000_000_000, 10_000_000_000, 3)
        name = run(*command, "run", "--detach", "--network=none", "--health-interval=1s", "acme/demo:1").strip()
        state = [*command, "inspect", "--format", "{{.State.Health.Status}}", name]
        assert until(lambda: run(*state).strip() == "healthy", 90), run(*command, "logs", name)
        assert right(run(*command, "exec", name, "/usr/bin/python3", "-c", ASK), model)
        run(*command, "rm", "--force", name)


def test_dockers_store_is_read_and_written_by_the_names_that_docker_shows(
    app: Preheat, base: str, model: Path, short: Path
) -> None:
    with docker(short) as command:
        need("skopeo")
        app.env["DOCKER_HOST"] = command[-1]
        run("skopeo", "--insecure-policy", "copy", base, f"docker-archive:{app.folder}/base.tar:acme/base:1")
        run(*command, "load", "--input", app.folder / "base.tar")
        build(app, "docker-daemon:acme/base:1", "docker-daemon:acme/demo:1")
        image = run(*command, "inspect", "--format", "{{.Id}}", "acme/base:1").strip().removeprefix("sha256:")[:12]
        build(app, image, "docker-daemon:acme/demo:2")
        ids = [run(*command, "inspect", "--format", "{{.Id}}", f"acme/demo:{tag}") for tag in (1, 2)]
        assert ids[0] == ids[1]
        name = run(*command, "run", "--detach", "--network=none", "--health-interval=1s", "acme/demo:1").strip()
        state = [*command, "inspect", "--format", "{{.State.Health.Status}}", name]
        assert until(lambda: run(*state).strip() == "healthy", 90), run(*command, "logs", name)
        assert right(run(*command, "exec", name, "/usr/bin/python3", "-c", ASK), model)
        run(*command, "rm", "--force", name)


def test_docker_builds_the_same_from_the_dockerfile(app: Preheat, base: str, model: Path, short: Path) -> None:
    with docker(short) as command:
        build(app, base, "docker-archive:load.tar:acme/demo:1")
        need("skopeo")
        run("skopeo", "--insecure-policy", "copy", base, f"docker-archive:{app.folder}/base.tar:acme/base:1")
        run(*command, "load", "--input", app.folder / "base.tar")
        told = app("build", "--base", base, "--dockerfile", "context", "--json")
        assert told.status == 0, told.out
        words = ["--build-arg", "BASE=acme/base:1", "--tag", "acme/built:1", str(app.folder / "context")]
        classic = ["env", "DOCKER_BUILDKIT=0", *command, "build", *words]
        run(*classic)
        name = run(*command, "run", "--detach", "--network=none", "--health-interval=1s", "acme/built:1").strip()
        state = [*command, "inspect", "--format", "{{.State.Health.Status}}", name]
        assert until(lambda: run(*state).strip() == "healthy", 90), run(*command, "logs", name)
        assert right(run(*command, "exec", name, "/usr/bin/python3", "-c", ASK), model)
        run(*command, "rm", "--force", name)


@contextlib.contextmanager
def registry(folder: Path, *, tls: bool = True) -> Iterator[str]:
    """Start a separate docker-registry, over TLS or HTTP."""
    need("docker-registry")
    folder.mkdir()
    host = f"127.0.0.1:{free_port()}"
    shown = {"certificate": str(authority().certificate), "key": str(authority().key)}
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": host, **({"tls": shown} if tls else {})},
    }
    (folder / "settings.yml").write_text(json.dumps(settings))
    words = ["docker-registry", "serve", str(folder / "settings.yml")]
    with open(folder / "log", "wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as server:
        try:
            assert until(lambda: answers(host), 30), (folder / "log").read_text()
            yield host
        finally:
            server.terminate()
            server.wait(20)


def answers(host: str) -> bool:
    try:
        socket.create_connection((host.partition(":")[0], int(host.partition(":")[2])), 1).close()
    except OSError:
        return False
    return True


def test_docker_registry_stores_serves_and_deletes_it(app: Preheat, base: str, tmp_path: Path) -> None:
    need("skopeo")
    with registry(tmp_path / "registry") as host:
        first = build(app, base, f"docker://{host}/acme/demo:1").last
        said = json.loads(run("skopeo", "inspect", f"docker://{host}/acme/demo:1"))
        assert said["Digest"] == first["digest"]
        run(
            "skopeo",
            "--insecure-policy",
            "copy",
            f"docker://{host}/acme/demo:1",
            f"dir:{tmp_path}/d",
        )
        again = build(app, base, f"docker://{host}/acme/demo:2").last
        assert (again["digest"], set(again["took"])) == (first["digest"], {"here"})
        other = build(app, base, f"docker://{host}/acme/other:1").last
        assert set(other["took"]) <= {"mounted", "sent"}
        weights = 9_000_000
        assert other["took"]["mounted"] > weights
        docker_form = build(
            app, f"docker://{host}/acme/demo:1", f"docker://{host}/acme/demo:3", "--format", "docker"
        ).last
        raw = json.loads(run("skopeo", "inspect", "--raw", f"docker://{host}/acme/demo:3"))
        assert raw["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
        assert docker_form["digest"] != first["digest"]
        run("skopeo", "delete", f"docker://{host}/acme/demo:3")
        gone = app("build", "--base", f"docker://{host}/acme/demo:3", "--output", "oci:x:1", "--json")
        assert (gone.last["kind"], gone.last["end"]) == ("ImageError", "source")


def test_containerd_pulls_it(app: Preheat, base: str, tmp_path: Path, short: Path) -> None:
    need("containerd", "ctr")
    if os.geteuid() != 0:
        pytest.skip("containerd wants root")
    # Users type `ctr --plain-http` for their own registry.
    with registry(tmp_path / "registry", tls=False) as host, containerd(short / "c") as command:
        for form, tag in (("oci", "1"), ("docker", "2")):
            build(app, base, f"docker://{host}/acme/demo:{tag}", "--format", form)
            name = f"{host}/acme/demo:{tag}"
            run(*command, "image", "pull", "--plain-http", "--snapshotter", "native", name)
            assert name in run(*command, "image", "list", "--quiet")


@contextlib.contextmanager
def containerd(folder: Path) -> Iterator[list[str]]:
    """Start a separate containerd."""
    folder.mkdir()
    (folder / "config.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    at = f"{folder}/socket"
    words = ["containerd", "--config", f"{folder}/config.toml", "--root", f"{folder}/root"]
    words += ["--state", f"{folder}/state", "--address", at]
    with open(folder / "log", "wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as daemon:
        try:
            if not until(lambda: works("ctr", "-a", at, "version") or daemon.poll() is not None, 30) or daemon.poll():
                pytest.skip(f"containerd does not start here: {(folder / 'log').read_text()[-500:]}")
            yield ["ctr", "-a", at]
        finally:
            daemon.terminate()
            daemon.wait(20)


def test_where_extents_can_be_shared_the_weights_are_not_written(app: Preheat, tmp_path: Path) -> None:
    need("mkfs.xfs")
    at = tmp_path / "xfs"
    at.mkdir()
    with open(tmp_path / "image", "wb") as image:
        image.truncate(700_000_000)
    made = works("mkfs.xfs", "-q", "-m", "reflink=1", f"{tmp_path}/image")
    if not made or not works("mount", "-o", "loop", f"{tmp_path}/image", str(at)):
        pytest.skip("no filesystem with reflinks can be mounted here")
    try:
        words = ("--library", str(at / "library"))
        weights = tmp_path / "weights"
        weights.mkdir()
        (weights / "model.bin").write_bytes(os.urandom(200_000_000))
        (app.folder / "preheat.toml").write_text(
            f'[app]\nname = "x"\n[[needs]]\nref = "file:{weights}"\nview = "flat"\nat = "/models"\n'
        )
        assert app("pull", f"file:{weights}", *words, "--quiet").status == 0
        device = at.stat().st_dev
        stat = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
        for how in ("shared", "shared"):
            os.sync()
            before = int(stat.read_text().split()[6])
            told = app("build", "--base", "scratch", "--output", f"oci:{at}/{time.monotonic_ns()}:v1", "--json", *words)
            assert told.status == 0, told.out
            os.sync()
            assert (int(stat.read_text().split()[6]) - before) * 512 <= 0.01 * 200_000_000
            assert told.last["took"][how] > 200_000_000
        for out in at.glob("[0-9]*/blobs/sha256/*"):
            assert hashlib.sha256(out.read_bytes()).hexdigest() == out.name
    finally:
        works("umount", str(at))
