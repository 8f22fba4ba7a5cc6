"""Start list, end to end: `trace` writes what a start reads of its environment, and `run` reads it ahead."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.guard.test_warm_up import cached, drop, is_in_memory
from tests.oci.bases import Files, layer, layout
from tests.stories.test_build import RECIPE, Layout, build
from tests.stories.test_trace import CLIENT

# It reads a module, a part of a large library and the weights; and a file of data once it is ready.
APP = """
import mmap, pack
with open("pack/library.so", "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
mapped.madvise(mmap.MADV_RANDOM)
mapped[0], mapped[40 << 20]
open(".env").read()
open(get("model.safetensors"), "rb").read()
"""
SCRIPT = (sys.executable, "-u", "app.py")


@pytest.fixture
def app(preheat: Preheat, hub: FlakyHub) -> Path:
    """An app's folder: its script, a package with a library of 48 MB, and a file of secrets."""
    preheat.env["MODELSCOPE_ENDPOINT"] = hub.url
    folder = preheat.folder
    (folder / "pack").mkdir()
    (folder / "pack" / "__init__.py").write_text("words = 'the package'\n")
    (folder / "pack" / "library.so").write_bytes(b"\x7fELF" * (12 << 20))
    (folder / ".env").write_text("TOKEN=1\n")
    (folder / "app.py").write_text(CLIENT + APP)
    return folder


def reads(folder: Path) -> dict[str, str]:
    """Return the files of a lock's start list, with their ranges."""
    text = tomllib.loads((folder / "preheat.lock").read_text())["start"]["reads"]
    return {path: ranges for path, _, ranges in (line.partition("\t") for line in text.splitlines())}


def test_a_traced_start_lists_what_it_read_in_its_order_without_paths_of_this_machine(
    preheat: Preheat, app: Path
) -> None:
    told = preheat("trace", "--", *SCRIPT)
    assert told.status == 0, told.err
    found = reads(app)
    own = [path for path in found if path.startswith("{dir}/")]
    assert own[0] == "{dir}/app.py"
    assert {"{dir}/pack/__init__.py", "{dir}/pack/library.so"} <= set(own)
    assert any(path.startswith("{python}/") for path in found)
    assert not any(".env" in path or "safetensors" in path for path in found)
    assert str(app) not in (app / "preheat.lock").read_text()


def test_the_parts_that_an_app_had_mapped_when_it_was_ready_are_listed(preheat: Preheat, app: Path) -> None:
    with (app / "app.py").open("a") as script:
        script.write("import time; print('it is up', flush=True); time.sleep(60)\n")
    told = preheat("trace", "--ready", "line:it is up", "--settle", "0s", "--", *SCRIPT)
    assert told.status == 0, told.err
    ranges = [tuple(map(int, part.split("-"))) for part in reads(app)["{dir}/pack/library.so"].split()]
    assert sum(stop - start for start, stop in ranges) < 24 << 20
    assert any(start <= 40 << 20 < stop for start, stop in ranges)


def test_run_reads_the_list_ahead_beside_the_app(preheat: Preheat, app: Path) -> None:
    assert preheat("trace", "--", *SCRIPT).status == 0
    library = app / "pack" / "library.so"
    drop(library)
    if cached(library) > 100:
        pytest.skip("this file system keeps its files in memory")
    # Another app in the same folder, which reads nothing of the list and is ready when asked to be.
    up = app / "up"
    code = f"import os, time\nwhile not os.path.exists({str(up)!r}): time.sleep(0.01)\nprint('up'); time.sleep(1)"
    running = preheat.start("run", "--network", "none", "--ready", "line:up", "--", sys.executable, "-u", "-c", code)
    try:
        running.until(lambda _: is_in_memory(library))
    finally:
        up.touch()
        told = running.ended()
    assert re.search(r"warm-up: \d+ MB read from disk", told.err), told.err


def test_without_a_warm_up_nothing_of_the_list_is_read(preheat: Preheat, app: Path) -> None:
    assert preheat("trace", "--", *SCRIPT).status == 0
    library = app / "pack" / "library.so"
    drop(library)
    told = preheat("run", "--no-warm-up", "--", sys.executable, "-c", "import time; time.sleep(1)")
    assert told.status == 0, told.err
    assert cached(library) < 100


def test_the_list_survives_a_new_lock_and_an_older_lock_is_read(preheat: Preheat, app: Path) -> None:
    assert preheat("trace", "--", *SCRIPT).status == 0
    before = reads(app)
    assert preheat("lock").status == 0
    assert reads(app) == before
    lock = app / "preheat.lock"
    lock.write_text(lock.read_text().partition("\n# What a traced start")[0])
    told = preheat("run", "--locked", "--network", "none")
    assert told.status == 0, told.err


def test_a_list_from_a_stranger_delays_no_app(preheat: Preheat, app: Path) -> None:
    assert preheat("trace", "--", *SCRIPT).status == 0
    (app / "away").symlink_to("/dev")
    lock = app / "preheat.lock"
    text = lock.read_text().partition("reads = ")[0]
    lines = ["{dir}/../../etc/passwd", "{dir}/away/zero", "/dev/zero", "{dir}/pack", *["{dir}/x"] * 100_000]
    lock.write_text(text + "reads = '''\n" + "\n".join(lines) + "\n'''\n")
    told = preheat("run", "--locked", "--network", "none")
    assert told.status == 0, told.err


def test_the_guard_of_an_image_reads_the_list_and_the_weights_by_the_images_paths(
    preheat: Preheat, tmp_path: Path
) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    assert preheat("pull", "preheat.toml", "--quiet").status == 0
    assert preheat("lock").status == 0
    lines = ["{dir}/pack/library.so\t0-4096 8192-65536", "{site-packages}/torch.py", "{python}/os.py", "{dir}/../x"]
    with (preheat.folder / "preheat.lock").open("a") as lock:
        lock.write("[start]\nreads = '''\n" + "\n".join(lines) + "\n'''\n")
    library = "usr/local/lib/python3.11"
    files: Files = {"usr/local/bin/python3": "python3.11", "usr/local/bin/python3.11": b"#!", "app/app.py": b"pass"}
    packages: Files = {f"{library}/site-packages/torch.py": b"pass", f"{library}/os.py": b"pass"}
    config = {"WorkingDir": "/app", "Env": ["PATH=/usr/local/bin:/usr/bin"]}
    base = layout(tmp_path / "bases", [layer({**files, **packages})], config)
    told = build(preheat, base, "oci:out:v1")
    assert told.status == 0, told.err + told.out
    image = Layout(preheat.folder / "out", "v1")
    root = image.unpack(preheat.folder / "root")
    listed = (root / "opt/preheat/start.list").read_text().splitlines()
    assert listed[:4] == [
        "/app/pack/library.so\t0\t4096",
        "/app/pack/library.so\t8192\t65536",
        f"/{library}/site-packages/torch.py",
        f"/{library}/os.py",
    ]
    assert len(listed) > 4
    assert all((root / path.lstrip("/")).is_file() for path in listed[4:])
    entrypoint = image.config["config"]["Entrypoint"]
    assert entrypoint[entrypoint.index("--warm") + 1] == "/opt/preheat/start.list"
    assert build(preheat, base, "oci:out:v2").status == 0
    assert Layout(preheat.folder / "out", "v2").digest == image.digest
