"""Trace: programs that download by themselves, each traced in a small internet, and started from its recipe elsewhere.

Elsewhere is another user, folder, home and environment, without a network. Root is needed for the small internet; each
program is traced by root and by a user without any rights. Writes benchmarks/results/trace.json, row by row: with
`--since DATE`, a bench that was interrupted continues. docs/make.py shows the rows.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.trace_programs import NODE, PLACE, PROGRAMS, VENVS
from benchmarks.trace_rows import due, keep, stamp
from tests.smallnet.hosts import hosts
from tests.smallnet.judge import TIMED_OUT, Judge, Program, Verdict
from tests.smallnet.smallnet import SmallNet

TRACERS = {"root": 0, "user": 12345}
# A start of kokoro alone takes five minutes on a machine with ten times as much to do as it has cores.
WITHIN_S = 3600.0


def set_up(names: set[str]) -> None:
    """Make the environments that are not there yet, and a copy of each for the other machine."""
    for name in names:
        folder = PLACE / name
        if not (folder / "ready").exists():
            subprocess.run((sys.executable, "-m", "venv", "--clear", str(folder)), check=True)
            subprocess.run((folder / "bin/pip", "install", "--quiet", *VENVS[name].split()), check=True)
            (folder / "ready").touch()
            # The user's own: pip and numba write there during a start.
            subprocess.run(("chown", "-R", f"{TRACERS['user']}:{TRACERS['user']}", str(folder)), check=True)
        other = PLACE / "elsewhere" / name
        if not other.exists():
            other.parent.mkdir(exist_ok=True)
            subprocess.run(("cp", "-a", "--reflink=auto", str(folder), str(other)), check=True)
            subprocess.run(("chown", "-R", "12346:12346", str(other)), check=True)
    if not (NODE / "node_modules").is_dir() and shutil.which("npm"):
        NODE.mkdir(parents=True, exist_ok=True)
        words = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "@huggingface/transformers")
        subprocess.run(words, cwd=NODE, check=True)


def versions(program: Program) -> str:
    """Return the versions of what a program is made of."""
    found = []
    for name in program.packages:
        if (package := NODE / "node_modules" / name / "package.json").is_file():
            said = json.loads(package.read_text())["version"]
        else:
            python = PLACE / program.venv / "bin/python"
            words = (python, "-c", f"import importlib.metadata as m; print(m.version({name!r}))")
            said = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
        found.append(f"{name} {said}")
    return ", ".join(found)


def figures(verdict: Verdict) -> dict[str, Any]:
    """Return what is kept of a verdict."""
    pulled, replayed = verdict.pulled, verdict.replayed
    reason = re.search(r"^preheat: (.*)", verdict.traced.said, re.MULTILINE)
    return {
        "replays": verdict.replays,
        "plain_s": round(verdict.plain.seconds, 2),
        "plain_works": verdict.plain.works,
        "trace": verdict.traced.status,
        "trace_s": round(verdict.traced.seconds, 2),
        "needs": verdict.needs,
        "size": verdict.size,
        "made": verdict.made,
        "pull": None if pulled is None else pulled.status,
        "run": None if replayed is None else replayed.status,
        "attempts": verdict.attempts,
        "places": verdict.places,
        "reason": reason[1] if reason and verdict.traced.status else "",
        "said": "" if verdict.replays else _last_words(verdict),
    }


def _last_words(verdict: Verdict) -> str:
    for one in (verdict.plain, verdict.traced, verdict.pulled, verdict.replayed):
        if one is not None and (one.status or one is verdict.replayed):
            return one.last_lines
    return ""


def main() -> int:
    """Judge, write, print."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("names", nargs="*", help="parts of names; default: all")
    words.add_argument("--as", dest="tracers", action="append", choices=tuple(TRACERS), help="default: both")
    words.add_argument("--since", default="", help="only what has no row from this date on, such as 2026-11-30")
    words.add_argument(
        "--starts", type=int, default=2, help="starts before the first trace, the last counts (default 2)"
    )
    words.add_argument("--keep", action="store_true", help="do not write the results")
    words.add_argument("--preheat", type=Path, help="the command to judge; default: this checkout's")
    asked = words.parse_args()
    if reason := SmallNet.why_not():
        print(f"there can be no small internet here: {reason}", file=sys.stderr)
        return 1
    known = {one.name: one for one in PROGRAMS}
    chosen = [name for name in known if not asked.names or any(part in name for part in asked.names)]
    rows = due([(name, tracer) for name in chosen for tracer in asked.tracers or TRACERS], asked.since)
    set_up({venv for name, _ in rows if (venv := known[name].venv)} | {"light"})
    work = PLACE / f"work-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    root = work / "www"
    root.mkdir(parents=True)
    mine = {name: str(PLACE / name / "bin/python") for name in VENVS}
    theirs = {name: str(PLACE / "elsewhere" / name / "bin/python") for name in VENVS}
    more = {} if asked.preheat is None else {"preheat": asked.preheat}
    served = set()
    with SmallNet(work / "net", hosts(root)) as net:
        for name, tracer in rows:
            program = known[name]
            # The first start fills what belongs to no start: bytecode, the page cache.
            starts = 1 if name in served else asked.starts
            if name not in served:
                program.serve(root)
                served.add(name)
                net.sites = hosts(root)
            judge = Judge(net, work / tracer, mine, theirs, TRACERS[tracer], WITHIN_S, starts=starts, **more)
            row = {"versions": versions(program), **figures(judge.judge(program)), **stamp()}
            print(line(name, tracer, row), flush=True)
            if TIMED_OUT in (row["trace"], row["pull"], row["run"]):
                print(f"    no verdict: it took over {WITHIN_S:.0f} s", flush=True)
            elif not asked.keep:
                keep(name, tracer, row, tuple(known))
            if not asked.keep:
                shutil.rmtree(work / tracer)
    if not asked.keep:
        shutil.rmtree(work)
    else:
        print(work)
    return 0


def line(name: str, tracer: str, told: dict[str, Any]) -> str:
    """Return one line about one program, and why it failed."""
    fate = "replayed" if told["replays"] else "FAILED"
    said = "" if told["replays"] else f"\n    {told['places']}\n    " + told["said"].replace("\n", "\n    ")
    needed = f"{told['needs']} needs, {told['size'] / 1e6:.2f} MB"
    return (
        f"{name} ({tracer}): {fate}: start {told['plain_s']} s{'' if told['plain_works'] else ' BROKEN'}, trace "
        f"{told['trace']} in {told['trace_s']} s, {needed}, pull {told['pull']}, "
        f"run {told['run']}, attempts {told['attempts']}{said}"
    )


if __name__ == "__main__":
    sys.exit(main())
