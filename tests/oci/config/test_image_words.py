"""Image configs, annotations, secret names, image names and platforms."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.errors import UsageError
from preheat.oci.config.annotations import image_annotations, license_of
from preheat.oci.config.image_config import ConfigAdditions, Health, add_to_config, starts, work_folder
from preheat.oci.model.image import Fields
from preheat.oci.model.image_name import ImageName, Name, read_base, read_name, read_place, stored_names
from preheat.oci.model.platform import Platform
from preheat.oci.registry.layer_limits import limit_of

GUARD = ("/usr/bin/python3", "/opt/preheat/guard.pyz", "--")
RECIPE = ("python", "webui.py")


@pytest.mark.parametrize(
    ("own", "asked", "started"),
    [
        ({}, (), ((), RECIPE)),
        ({"Cmd": ["bash"]}, (), ((), RECIPE)),
        ({"Cmd": ["/usr/bin/python3"]}, (), ((), RECIPE)),
        ({"Cmd": ["python", "other.py"]}, (), ((), RECIPE)),
        ({"Entrypoint": ["/start.sh"]}, (), (("/start.sh",), ())),
        ({"Entrypoint": ["/start.sh"], "Cmd": ["serve"]}, (), (("/start.sh",), ("serve",))),
        ({"Entrypoint": ["/nvidia_entrypoint.sh"], "Cmd": ["/bin/bash"]}, (), (("/nvidia_entrypoint.sh",), RECIPE)),
        ({"Entrypoint": ["/start.sh"], "Cmd": ["serve"]}, ("train",), (("/start.sh",), ("train",))),
    ],
)
def test_the_base_starts_its_own_app_and_else_the_recipe_does(
    own: dict[str, object], asked: tuple[str, ...], started: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    assert starts({"config": own}, ConfigAdditions(command=RECIPE, given_command=asked)) == started


def test_the_bases_config_is_kept_and_ours_is_added() -> None:
    base: Fields = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "container_config": {"Hostname": "x"},
        "config": {
            "User": "1000",
            "WorkingDir": "/srv",
            "Env": ["PATH=/a:/b", "HF_HUB_OFFLINE=0"],
            "Entrypoint": ["/start.sh"],
            "ExposedPorts": {"22/tcp": {}},
            "Labels": {"theirs": "1"},
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:a"]},
        "history": [{"created_by": "theirs"}],
    }
    additions = ConfigAdditions(
        GUARD, RECIPE, (), "/app", {"HF_HUB_OFFLINE": "1"}, Health(("CMD", "x")), (7860,), {"preheat.lock": "sha256:l"}
    )
    said = add_to_config(base, additions, [("sha256:b", "weights")])
    assert said["config"] == {
        "User": "1000",
        "WorkingDir": "/srv",
        "Env": ["PATH=/a:/b", "HF_HUB_OFFLINE=1"],
        "Entrypoint": [*GUARD, "/start.sh"],
        "ExposedPorts": {"22/tcp": {}, "7860/tcp": {}},
        "Labels": {"theirs": "1", "preheat.lock": "sha256:l"},
        # As in the specification: 30 s, 10 s, 60 s and three retries.
        "Healthcheck": {
            "Test": ["CMD", "x"],
            "Interval": 30_000_000_000,
            "Timeout": 10_000_000_000,
            "StartPeriod": 60_000_000_000,
            "Retries": 3,
        },
    }
    assert said["rootfs"] == {"type": "layers", "diff_ids": ["sha256:a", "sha256:b"]}
    assert said["created"] == "2026-01-01T00:00:00Z"
    assert said["history"] == [
        {"created_by": "theirs"},
        {"created": "1970-01-01T00:00:00Z", "created_by": "preheat build: weights"},
    ]
    assert "container_config" not in said
    assert work_folder(base) == "/srv"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("scratch", ImageName("scratch")),
        ("oci:/a/b:v1", ImageName("oci", Path("/a/b"), "v1")),
        ("oci-archive:/a.tar", ImageName("oci-archive", Path("/a.tar"))),
        ("docker-archive:/a.tar:me/x:1", ImageName("docker-archive", Path("/a.tar"), "me/x:1")),
        ("docker://ubuntu", ImageName("docker", name=Name("docker.io", "library/ubuntu", "latest"))),
        ("docker://ghcr.io/me/x:1", ImageName("docker", name=Name("ghcr.io", "me/x", "1"))),
        ("docker://localhost:5000/x", ImageName("docker", name=Name("localhost:5000", "x", "latest"))),
        (f"docker://r.lan/x@sha256:{'0' * 64}", ImageName("docker", name=Name("r.lan", "x", "", f"sha256:{'0' * 64}"))),
    ],
)
def test_an_image_name_is_parsed(text: str, place: ImageName) -> None:
    assert read_place(text) == place


@pytest.mark.parametrize(
    "text",
    ["", "oci:", "oci:/a:b:c/d", "docker:ubuntu", "docker://UPPER/x/Y", "docker://r/x@sha256:1", "tar:/x", "/a/b"],
)
def test_an_invalid_image_name_is_rejected_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as error:
        read_place(text)
    assert error.value.hint


@given(st.text(max_size=80))
def test_any_text_is_an_image_name_or_rejected(text: str) -> None:
    try:
        name = read_name(text)
    except UsageError:
        return
    assert read_name(str(name)) == name


def test_loopback_registries_are_recognized() -> None:
    loopback = ["localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "x.localhost"]
    assert all(Name(host, "x").loopback for host in loopback)
    assert not any(Name(host, "x").loopback for host in ("ghcr.io", "localhost.example.com", "10.0.0.1:5000", "[::2]"))


def test_well_known_registries_have_limits() -> None:
    known = {"ghcr.io": 10 << 30, "1.dkr.ecr.eu-west-1.amazonaws.com": 52_000 << 20, "public.ecr.aws": 10_000_000_000}
    for host, size in known.items():
        limit = limit_of(host)
        assert limit is not None
        assert limit.layer_size == size
    assert limit_of("registry.lan:5000") is None


def test_a_platform_is_parsed_and_fits_a_less_specific_one() -> None:
    assert str(Platform.parse("linux/arm/v7")) == "linux/arm/v7"
    assert Platform.parse("linux/arm64").fits({"os": "linux", "architecture": "arm64", "variant": "v8"})
    assert not Platform.parse("linux/arm/v7").fits({"os": "linux", "architecture": "arm", "variant": "v6"})
    for text in ("linux", "linux/", "a/b/c/d"):
        with pytest.raises(UsageError):
            Platform.parse(text)


def test_licences_are_read_from_model_cards() -> None:
    assert license_of("---\nlanguage: en\nlicense: apache-2.0\n---\n# Hi\n") == "apache-2.0"
    assert license_of("---\nlicense: other\nlicense_name: bilibili-1.0\n---\n") == "bilibili-1.0"
    assert license_of("# no front matter\nlicense: mit\n") == ""
    said = image_annotations("app", ["hf:a/b@c", "hf:a/b@c"], ["mit", "mit", "apache-2.0"], "sha256:x", 1)
    assert said["org.opencontainers.image.licenses"] == "mit AND apache-2.0"
    assert said["preheat.sources"] == "hf:a/b@c"


@pytest.mark.parametrize(
    ("text", "base", "output"),
    [
        ("webui", "local webui:latest", ""),
        ("me/webui:2", "local me/webui:2", ""),
        ("localhost/webui:2", "local localhost/webui:2", ""),
        ("0123456789ab", "local 0123456789ab", ""),
        ("containers-storage:webui", "containers-storage webui:latest", "containers-storage localhost/webui:latest"),
        ("docker-daemon:me/webui:2", "docker-daemon me/webui:2", "docker-daemon me/webui:2"),
        ("oci:webui:2", "oci 2", "oci 2"),
    ],
)
def test_a_base_may_be_named_as_engines_show_it_and_an_output_names_its_store(
    text: str, base: str, output: str
) -> None:
    assert f"{read_base(text).kind} {read_base(text).tag}" == base
    if not output:
        with pytest.raises(UsageError, match="not a valid image location"):
            read_place(text)
    else:
        assert f"{read_place(text).kind} {read_place(text).tag}" == output


def test_podman_knows_a_short_name_by_a_full_one() -> None:
    assert stored_names("webui:1") == ("localhost/webui:1", "docker.io/library/webui:1")
    assert stored_names("quay.io/me/webui:1") == ("quay.io/me/webui:1",)


def test_a_stop_signal_that_the_guard_does_not_forward_is_replaced() -> None:
    base: Fields = {"config": {"StopSignal": "SIGQUIT"}}
    guarded = add_to_config(base, ConfigAdditions(guard=GUARD, command=RECIPE), [])["config"]
    plain = add_to_config(base, ConfigAdditions(command=RECIPE), [])["config"]
    assert isinstance(guarded, dict)
    assert isinstance(plain, dict)
    assert (guarded["StopSignal"], plain["StopSignal"]) == ("SIGTERM", "SIGQUIT")


def test_a_working_directory_that_is_no_path_is_the_root() -> None:
    for folder in ("/a\0b", "/" + "a/" * 2048, ["/a"] * 2000):
        assert work_folder({"config": {"WorkingDir": folder}}) == "/"
    assert work_folder({"config": {"WorkingDir": "/a/b"}}) == "/a/b"


@pytest.mark.parametrize("path", ["./layout2", "../out/layout", "/srv/layout", "./webui.tar"])
def test_a_path_without_a_kind_leads_to_a_place_on_this_disk(path: str) -> None:
    for read in (read_place, read_base):
        with pytest.raises(UsageError) as error:
            read(path)
        assert "docker://" not in error.value.hint
        first = re.split(r"[, ]", error.value.hint)[0]
        assert read_place(first).path == Path(path).absolute() or read_place(first).path == Path(path)
    with pytest.raises(UsageError):
        read_place("docker://./layout2")
