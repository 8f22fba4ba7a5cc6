"""Apps whose clients ask their hub at each start, in images without a network: the guard serves the hub."""

import os
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.guard.apps import until
from tests.oci.bases import layer, layout, python_layer
from tests.outsiders.conftest import Outsider
from tests.outsiders.test_guard_in_containers import podman, works
from tests.outsiders.test_images import build, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PAGE = """
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said.encode())
    def log_message(self, *words):
        pass
http.server.HTTPServer(("127.0.0.1", 7860), Page).serve_forever()
"""
ROWS = """
import datasets
said = str(sum(row["n"] for row in datasets.load_dataset("acme/rows", split="train")))
"""
SNAPSHOT = """
import os
from modelscope import snapshot_download
folder = snapshot_download("acme/tiny")
said = str(sum(os.path.getsize(os.path.join(folder, name)) for name in ("model.safetensors", "config.json")))
"""
CASES = {
    "datasets": (("datasets==5.2.0", "modelscope==1.40.2"), ROWS, "hf:datasets/acme/rows", "hf-cache", "499500"),
    "modelscope": (("datasets==5.2.0", "modelscope==1.40.2"), SNAPSHOT, "ms:acme/tiny", "modelscope", "9000023"),
    "modelscope 1.27": (("modelscope==1.27.0",), SNAPSHOT, "ms:acme/tiny", "modelscope-old", "9000023"),
}
ASK = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:7860/').read().decode())"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    (folder / "data").mkdir()
    (folder / "data/train.jsonl").write_text("".join(f'{{"n": {number}}}\n' for number in range(1000)))
    (folder / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: data/train.jsonl\n---\n")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return python_layer(tmp_path_factory.mktemp("python"))


def packages(python: Path) -> bytes:
    """Return a layer with the packages of a virtual environment, openssl, the authorities, and all their libraries."""
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    files: dict[str, bytes | str | None] = {}
    linked = {Path("/usr/bin/openssl")}
    for path in site.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and not path.is_relative_to(site / "pip"):
            files[f"app/packages/{path.relative_to(site)}"] = path.read_bytes()
    objects = [str(path) for path in site.rglob("*.so*")]
    told = subprocess.run(["ldd", "/usr/bin/openssl", *objects], capture_output=True, text=True, check=False).stdout
    linked |= {Path(word) for word in told.split() if word.startswith("/") and not word.startswith(str(site))}
    for path in sorted(path for path in linked if path.is_file()):
        files[str(path).lstrip("/")] = path.read_bytes()
    return layer(files)


def said_by(command: tuple[str, ...], name: str) -> str:
    """Return what a container wrote to its outputs."""
    told = subprocess.run([*command, "logs", name], capture_output=True, text=True, check=False)
    return told.stdout + told.stderr


# modelscope up to 1.37 writes to its cache at each call: only root may, since the image's files are root's.
@pytest.mark.parametrize(
    ("case", "user"), [*((case, "0:0") for case in CASES), ("datasets", "4321:4321"), ("modelscope", "4321:4321")]
)
def test_an_app_that_asks_its_hub_starts_in_an_image_without_a_network(
    preheat: Preheat, hub: FlakyHub, outsider: Outsider, base: bytes, rows: Path, model: Path, case: str, user: str
) -> None:
    requirements, app, ref, view, said = CASES[case]
    preheat.env.update({name: os.environ[name] for name in ("CONTAINERS_CONF",) if name in os.environ})
    (preheat.folder / "preheat.toml").write_text(
        '[app]\nname = "asks"\ncommand = ["/usr/bin/python3", "{dir}/app.py"]\nready = "http://127.0.0.1:7860/"\n'
        f'hub = true\n[[needs]]\nref = "{ref}"\nview = "{view}"\n'
    )
    with podman() as command, FlakyHub({"acme/tiny": model, "datasets/acme/rows": rows}) as hub:
        preheat.env |= {"HF_ENDPOINT": hub.url, "MODELSCOPE_ENDPOINT": hub.url}
        told = preheat("pull", "preheat.toml")
        assert told.status == 0, told.err
        config = {"WorkingDir": "/app", "User": user, "Env": ["PYTHONPATH=/app/packages", "HOME=/tmp"]}
        layers = [base, packages(outsider(*requirements)), layer({"app/app.py": (app + PAGE).encode()})]
        build(preheat, layout(preheat.folder / "base", layers, config), "oci:out:v1")
        name = f"preheat-{uuid.uuid4().hex[:8]}"
        run(*command, "run", "--detach", "--name", name, "--network=none", f"oci:{preheat.folder}/out:v1")
        image = run(*command, "inspect", "--format", "{{.Image}}", name).strip()
        try:
            check = [*command, "exec", name, "/usr/bin/python3", "/opt/preheat/guard.pyz", "--check", "127.0.0.1:7861"]
            assert until(lambda: works(*check), 90), said_by(command, name)
            assert run(*command, "exec", name, "/usr/bin/python3", "-c", ASK).strip() == said
        finally:
            run(*command, "rm", "--force", "--time", "2", name)
            run(*command, "rmi", "--force", image)
