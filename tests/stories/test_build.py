"""Build, end to end: a reproducible image from the library, and no image after an error."""

import hashlib
import io
import json
import os
import shutil
import signal
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.command import Preheat, Told
from tests.oci.bases import Files, layer, layout
from tests.oci.small_registry import Faults, serving
from tests.stories.disk import disk

RECIPE = """
[app]
name = "demo"
command = ["python3", "{dir}/app.py"]
ready = "http://127.0.0.1:7860/"
env = { MODE = "fast" }
[[needs]]
ref = "acme/tiny"
[[needs]]
ref = "acme/tiny"
view = "flat"
at = "checkpoints"
"""
PYTHON: Files = {"usr/bin/python3": "python3.11", "usr/bin/python3.11": b"#!", "app": None, "app/app.py": b"pass"}


@pytest.fixture
def app(preheat: Preheat) -> Preheat:
    """A recipe and its needs, pulled."""
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    assert preheat("pull", "preheat.toml", "--quiet").status == 0
    shutil.rmtree(preheat.folder / "checkpoints", ignore_errors=True)
    return preheat


@pytest.fixture
def base(tmp_path: Path) -> str:
    return layout(tmp_path / "bases", [layer(PYTHON)], {"WorkingDir": "/app", "User": "1000"}, packed=True)


def build(preheat: Preheat, base: str, output: str, *words: str) -> Told:
    return preheat("build", "--base", base, "--output", output, "--json", *words)


class Layout:
    """An image in a layout, read only with json and tarfile."""

    def __init__(self, at: Path, tag: str) -> None:
        self._blobs = at / "blobs/sha256"
        listed = json.loads((at / "index.json").read_bytes())["manifests"]
        [entry] = [one for one in listed if one["annotations"]["org.opencontainers.image.ref.name"] == tag]
        self.digest = entry["digest"]
        self.manifest = self.document(entry["digest"])
        self.config = self.document(self.manifest["config"]["digest"])

    def body(self, digest: str) -> bytes:
        body = (self._blobs / digest.removeprefix("sha256:")).read_bytes()
        assert hashlib.sha256(body).hexdigest() == digest.removeprefix("sha256:")
        return body

    def document(self, digest: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body(digest))
        return document

    def unpack(self, at: Path) -> Path:
        """Apply the layers in order, as a runtime does."""
        at.mkdir()
        for one in self.manifest["layers"]:
            with tarfile.open(fileobj=io.BytesIO(self.body(one["digest"]))) as tar:
                tar.extractall(at, filter="fully_trusted")
        return at


def test_an_image_has_the_views_the_guard_and_the_lock_and_starts_the_app_offline(
    app: Preheat, base: str, model: Path
) -> None:
    told = build(app, base, "oci:out:v1")
    assert told.status == 0, told.err + told.out
    image = Layout(app.folder / "out", "v1")
    assert told.last["digest"] == image.digest
    root = image.unpack(app.folder / "root")
    flat = root / "app/checkpoints"
    assert {str(one.relative_to(model)) for one in model.rglob("*") if one.is_file()} == {
        str(one.relative_to(flat)) for one in flat.rglob("*") if one.is_file()
    }
    for one in model.rglob("*"):
        if one.is_file():
            assert (flat / one.relative_to(model)).read_bytes() == one.read_bytes()
    [snapshot] = (root / "opt/preheat/views/hf-cache/models--acme--tiny/snapshots").iterdir()
    assert (snapshot / "model.safetensors").resolve().is_relative_to(root / "opt/preheat/blobs")
    for link in root.rglob("*"):
        if link.is_symlink():
            assert link.resolve().is_relative_to(root.resolve())
    config = image.config["config"]
    assert config["User"] == "1000"
    assert config["WorkingDir"] == "/app"
    assert config["Entrypoint"][:2] == ["/usr/bin/python3", "/opt/preheat/guard.pyz"]
    assert config["Cmd"] == ["python3", "/app/app.py"]
    assert config["Healthcheck"]["Test"][:3] == ["CMD", "/usr/bin/python3", "/opt/preheat/guard.pyz"]
    assert "7860/tcp" in config["ExposedPorts"]
    assert {"HF_HUB_OFFLINE=1", "MODE=fast", "HF_HUB_CACHE=/opt/preheat/views/hf-cache"} <= set(config["Env"])
    lock = (root / "opt/preheat/preheat.lock").read_bytes()
    said = image.manifest["annotations"]
    assert said["preheat.lock"] == f"sha256:{hashlib.sha256(lock).hexdigest()}"
    assert said["preheat.sources"].endswith(f"acme/tiny@{snapshot.name}")
    assert len(image.config["rootfs"]["diff_ids"]) == len(image.manifest["layers"])


def test_every_file_is_readable_by_any_user_and_has_no_time_or_owner(app: Preheat, base: str) -> None:
    build(app, base, "oci:out:v1", "--max-layer-size", "20M")
    image = Layout(app.folder / "out", "v1")
    for one in image.manifest["layers"][1:]:
        with tarfile.open(fileobj=io.BytesIO(image.body(one["digest"]))) as tar:
            members = tar.getmembers()
        assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in members} == {(0, 0, "", "", 0)}
        assert {one.mode for one in members} <= {0o444, 0o555, 0o755, 0o777}


def test_a_second_build_writes_nothing_and_another_machine_gets_the_same_digest(app: Preheat, base: str) -> None:
    first = build(app, base, "oci:out:v1").last
    again = build(app, base, "oci:out:v2").last
    assert again["digest"] == first["digest"]
    assert set(again["took"]) == {"here"}
    # Another date, umask and user, and another library filled in another order.
    other = app.folder / "other"
    other.mkdir()
    (other / "preheat.toml").write_text(RECIPE)
    words = ("--library", str(other / "library"))
    preheat = Preheat(other, app.env["HF_ENDPOINT"])
    preheat("pull", "acme/tiny", "--files", "voices/*", *words)
    preheat("pull", "acme/tiny", *words)
    inside = ("sh", "-c", 'umask 077; exec "$@"', "sh")
    told = preheat(
        "build", "--base", base, "--output", "oci:out:v1", "--json", *words, inside=inside, TZ="Asia/Tokyo", LC_ALL="C"
    )
    assert told.last["digest"] == first["digest"], told.err


def test_a_changed_file_changes_one_layer(app: Preheat, base: str, hub: Any, model: Path) -> None:
    build(app, base, "oci:out:v1")
    before = {one["digest"] for one in Layout(app.folder / "out", "v1").manifest["layers"]}
    copied = app.folder / "next"
    shutil.copytree(model, copied)
    (copied / "config.json").write_text('{"model_type": "other"}\n')
    (app.folder / "preheat.toml").write_text(RECIPE.replace('"acme/tiny"', f'"file:{copied}"'))
    app("pull", "preheat.toml", "--quiet")
    shutil.rmtree(app.folder / "checkpoints", ignore_errors=True)
    build(app, base, "oci:out:v2")
    image = Layout(app.folder / "out", "v2")
    new = [one for one in image.manifest["layers"] if one["digest"] not in before]
    # Only the small files of both views; the large file's layer is unchanged.
    assert sum(one["size"] for one in new) < 7_000_000


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_it_is_pushed_to_a_registry_and_copied_to_another(app: Preheat, base: str, tls: bool) -> None:
    with serving(Faults(auth="token", cut=[2_000_000]), tls=tls) as registry:
        (app.folder / ".docker").mkdir()
        login = {"auths": {registry.host: {"username": "me", "password": "very secret"}}}
        (app.folder / ".docker/config.json").write_text(json.dumps(login))
        first = build(app, base, f"docker://{registry.host}/me/app:1")
        assert first.status == 0, first.out
        held = registry.received
        second = build(app, f"docker://{registry.host}/me/app:1", f"docker://{registry.host}/you/app:1", "--no-guard")
        assert second.status == 0, second.out
        assert registry.received - held < 200_000
        assert "very secret" not in first.out + first.err + second.out + second.err
        kinds = {kind for kind, _ in registry.manifests.values()}
        assert kinds == {"application/vnd.oci.image.manifest.v1+json"}


def failed(told: Told, kind: str, end: str = "") -> str:
    """Check that it ended with an error of this kind and end, and a hint; return the message."""
    error = told.last
    assert error["event"] == "error", told.out
    assert (error["kind"], error.get("end", "")) == (kind, end), error
    assert error["hint"]
    message: str = error["message"]
    return message


def test_missing_files_are_reported_before_anything_is_written(preheat: Preheat, base: str) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    assert "acme/tiny" in failed(build(preheat, base, "oci:out:v1"), "NotPreloaded")
    assert not (preheat.folder / "out").exists()


@pytest.mark.parametrize("files", [{"app/checkpoints": b"a file"}, {"app/checkpoints": "/data"}])
def test_a_base_with_files_at_the_views_paths_is_rejected(app: Preheat, tmp_path: Path, files: Files) -> None:
    clashing = layout(tmp_path / "clash", [layer(PYTHON), layer(files)], {"WorkingDir": "/app"})
    assert "/app/checkpoints" in failed(build(app, clashing, "oci:out:v1"), "ImageError", "source")
    assert not (app.folder / "out").exists()


def test_a_damaged_layer_of_the_base_is_an_error_of_the_source_and_no_image_is_named(
    app: Preheat, tmp_path: Path
) -> None:
    place = layout(tmp_path / "bad", [layer(PYTHON), layer({"x": os.urandom(100_000)})], {"WorkingDir": "/app"})
    layers = [path for path in (tmp_path / "bad/blobs/sha256").iterdir() if path.stat().st_size > 100_000]
    body = bytearray(layers[0].read_bytes())
    body[60_000] ^= 1
    layers[0].write_bytes(body)
    assert "does not match its digest" in failed(build(app, place, "oci:out:v1"), "ImageError", "source")
    assert not (app.folder / "out/index.json").exists()


def test_a_base_for_another_platform_is_rejected(app: Preheat, tmp_path: Path) -> None:
    place = layout(tmp_path / "arm", [layer(PYTHON)], architecture="s390x")
    assert "linux/s390x" in failed(build(app, place, "oci:out:v1", "--platform", "linux/amd64"), "ImageError", "source")


def test_a_base_without_python_keeps_its_entrypoint_and_gets_no_guard(app: Preheat, tmp_path: Path) -> None:
    files: Files = {"app": None, "start.sh": b"#!/bin/sh", "usr/bin/curl": b""}
    place = layout(tmp_path / "plain", [layer(files)], {"WorkingDir": "/app", "Entrypoint": ["/start.sh"]})
    told = build(app, place, "oci:out:v1")
    noted = [event for event in told.events if event["event"] == "noted"]
    assert [event["what"] for event in noted] == ["guard", "health check"]
    config = Layout(app.folder / "out", "v1").config["config"]
    assert config["Entrypoint"] == ["/start.sh"]
    assert config["Healthcheck"]["Test"] == ["CMD", "curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:7860/"]


def test_an_image_on_scratch_is_reported_as_one_that_cannot_be_started(app: Preheat, base: str) -> None:
    for dry in (("--dry-run",), ()):
        told = app("build", "--base", "scratch", "--output", "oci:out:v1", *dry)
        assert (told.status, "cannot be started: scratch has no Python" in told.out) == (0, True), told.out + told.err
    told = app("build", "--base", "scratch", "--dockerfile", "context")
    assert (told.status, "cannot be started: scratch has no Python" in told.out) == (0, True), told.out + told.err
    assert build(app, "scratch", "oci:out:v2").last["lacks_program"] is True
    # Weights for a volume are not started, and a base with Python starts the command.
    assert build(app, "scratch", "oci:out:v3", "--format", "modelcar").last["lacks_program"] is False
    assert build(app, base, "oci:out:v4").last["lacks_program"] is False
    assert app("build", "--base", base, "--dockerfile", "context", "--json").last["lacks_program"] is False


def test_the_interval_of_the_health_checks_is_the_images_and_in_the_command_for_podman(app: Preheat, base: str) -> None:
    told = app("build", "--base", base, "--output", "oci:out:v1", "--health-interval", "5s")
    assert told.status == 0, told.err
    assert Layout(app.folder / "out", "v1").config["config"]["Healthcheck"]["Interval"] == 5_000_000_000
    assert "--health-interval 5s" in told.err
    told = app("build", "--base", base, "--dockerfile", "context", "--health-interval", "5s")
    assert "HEALTHCHECK --interval=5s " in (app.folder / "context/Dockerfile").read_text()


def test_without_the_guard_the_command_and_the_check_have_the_recipes_port(app: Preheat, tmp_path: Path) -> None:
    files: Files = {"app": None, "app/serve": b"#!", "usr/bin/curl": b""}
    place = layout(tmp_path / "plain", [layer(files)], {"WorkingDir": "/app"})
    (app.folder / "preheat.toml").write_text(
        '[app]\nname = "demo"\nport = 8188\ncommand = ["{dir}/serve", "{port}"]\nenv = { PORT = "{port}" }\n'
        'ready = "http://127.0.0.1:{port}/"\n'
    )
    for words, port in (((), 8188), (("--port", "9005"), 9005)):
        assert build(app, place, f"oci:out:{port}", *words).status == 0
        config = Layout(app.folder / "out", str(port)).config["config"]
        assert config["Cmd"] == ["/app/serve", str(port)]
        assert f"PORT={port}" in config["Env"]
        assert config["Healthcheck"]["Test"][-1] == f"http://127.0.0.1:{port}/"
        assert list(config["ExposedPorts"]) == [f"{port}/tcp"]


def test_a_registry_that_rejects_uploads_is_the_failed_end_and_gets_no_tag(app: Preheat, base: str) -> None:
    with serving(Faults(largest=1000)) as registry:
        told = build(app, base, f"docker://{registry.host}/me/app:1")
        assert "rejected" in failed(told, "ImageError", "target")
        assert registry.manifests == {}


@pytest.mark.parametrize("where", ["oci:{}/out:v1", "oci-archive:{}/out.tar:v1"])
@pytest.mark.parametrize(("options", "said"), [("size=6m", "has only"), ("size=60m,nr_inodes=4", "no space")])
def test_a_full_disk_is_the_failed_end_and_no_image_is_named(
    app: Preheat, base: str, where: str, options: str, said: str
) -> None:
    with disk(app.folder / "small", options.replace("4", "1") if ".tar" in where else options) as small:
        words = ("--base", base, "--output", where.format(small.mounted), "--json")
        told = app("build", *words, "--library", str(app.library), str(app.folder), inside=small.inside)
        assert said in failed(told, "ImageError", "target")
        left = [path.name for path in small.path.rglob("*") if path.is_file()]
        assert not [name for name in left if name in ("index.json", "out.tar") or name.endswith(".new")]


def test_secrets_are_rejected_by_file_name_content_and_recipe(app: Preheat, base: str) -> None:
    token = "hf_QwErTyUiOpAsDfGhJkLzXcVbNm01234567"
    places = {".env": "x", "sub/.netrc": "x", "config.json": f'{{"token": "{token}"}}'}
    for number, (path, words) in enumerate(places.items()):
        folder = app.folder / f"leak-{number}"
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(words)
        (app.folder / "leak.toml").write_text(f'[app]\nname = "x"\n[[needs]]\nref = "file:{folder}"\nview = "flat"\n')
        app("pull", "leak.toml")
        told = app("build", "leak.toml", "--base", base, "--output", "oci:out:v1", "--json")
        assert path in failed(told, "ImageError", "source")
        assert token not in told.out + told.err
    (app.folder / "leak.toml").write_text(f'[app]\nname = "x"\nenv = {{ HF_TOKEN = "{token}" }}\n')
    told = app("build", "leak.toml", "--base", base, "--output", "oci:out:v1", "--json")
    assert "the recipe contains a secret (huggingface-token)" in failed(told, "ImageError", "source")
    assert not (app.folder / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGINT])
def test_a_build_killed_at_any_moment_leaves_no_image_name_and_few_temporary_files(
    app: Preheat, base: str, signal_: signal.Signals
) -> None:
    for wait in (1, 2, 3):
        running = app.start("build", "--base", base, "--output", "oci:out:v1", "--json", "--events", f"said-{wait}")
        running.until(lambda one, wait=wait: one.out.count("\n") >= wait or one.process.poll() is not None)  # type: ignore[misc]  # one each
        running.kill(signal_)
        # A terminated build leaves nothing; leftovers of a killed one are removed by the next.
        assert signal_ == signal.SIGKILL or not list((app.folder / "out").glob(".preheat*"))
        for blob in (app.folder / "out/blobs/sha256").glob("*"):
            assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert build(app, base, "oci:out:v1").status == 0
    assert not list((app.folder / "out").glob(".preheat*"))


@pytest.mark.slow
def test_two_concurrent_builds_into_one_layout_both_get_their_tag(app: Preheat, base: str) -> None:
    words = ("build", "--base", base, "--json", "--output")
    running = [app.start(*words, f"oci:out:v{number}") for number in range(3)]
    assert [one.ended().status for one in running] == [0, 0, 0]
    assert len({Layout(app.folder / "out", f"v{number}").digest for number in range(3)}) == 1


@pytest.mark.parametrize("words", [b"", b"{", b'{"digest": "nonsense", "size": 9005568}', b'{"size": 1}'])
def test_a_damaged_cache_is_computed_again(app: Preheat, base: str, words: bytes) -> None:
    digest = build(app, base, "oci:out:v1").last["digest"]
    for fact in (app.library / "images").rglob("*.json"):
        fact.write_bytes(words)
    assert build(app, base, "oci:other:v1").last["digest"] == digest


def test_limits_are_reported_before_the_first_byte(app: Preheat, base: str) -> None:
    told = build(app, base, "oci:out:v1", "--max-layer-size", "5M")
    assert "9000000 bytes" in failed(told, "ImageError", "source")
    told = build(app, base, "docker://ghcr.io/me/app:1", "--max-layer-size", "20G")
    assert "GitHub's registry accepts layers up to 10.7 GB" in failed(told, "ImageError", "target")
    assert not (app.folder / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--base", "scratch"),
        ("--base", "no where", "--output", "oci:out:v1"),
        ("--base", "scratch", "--output", "scratch"),
        ("--base", "scratch", "--output", "oci:out:v1", "--format", "docker"),
        ("--base", "scratch", "--output", "oci:out:v1", "--platform", "linux"),
        ("--base", "scratch", "--output", "docker://r.lan/x@sha256:" + "0" * 64),
        ("--check", "scratch"),
    ],
)
def test_invalid_options_are_rejected(preheat: Preheat, words: tuple[str, ...]) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    told = preheat("build", *words, "--json")
    failed(told, "UsageError")
    assert told.status == 2


def test_check_finds_a_file_that_differs_from_the_lock(app: Preheat) -> None:
    (app.folder / "preheat.toml").write_text(RECIPE.partition("[[needs]]")[0] + '[[needs]]\nref = "acme/tiny"\n')
    assert build(app, "scratch", "oci:out:v1", "--format", "modelcar").status == 0
    assert app("build", "--check", "oci:out:v1", "--json").last["files"] == 7
    for blob in (app.folder / "out/blobs/sha256").iterdir():
        body = blob.read_bytes()
        if b'{"model_type": "tiny"}' in body:
            blob.write_bytes(body.replace(b'"tiny"}', b'"tinx"}'))
    told = app("build", "--check", "oci:out:v1", "--json")
    assert told.status == 8, told.out
    assert "config.json" in told.last["message"]


@pytest.mark.parametrize("form", ["modelpack", "modelcar"])
def test_weights_alone_are_plain_files_for_a_volume(app: Preheat, form: str, model: Path) -> None:
    told = build(app, "scratch", "oci:out:v1", "--format", form)
    assert told.status == 0, told.out
    image = Layout(app.folder / "out", "v1")
    root = image.unpack(app.folder / "root")
    if form == "modelcar":
        assert app("build", "--check", "oci:out:v1", "--json").last["files"] == 14
    top = root / "models" if form == "modelcar" else root
    assert (top / "tiny/model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    if form == "modelpack":
        assert image.manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
        assert app("build", "--check", "oci:out:v1", "--json").last["kind"] == "ImageError"
        assert image.config["modelfs"]["diffIds"] == [one["digest"] for one in image.manifest["layers"]]


def test_a_dockerfile_context_has_the_same_files_as_links(app: Preheat, base: str) -> None:
    told = app("build", "--base", base, "--dockerfile", "context", "--json")
    assert told.status == 0, told.out
    text = (app.folder / "context/Dockerfile").read_text()
    assert "FROM ${BASE}" in text
    assert 'CMD ["python3", "/app/app.py"]' in text
    assert "HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3" in text
    [weights] = (app.folder / "context").rglob("opt/preheat/blobs/sha256/*")
    assert weights.stat().st_mode & 0o777 == 0o444
    assert app("build", "--base", base, "--dockerfile", "context").status == 0
    (app.folder / "mine").mkdir()
    (app.folder / "mine/file").touch()
    told = app("build", "--base", base, "--dockerfile", "mine", "--json")
    assert "contains other files" in failed(told, "UsageError")


def test_a_store_without_its_program_is_an_error_that_names_the_way_there(app: Preheat, base: str) -> None:
    (app.folder / "bin").mkdir()
    app.env["PATH"] = str(app.folder / "bin")
    for store, program in (("containers-storage", "podman"), ("docker-daemon", "docker")):
        told = build(app, base, f"{store}:webui:1")
        assert (told.status, told.last["end"]) == (6, "target")
        assert f"requires {program} or skopeo" in told.last["message"]
        assert f"then {program} load" in told.last["hint"]
        told = build(app, f"{store}:webui:1", "oci:out:v1")
        assert (told.status, told.last["end"]) == (6, "source")
        assert f"{program} save" in told.last["hint"]
    told = build(app, "webui:1", "oci:out:v1")
    assert (told.status, told.last["hint"]) == (6, "an image of a registry: docker://webui:1")


def test_a_base_that_is_not_the_apps_own_image_is_reported(app: Preheat, base: str, tmp_path: Path) -> None:
    (app.folder / "app.py").write_text("pass")
    assert "the base has no" not in build(app, base, "oci:out:v1").out
    told = build(app, base, "oci:out:v1", "--dir", "/elsewhere")
    assert "the base has no /elsewhere/app.py: --base takes the app's own image" in told.out
    (app.folder / "preheat.toml").write_text(RECIPE.replace('"python3"', '"uvicorn"'))
    assert "the base has no uvicorn and /elsewhere/app.py" in build(app, base, "oci:out:v1", "--dir", "/elsewhere").out
    # The base's own command is the base's own matter.
    own = layout(tmp_path / "own", [layer(PYTHON)], {"Entrypoint": ["/start.sh"]}, packed=True)
    assert "the base has no" not in build(app, own, "oci:out:v1").out


def test_a_name_without_a_location_leads_to_the_three_that_it_may_mean(app: Preheat, base: str) -> None:
    told = build(app, base, "webui:loaded")
    assert told.last["hint"].startswith(
        "oci:webui:loaded (a folder), containers-storage:webui:loaded (podman), docker-daemon:webui:loaded"
    )


def test_check_does_not_start_an_image_that_build_called_not_startable(app: Preheat, tmp_path: Path) -> None:
    (tmp_path / "podman").write_text("#!/bin/sh\necho started >&2; exit 1\n")
    (tmp_path / "podman").chmod(0o755)
    assert "cannot be started" in app("build", "--base", "scratch", "--output", "oci:out:v1", "--dir", "/app").out
    told = app("build", "--check", "oci:out:v1", PATH=f"{tmp_path}:{app.env['PATH']}")
    assert (told.status, "cannot be started" in told.err) == (0, True), told.err


def test_a_registry_whose_name_is_not_found_leads_to_the_network(app: Preheat) -> None:
    told = app("build", "--base", "docker://nobody.invalid/webui:1", "--output", "oci:out:v1", "--patience", "0s")
    assert told.status == 6
    assert "HTTPS_PROXY=" in told.err
    assert "--plain-http" not in told.err
