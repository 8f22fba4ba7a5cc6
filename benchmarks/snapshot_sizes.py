"""Snapshot sizes: what is in the memory snapshots of pages that map their weights, or copy them; by bytes, at any load.

Needs root, CRIU, and a Python with gradio, torch and transformers. Fills the table of docs/memory-snapshots.md.
"""

import argparse
import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench_snapshots import DOCUMENT, Page
from benchmarks.document import fill

from preheat.guard.kernel.process_tree import family
from preheat.guard.memory_snapshot.saved_memory import list_saved

BEGIN, END = "<!-- sizes: make bench-snapshot-sizes -->", "<!-- end of sizes -->"
GOAL = 0.15
IMPORTS = "import torch, transformers\nimport gradio\n"
# Weights as each way of loading needs them; random, so that no two pages are the same.
MAKE = """
import sys, torch, transformers
from safetensors.torch import save_file
folder, layers = sys.argv[1], int(sys.argv[2])
torch.manual_seed(1)
sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": layers}
config = transformers.BertConfig(**sizes)
transformers.BertModel(config).save_pretrained(folder)
model = transformers.BertModel.from_pretrained(folder)
torch.save(model.state_dict(), folder + "/model.pt")
torch.cat([one.flatten() for one in model.state_dict().values()]).numpy().tofile(folder + "/model.raw")
"""
# Each leaves the weights in `tensors`; all of them are used once, as an app would before it is ready.
USE = "\nused = sum(float(one.sum()) for one in tensors)\n"
LOADS = {
    "`safetensors`": "import safetensors.torch as st\ntensors = [*st.load_file(W + '/model.safetensors').values()]",
    "`torch.load`": "tensors = [*torch.load(W + '/model.pt').values()]",
    "`from_pretrained`": "model = transformers.BertModel.from_pretrained(W)\ntensors = [*model.state_dict().values()]",
    "`load_state_dict`": (
        "model = transformers.BertModel(transformers.BertConfig.from_pretrained(W))\n"
        "model.load_state_dict(torch.load(W + '/model.pt'))\ntensors = [*model.state_dict().values()]"
    ),
    "`.half()`": "tensors = [one.half() for one in torch.load(W + '/model.pt').values()]",
    "`np.fromfile`": "import numpy\ntensors = [torch.from_numpy(numpy.fromfile(W + '/model.raw', numpy.float32))]",
}
_BOUNDS = r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+\s*(.*)$"


@dataclass
class Resident:
    """The resident bytes of an app by where they come from: files, and pages of its own."""

    weights: int = 0
    other_files: int = 0
    data_of_libraries: int = 0
    own: int = 0

    @property
    def total(self) -> int:
        """Return all of them."""
        return self.weights + self.other_files + self.data_of_libraries + self.own


@dataclass(frozen=True)
class Size:
    """A page, its memory when it was saved, and the bytes of the snapshot."""

    name: str
    resident: Resident
    snapshot: int

    def row(self) -> str:
        """Return a row of the table."""
        one = self.resident
        cells = (one.total, self.snapshot, one.own, one.data_of_libraries, one.weights, one.other_files)
        ratio = self.snapshot / one.total
        said = f"**{ratio:.2f}**" if ratio <= GOAL else f"{ratio:.2f}"
        return f"| {self.name} | {' | '.join(f'{cell / 1e6:.0f}' for cell in cells)} | {said} |"


def main() -> None:
    """Measure all pages, and fill the table."""
    form = argparse.ArgumentParser(description=__doc__)
    form.add_argument("--venv", required=True, metavar="PYTHON", help="a Python with gradio, torch and transformers")
    form.add_argument("--layers", type=int, action="append", help="of the weights, 50 MB each; default: 4, 20 and 60")
    options = form.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="preheat-bench-", dir="/var/tmp") as name:
        for size in sizes(Path(name), options.venv, options.layers or (4, 20, 60)):
            rows.append(size.row())
            print(rows[-1], flush=True)
    heads = ("page", "memory", "snapshot", "own pages", "data of libraries", "weights, mapped", "other files, mapped")
    table = [f"| {' | '.join(heads)} | snapshot ÷ memory |", "| --- |" + " ---: |" * len(heads), *rows]
    DOCUMENT.write_text(fill(DOCUMENT.read_text(), BEGIN, END, "\n".join(table) + "\n"))


def sizes(work: Path, python: str, layers: Sequence[int]) -> Iterator[Size]:
    """Yield each page's size: those that load weights in each way, and more of them mapped."""
    yield saved(Page(work / "gradio", python, "import gradio"), "gradio")
    yield saved(Page(work / "none", python, IMPORTS), "torch, transformers, gradio")
    for turn, count in enumerate(layers):
        weights = work / "weights"
        subprocess.run([python, "-c", MAKE, str(weights), str(count)], check=True, capture_output=True)
        mb = (weights / "model.safetensors").stat().st_size / 1e6
        for number, (way, code) in enumerate(LOADS.items()):
            if turn == 0 or number < 1:
                page = Page(work / f"page{turn}{number}", python, f"{IMPORTS}W = {str(weights)!r}\n{code}{USE}")
                yield saved(page, f"the same, {mb:,.0f} MB by {way}", weights)
        shutil.rmtree(weights)


def saved(page: Page, name: str, weights: Path | None = None) -> Size:
    """Start a page, and return its memory and its snapshot once that was made; removes the snapshot."""
    with page.run("--memory-snapshot", until="memory snapshot made") as (_, guard):
        return _size(name, guard.pid, page.folder.parent / "library", weights)


def _size(name: str, guard: int, library: Path, weights: Path | None) -> Size:
    [one] = list_saved(str(library / "memory-snapshots"))
    pids = [member.pid for member in family(guard) if _runs_app(member.pid)]
    found = Size(name, resident(pids, str(weights) if weights else "\0"), one.size)
    shutil.rmtree(Path(one.folder).parent)
    return found


def resident(pids: Sequence[int], weights: str) -> Resident:
    """Return the resident bytes of processes, from proc_pid_smaps(5); pages of their own count once each."""
    found = Resident()
    for pid in pids:
        path = ""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
                begins = re.match(_BOUNDS, line)
                if begins:
                    path, rss = begins[3], 0
                elif line.startswith("Rss:"):
                    rss = 1024 * int(line.split()[1])
                elif line.startswith("Anonymous:"):
                    own = 1024 * int(line.split()[1])
                    if ".so" in path:
                        found.data_of_libraries += own
                    else:
                        found.own += own
                    if weights in path:
                        found.weights += rss - own
                    else:
                        found.other_files += rss - own
    return found


def _runs_app(pid: int) -> bool:
    """Return whether a process is the app's, not one of those between it and the guard."""
    with contextlib.suppress(OSError):
        return b"app.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


if __name__ == "__main__":
    main()
