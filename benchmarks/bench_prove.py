"""Bench prove: whether the results of prove are accurate, on the demo's app.

    python -m benchmarks.bench_prove [--trial]

One proof against a far hub at 1 MB/s a connection (imitated, on this machine) says how much sooner a preloaded start
is, how much of what there is to gain that is, and how far it is from its limit. Two more, of three rounds each and
without cold starts, say whether two proofs agree within the spread they state, and what being measured costs a start.
Writes benchmarks/results/prove.json and the table in docs/proof.md. It requires an idle machine, 8 minutes, and the
demo's app (`make demo` installs it). `--trial` takes a faster hub and one round, to see that all of it works; its
figures mean nothing, and are only printed. `--table` writes the table again from the results.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.document import fill
from benchmarks.machine import describe
from examples.speech_webui import demo

DOCUMENT = Path(__file__).resolve().parents[1] / "docs/proof.md"
BEGIN, END = "<!-- promises: made by benchmarks/bench_prove.py -->", "<!-- end of promises -->\n"
RESULTS = Path(__file__).resolve().parent / "results/prove.json"
ASKED = {"ratio": 12.0, "reached": 0.8, "over_limit": 1.25, "overhead": 0.03}


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--trial", action="store_true", help="a faster hub and one round: the figures mean nothing")
    words.add_argument("--table", action="store_true", help="only write the table again, from the results")
    given = words.parse_args()
    trial = given.trial
    if given.table:
        document(json.loads(RESULTS.read_text()))
        return 0
    began = time.monotonic()
    demo.WORK.mkdir(exist_ok=True)
    demo.install()
    if trial:
        demo.PACE = "20M"
    rounds = 1 if trial else 3
    with demo.slow_hub() as url, tempfile.TemporaryDirectory(dir=demo.WORK) as folder:
        print(f"against {url}, {demo.PACE}B/s a connection (imitated)", flush=True)
        far = prove(url, Path(folder), "cold,preloaded,warm", 1)
        near = [prove(url, Path(folder), "preloaded,warm", rounds) for _ in range(2)]
    found = {
        "ratio": far["ratio"],
        "bound": far["bound"],
        "reached": far["reached"],
        "over_limit": over_limit((far, *near)),
        "overhead": overhead(near),
        "agree": [agree(*near, condition) for condition in ("preloaded", "warm")],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    if not trial:
        result = {"machine": describe(demo.WORK), "found": found, "proofs": [far, *near]}
        RESULTS.write_text(json.dumps(result, indent=1))
        document(result)
    say(found)
    print(f"in {time.monotonic() - began:.0f} s")
    return 0


def prove(url: str, folder: Path, conditions: str, rounds: int) -> dict:
    """Prove the demo's app; return the figures."""
    command = [
        *(demo.PREHEAT, "prove", str(demo.RECIPE), f"--endpoint=hf={url}", f"--library={folder / 'library'}"),
        *(f"--conditions={conditions}", f"--runs={rounds}", "--json"),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"prove ended with status {done.returncode}: {done.stdout.splitlines()[-1:]}")
    figures = json.loads(done.stdout.splitlines()[-1])
    said = ", ".join(f"{name} {figures[name]['ready_s']:.2f} s" for name in conditions.split(","))
    print(f"  {said}", flush=True)
    return figures


def over_limit(proofs: Iterable[dict]) -> float | None:
    """Return the median of what the proofs state of preloaded starts; None if a start beat the limit of any of them."""
    stated = [one["limits"]["over_limit"]["preloaded"] for one in proofs]
    return None if None in stated else statistics.median(stated)


def overhead(proofs: list[dict]) -> float:
    """Return the cost of observation for a warm start, over all rounds, each compared with its own unobserved start."""
    pairs = []
    for proof in proofs:
        watched = [one["ready_s"] for one in proof["timelines"] if one["condition"] == "warm"]
        pairs += [with_eyes / without - 1 for with_eyes, without in zip(watched, proof["unwatched_s"], strict=True)]
    return statistics.median(pairs)


def agree(one: dict, other: dict, condition: str) -> dict:
    """Return the distance between two proofs' medians, and the spreads that they state."""
    first, second = one[condition]["ready_s"], other[condition]["ready_s"]
    stated = [proof["spread"][condition]["ready_s"] or 0.0 for proof in (one, other)]
    return {"condition": condition, "apart": abs(first - second) / min(first, second), "stated": sum(stated)}


def document(result: dict) -> None:
    """Write the table of docs/proof.md."""
    found, machine = result["found"], result["machine"]
    overhead = found["overhead"]
    noise = ": less than the noise" if overhead < 0 else ""
    apart = ", ".join(f"{two['apart'] * 100:.1f} % {two['condition']}" for two in found["agree"])
    stated = ", ".join(f"{two['stated'] * 100:.1f} %" for two in found["agree"])
    rows = (
        ("preloaded faster than cold", f"{found['ratio']:.1f}×", f"at least {ASKED['ratio']:.0f}×"),
        (
            "a preloaded start, against bare imports and reading the weights as fast as the disk gives them",
            "a start was faster: no limit" if found["over_limit"] is None else f"{found['over_limit']:.2f}×",
            f"at most {ASKED['over_limit']}×",
        ),
        (
            "what being measured costs a start, in seconds",
            f"{overhead * 100:.1f} %{noise}",
            f"at most {ASKED['overhead'] * 100:.0f} %",
        ),
        ("two proofs of the same, apart", apart, f"what they state as noise: {stated}"),
    )
    lines = ["| figure | measured | asked |", "|---|---:|---:|", *(f"| {' | '.join(row)} |" for row in rows), ""]
    where = f"{machine['cores']} cores, {machine['memory_gib']} GiB, {machine['filesystem']}, Linux {machine['kernel']}"
    lines += [f"{where}, Python {machine['python']}; {machine['date']}, load {machine['load']} before it.", ""]
    DOCUMENT.write_text(fill(DOCUMENT.read_text(encoding="utf-8"), BEGIN, END, "\n".join(lines)), encoding="utf-8")


def say(found: dict) -> None:
    rows = [
        ("preloaded sooner than cold", found["ratio"], f">= {ASKED['ratio']:.0f}", found["ratio"] >= ASKED["ratio"]),
        ("the bound, cold / the least time", found["bound"] or 0.0, "", None),
        (
            "of which reached",
            found["reached"] or 0.0,
            f">= {ASKED['reached']}",
            (found["reached"] or 0) >= ASKED["reached"],
        ),
        (
            "preloaded, in bare imports and reading",
            found["over_limit"] or 0.0,
            f"<= {ASKED['over_limit']}",
            found["over_limit"] is not None and found["over_limit"] <= ASKED["over_limit"],
        ),
        ("being measured costs", found["overhead"], f"<= {ASKED['overhead']}", found["overhead"] <= ASKED["overhead"]),
    ]
    for two in found["agree"]:
        within = two["apart"] <= two["stated"]
        rows.append((f"two proofs apart, {two['condition']}", two["apart"], f"<= {two['stated']:.3f} stated", within))
    for name, value, asked, kept in rows:
        verdict = "" if kept is None else "kept" if kept else "BROKEN"
        print(f"{name:<40} {value:>8.3f}  {asked:<20} {verdict}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
