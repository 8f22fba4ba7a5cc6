"""Video memory, as reported by a small library in place of NVIDIA's."""

import shutil
import subprocess
from pathlib import Path

import pytest

from preheat.proof.start.gpu import Gpus

# As nvml.h declares them, for two GPUs with 3 and 5 GB in use.
NVML = """
#include <string.h>
typedef struct { unsigned long long total, free, used; } memory_t;
static int gpus[2] = {3, 5};
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) { *device = &gpus[index]; return 0; }
int nvmlDeviceGetName(void *device, char *name, unsigned int length) { strncpy(name, "Fake 1", length); return 0; }
int nvmlDeviceGetMemoryInfo(void *device, memory_t *memory) {
  memory->used = *(int *)device * 1000000000ULL; return 0;
}
"""


def compiled(folder: Path, init: int) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    (folder / "nvml.c").write_text(NVML)
    library = folder / f"libnvidia-ml-{init}.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", f"-DINIT={init}", "-o", library, folder / "nvml.c"], check=True, cwd=folder
    )
    return str(library)


def test_the_use_of_all_gpus_is_added_up(tmp_path: Path) -> None:
    with Gpus(compiled(tmp_path, init=0)) as gpus:
        assert gpus.names == ("Fake 1", "Fake 1")
        assert gpus.used == 8_000_000_000
    assert gpus.used is None


def test_no_gpu_gives_none_and_not_0(tmp_path: Path) -> None:
    with Gpus(str(tmp_path / "no-such-library.so")) as gpus:
        assert gpus.names == ()
        assert gpus.used is None


def test_a_driver_that_does_not_start_means_no_gpu(tmp_path: Path) -> None:
    with Gpus(compiled(tmp_path, init=9)) as gpus:
        assert gpus.used is None
