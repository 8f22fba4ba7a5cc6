"""Torch with the shim maps the checkpoints that it loads."""

import os
import subprocess
from pathlib import Path

import pytest

from preheat.verbs.run import mapping_weights
from tests.outsiders.conftest import Outsider
from tests.outsiders.test_matrix_of_small_caches import WHISPER

# Prints whether a loaded checkpoint is mapped.
LOADS = """
import sys, torch
path = sys.argv[1]
loaded = torch.load(path)
mapped = any(path in line for line in open("/proc/self/maps"))
print(type(loaded).__name__, round(float(loaded["w"].sum())), mapped)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_torch_maps_what_it_loads_instead_of_copying_it(tmp_path: Path, outsider: Outsider) -> None:
    python = outsider(*WHISPER)
    save = "import sys, torch; torch.save({'w': torch.ones(1 << 20)}, sys.argv[1])"
    subprocess.run([python, "-c", save, tmp_path / "w.pt"], check=True, capture_output=True)
    bare = {"PATH": os.environ["PATH"]}
    for environ, mapped in ((bare, "False"), (bare | mapping_weights({}), "True")):
        told = subprocess.run(
            [python, "-c", LOADS, tmp_path / "w.pt"], env=environ, capture_output=True, text=True, check=True
        )
        assert told.stdout.split() == ["dict", str(1 << 20), mapped]
