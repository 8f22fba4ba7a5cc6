"""Faults: what each client does with each fault of a hub; writes results/faults.json and docs/faults.md.

python -m benchmarks.faults                                  all of them, at most ten at a time
python -m benchmarks.faults --side preheat --keep            one client; what is known of the others is kept
python -m benchmarks.faults --fault 'cut once' --side preheat     a trial, which writes nothing
python -m benchmarks.faults --plain                          over HTTP, which writes nothing either
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import sides
from benchmarks.fault_cases import CASES, HOSTILE, SMALL, WEIGHT, Case
from benchmarks.hub.faulty import FaultyHub
from benchmarks.hub.repo import Repo, read_repo
from benchmarks.machine import describe
from benchmarks.sides import Errand, Side
from benchmarks.timed import Spent, run

_ROOT = Path(__file__).parents[1]
_RESULTS = Path(__file__).parent / "results" / "faults.json"
_DOCUMENT = _ROOT / "docs" / "faults.md"
_SIZE = 12_000_000
_PATIENCE_S = 60.0
_AT_ONCE = 10
_NOT_WORTH_TELLING = 50_000


def meet(case: Case, side: Side, repo: Repo, work: Path, *, loud: bool, tls: bool) -> dict[str, Any]:
    """Run a client against a fault; return the outcome."""
    place = work / re.sub(r"\W+", "-", f"{case.words} {side.name}") / "in" / "the" / "deep" / "of"
    place.mkdir(parents=True)
    if case.hostile:
        repo = _hostile(repo)
    with FaultyHub(repo, case.make(), case.documents(), tls=tls) as hub:
        errand = Errand(hub.url, repo, place)
        spent = run(side.command(errand), side.environment(errand), place / "said.txt", _PATIENCE_S)
    told = _outcome(place, repo, spent)
    if case.hostile:
        told["escaped"] = any(_escaped(place, work))
    shutil.rmtree(place.parents[3], ignore_errors=True)
    words = _words(told)
    said = f"\n    {spent.said[-300:].strip()!r}" if spent.status and loud else ""
    print(f"{case.words:58} {side.name:16} {words}{said}", flush=True)
    return told | {"words": words}


def tiny(work: Path) -> Repo:
    """Make the model to download."""
    folder = work / "model"
    folder.mkdir()
    (folder / WEIGHT).write_bytes(os.urandom(_SIZE))
    (folder / SMALL).write_bytes(os.urandom(1_000).hex().encode())
    (folder / "note.txt").write_text("hm\n")
    return read_repo("acme/tiny", folder)


def _hostile(repo: Repo) -> Repo:
    entry = replace(repo.entries[SMALL], path=HOSTILE)
    return replace(repo, entries=repo.entries | {HOSTILE: entry})


def _outcome(place: Path, repo: Repo, spent: Spent) -> dict[str, Any]:
    """Examine the client's folder: right files, wrong files under a file's name, and others."""
    wanted = {entry.sha256: entry.size for entry in repo.entries.values()}
    names = {path.rpartition("/")[2] for path in repo.entries}
    right, wrong, left = set(), [], 0
    seen = set()
    for path in place.rglob("*"):
        if not path.is_file() or path == place / "said.txt" or path.is_relative_to(place / "home"):
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        # A blob is named by its digest: one with other bytes is as wrong as a file.
        claims = path.name in names or (re.fullmatch(r"[0-9a-f]{64}", path.name) and "library" in path.parts)
        if digest in wanted:
            right.add(digest)
        elif claims:
            wrong.append(f"{path.name}, {path.stat().st_size} bytes")
        if digest not in wanted and not path.is_symlink() and path.stat().st_ino not in seen:
            seen.add(path.stat().st_ino)
            left += min(path.stat().st_size, path.stat().st_blocks * 512)
    return {
        "status": spent.status,
        "seconds": round(spent.seconds, 1),
        "right": right == set(wanted),
        "wrong": wrong,
        "left": left,
        "gave_up_on": spent.seconds >= _PATIENCE_S,
        "counts_down": "giving up in" in spent.said,
    }


def _escaped(place: Path, work: Path) -> list[Path]:
    """Find the malicious file anywhere outside the client's own folder."""
    found = [path for path in place.parents[3].rglob("escaped.json") if not path.is_relative_to(place)]
    return [*found, *(path for path in (work / "escaped.json",) if path.exists())]


def _words(told: dict[str, Any]) -> str:
    after = f"{told['seconds']:.0f} s" if told["seconds"] >= 1.5 else f"{told['seconds']:.1f} s"
    left = f"; leaves {told['left'] / 1e6:.1f} MB" if told["left"] > _NOT_WORTH_TELLING and not told["right"] else ""
    if told.get("escaped"):
        return f"**writes outside its folder**, {after}"
    if told["gave_up_on"]:
        return f"{'waits, counting down' if told['counts_down'] else 'no end'} in {after}{left}"
    if told["status"] == 0:
        if told["right"] and not told["wrong"]:
            return f"right, {after}"
        return f"**exits with 0, {'wrong file' if told['wrong'] else 'file missing'}**, {after}"
    kept = "; **wrong file keeps its name**" if told["wrong"] else left
    return f"fails, {after}{kept}"


def main() -> None:
    """Run every client against every fault."""
    form = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    form.add_argument("--fault", action="append", default=[], metavar="WORDS", help="only those with these words")
    form.add_argument("--side", action="append", default=[], metavar="NAME", help="only those with this name in theirs")
    form.add_argument("--keep", action="store_true", help="write what came of a trial, beside what is known")
    form.add_argument("--plain", action="store_true", help="over HTTP, not HTTPS")
    options = form.parse_args()
    here, absent = sides.gather(
        sides.preheat,
        partial(sides.hf, "2.4.0", "hf 2.x"),
        partial(sides.hf, "0.36.2", "hf 0.36"),
        partial(sides.modelscope, "1.40.2"),
        sides.aria2,
        sides.curl,
    )
    trial = bool(options.fault or options.side or options.plain) and not options.keep
    clients = [side for side in here if not options.side or any(name in side.name for name in options.side)]
    cases = [case for case in CASES if not options.fault or any(words in case.words for words in options.fault)]
    work = Path(tempfile.mkdtemp(prefix="preheat-faults-"))
    try:
        repo = tiny(work)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            meetings = {
                (case.words, side.name): pool.submit(meet, case, side, repo, work, loud=trial, tls=not options.plain)
                for case in cases
                for side in clients
                if not (case.hostile and side.verifies == "nothing")  # preheat passes these clients the file names
            }
            outcomes: dict[str, dict[str, Any]] = {case.words: {} for case in cases}
            for (words, name), meeting in meetings.items():
                outcomes[words][name] = meeting.result()
        told = {
            "machine": describe(work),
            "patience_s": _PATIENCE_S,
            "absent": absent,
            "sides": [
                {
                    "name": side.name,
                    "version": side.version,
                    "command": side.say(Errand("HUB", repo, work / "into")),
                    "date": str(describe(work)["date"]),
                }
                for side in clients
            ],
            "outcomes": outcomes,
        }
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not trial:
        _RESULTS.parent.mkdir(exist_ok=True)
        if options.keep and _RESULTS.exists():
            told = _beside(json.loads(_RESULTS.read_text()), told)
        _RESULTS.write_text(json.dumps(told, indent=1) + "\n")
        _DOCUMENT.write_text(document(told))


def _count(told: dict[str, Any]) -> str:
    """Return how many faults each client handled correctly."""
    rights = [
        f"{side['name']} {sum(came[side['name']]['words'].startswith('right') for came in ran)} of {len(ran)}"
        for side in told["sides"]
        for ran in [[came for came in told["outcomes"].values() if side["name"] in came]]
    ]
    return f"Right: {', '.join(rights)}."


def _beside(known: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """Merge new results with those of other clients and faults."""
    new = {side["name"] for side in told["sides"]}
    there = {side["name"]: side for side in known["sides"]} | {side["name"]: side for side in told["sides"]}
    outcomes = {
        case.words: known["outcomes"].get(case.words, {}) | told["outcomes"].get(case.words, {}) for case in CASES
    }
    order = [*(name for name in ("preheat",) if name in new), *(name for name in there if name != "preheat")]
    return told | {"sides": [there[name] for name in order], "outcomes": outcomes}


def document(told: dict[str, Any]) -> str:
    """Write docs/faults.md from the results."""
    names = [side["name"] for side in told["sides"]]
    rows = [f"| fault | {' | '.join(names)} |", f"|{' --- |' * (len(names) + 1)}"]
    for fault, outcomes in told["outcomes"].items():
        cells = [outcomes[name]["words"] if name in outcomes else "–" for name in names]
        rows.append(f"| {fault} | {' | '.join(cells)} |")
    versions = [
        f"- {side['name']} {side['version']}, {side.get('date', '2026-11-23')}: `{side['command']}`"
        for side in told["sides"]
    ]
    machine = told["machine"]
    return "\n".join(
        [
            "# What a fault does to each client",
            "",
            "Made by `make bench-faults` (benchmarks/faults.py) from real runs against a hub with one fault, on real",
            f"sockets, over HTTPS: a weight of {_SIZE // 1_000_000} MB and two small files, with each client's default",
            "settings. *Right*: all files are complete and have the right bytes, and the exit status is 0. *Fails*:",
            f"the client reported an error. *No end*: it was stopped after {told['patience_s']:.0f} s. *Leaves*: disk",
            "space of wrong files, which a client may use to resume. aria2c and curl list no repositories,",
            "so hostile names do not affect them. *Waits*: it was stopped during the countdown of `--patience`.",
            "–: not run.",
            _count(told),
            "",
            *rows,
            "",
            *versions,
            *(f"- {line}" for line in told["absent"]),
            "",
            f"<sub>{machine['date']}, load average {machine['load']}, up to {_AT_ONCE} clients at a time: the seconds "
            "show long waits, not speed.</sub>",
            "",
        ]
    )


if __name__ == "__main__":
    main()
