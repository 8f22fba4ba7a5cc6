"""References: what the reader of each reference page has already, and which commands there are not run, and why.

A command that a how-to page or the README shows too is run for that page, and not again here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.docs.how_to.world import RECIPE, World
from tests.docs.how_to.worlds import one_model_folder
from tests.small_store import store_serving
from tests.stories.desk import a1111
from tests.stories.desk import comfyui as install_comfyui
from tests.stories.desk import ollama as install_ollama


@dataclass(frozen=True, slots=True)
class Reference:
    """`unrun` has the beginnings of commands that are not run, each with the reason; a test that it names exists."""

    world: Callable[[World], None]
    unrun: dict[str, str] = field(default_factory=dict)


def _app(world: World) -> None:
    world.app()
    world.first.type("preheat lock && preheat pull")


def _bundles(world: World) -> None:
    folder = world.app(RECIPE.replace("my-webui", "webui"))
    disk = world.root / "usb"
    disk.mkdir()
    world.names["/media/usb"] = str(disk)
    world.first.type("preheat lock && preheat pull")
    world.first.type(f"cp -r {folder} {disk}/webui")


def _fold(world: World) -> None:
    one_model_folder(world)
    world.names["/tmp/units"] = str(world.root / "units")


def _images(world: World) -> None:
    _app(world)
    world.registry("webui:1")


def _mirror(world: World) -> None:
    world.names |= {"0.0.0.0:8000": "127.0.0.1:8000", "https://modelscope.cn": world.hub}


def _services(world: World) -> None:
    world.app()
    world.first.type("preheat pull")
    world.registry("webui:1")


def _stage(world: World) -> None:
    _app(world)
    world.names |= {"/shared/": f"{world.root}/shared/", "/local/nvme": f"{world.root}/nvme"}
    world.names |= {"0.0.0.0:8000": "127.0.0.1:8000", "head1:8000": "127.0.0.1:8000", "head2:8000": "127.0.0.1:9"}


def _stores(world: World) -> None:
    _app(world)
    world.first.env |= world.held.enter_context(store_serving()).environ


def _views(world: World) -> None:
    for install in (install_comfyui, a1111, install_ollama):
        install(world.first.home)
    world.names |= {
        "acme/dream-xl": "stabilityai/stable-diffusion-xl-base-1.0",
        "acme/odd --files 'odd.safetensors'": "me/styles --files ink.safetensors",
        "acme/talk-GGUF": "Qwen/Qwen3-0.6B-GGUF",
    }
    world.first.type("preheat pull stabilityai/stable-diffusion-xl-base-1.0 me/styles Qwen/Qwen3-0.6B-GGUF")


def _cli(world: World) -> None:
    _app(world)
    home = world.first.home
    for folder in (".config/systemd/user", ".config/fish/completions", ".zfunc"):
        (home / folder).mkdir(parents=True)
    for install in (install_comfyui, install_ollama):
        install(home)
    world.registry("webui:1")
    world.first.env |= world.held.enter_context(store_serving()).environ | {"SLURM_JOB_ID": "17"}
    for name in ("usb", "nvme", "models"):
        (world.root / name).mkdir()
    world.names |= {
        "hf=http://mirror.lan:8000": f"hf={world.hub}",
        "hf=https://hf-mirror.com": f"hf={world.hub}",
        "http://rack1:8000": world.hub,
        "https://modelscope.cn": world.hub,
        "0.0.0.0:8000": "127.0.0.1:8000",
        " :8000": " 127.0.0.1:8000",
        "tcp:7860 -- python webui.py": "tcp:7860 -- python webui.py --port 7860",
        "--base docker://docker.io/me/webui:1": f"--base oci:{world.root}/bases/webui:1",
        "docker://docker.io/me/": world.names["docker://ghcr.io/"],
        "bartowski/Llama-3.2-1B-Instruct-GGUF --files '*Q4_K_M.gguf'": "Qwen/Qwen3-0.6B-GGUF",
        "/media/usb": str(world.root / "usb"),
        "/local/nvme": str(world.root / "nvme"),
        "/mnt/models": str(world.root / "models"),
    }
    world.first.type("preheat pull Qwen/Qwen3-0.6B-GGUF stabilityai/stable-diffusion-xl-base-1.0")


_DOCKER = "needs a docker daemon: tests/outsiders/test_images.py"
_PODMAN = "the page indextts2-container starts such a container: tests/docs/how_to/containers.py"
_SYSTEMD = "needs systemd as the user's or the system's manager: tests/deploy/test_service_files.py reads the units"
_REAL = "a real model of gigabytes: tests/recipes/test_builtin_recipes.py"
_PROVED = "the page proof and the README start it: tests/installed/test_installed_readme.py"
_TRACED = "would replace the recipe: tests/installed/test_installed_trace.py"
_CLI = {
    "preheat pull hf:IndexTeam": _REAL,
    "preheat pull https://huggingface.co": "an address of the public hub: tests/cli/test_page_address.py",
    "preheat run examples": "the demo's app: tests/stories/test_demo.py",
    "preheat serve-config systemd preheat.toml --user webui": _SYSTEMD,
    "preheat serve-config k8s preheat.toml --weights node": "needs a cluster: tests/deploy/test_kubernetes_files.py",
    "preheat view modelscope-old": "needs ModelScope: tests/outsiders/test_views.py",
    "preheat view flat": _REAL,
    "preheat mirror --folder": "its default port may be taken: tests/stories/test_mirror.py",
    "preheat mirror --listen :8443": "the system's token file: tests/stories/test_mirror_service.py",
    "preheat stage indextts2": _REAL,
    "preheat trace": _TRACED,
    "preheat build --base webui:1": _PODMAN,
    "preheat build --base oci:./layout:app": "needs an image with the app: tests/stories/test_build.py",
    "preheat build indextts2": _REAL,
    "preheat build --check": _PODMAN,
    "preheat prove": _PROVED,
    "preheat show hf:IndexTeam": _REAL,
    "preheat lock --check --replay": "two more starts: tests/stories/test_replay.py",
    "preheat completion": "only wheels have the files: tests/installed/test_installed_shares.py",
    'eval "$(preheat completion': "only wheels have the files: tests/installed/test_installed_shares.py",
    "preheat import webui.tar": "the page bundles types it: tests/docs/test_references.py",
    "preheat rm openai/whisper-tiny.en --yes": "later examples need the model: tests/stories/test_upkeep.py",
    "preheat adopt": "needs caches of other programs: tests/stories/test_adopt.py",
    "preheat fold --watch": "stays up until it is stopped: tests/stories/test_fold_watch.py",
    "preheat export preheat.toml -o june.tar": "needs an earlier bundle: tests/docs/test_how_to.py",
    "preheat export indextts2": _REAL,
    "preheat import whisper.tar": "the small model has one piece: tests/stories/test_bundles.py",
    "preheat push gs:": "needs Google Cloud Storage: tests/outsiders/test_real_stores.py",
}
REFERENCES: dict[str, Reference] = {
    "bundles": Reference(
        _bundles,
        {
            "tar xf webui.tar": "the page air-gap types it: tests/docs/test_how_to.py",
            "python3 preheat-bundle/preheat.py": "the page air-gap types it: tests/docs/test_how_to.py",
        },
    ),
    "cli": Reference(_cli, _CLI),
    "doctor": Reference(_app),
    "fold": Reference(
        _fold, {"preheat fold --watch": "stays up until it is stopped: tests/stories/test_fold_watch.py"}
    ),
    "guard": Reference(_app, {"make guard": "needs the source tree: tests/guard/test_zip.py starts the same file"}),
    "images": Reference(
        _images,
        {
            "preheat build --check": "the page indextts2-container checks its image: tests/docs/test_how_to.py",
            "preheat build --base webui:1 --output containers-storage": _PODMAN,
            "preheat build --base webui:1 --output docker-daemon": _DOCKER,
            "docker build": _DOCKER,
            "preheat pull preheat.toml --from docker": "a shortened digest: tests/stories/test_pull_from_images.py",
        },
    ),
    "memory-snapshots": Reference(_app),
    "mirror": Reference(
        _mirror,
        {"preheat mirror --listen :8000": "three machines with one port: tests/stories/test_tree_of_mirrors.py"},
    ),
    "proof": Reference(
        _app,
        {
            "preheat prove --hub-rate": "tests/stories/test_prove_judges.py imitates distant hubs",
            "preheat prove --compare": "needs a report of an earlier day: tests/stories/test_prove_judges.py",
            "preheat prove --fail-if": "the page ci judges the same figure: tests/docs/test_how_to.py",
        },
    ),
    "recipes": Reference(_app),
    "services": Reference(
        _services,
        {
            "curl http": "needs the container of the line above: tests/outsiders/test_compose_up.py",
            "podman build": _PODMAN,
            "podman run": _PODMAN,
            "preheat build --base webui:1": _PODMAN,
            "systemctl": _SYSTEMD,
            "sudo systemctl": _SYSTEMD,
            "preheat serve-config systemd --user webui": _SYSTEMD,
        },
    ),
    "stage": Reference(_stage),
    "stores": Reference(_stores, {"pip install": "needs a release on a package index: tests/installed/copies.py"}),
    "trace": Reference(
        _app, {"preheat trace --intercept": "needs network namespaces: tests/smallnet/test_light_programs.py"}
    ),
    "views": Reference(
        _views,
        {
            "preheat pull indextts2 --replace": "the real 8.9 GB: tests/stories/test_users_files.py",
            "preheat run indextts2 --keep": "the real 8.9 GB: tests/stories/test_users_files.py",
            "preheat pull ./preheat.toml --allow-place": "another app's place: tests/stories/test_allowed_places.py",
        },
    ),
}
