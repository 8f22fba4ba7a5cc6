"""How long N nodes take to have a model, and what crosses the uplink, into docs/scale.md: `make bench-scale`.

    python -m benchmarks.bench_scale [--no-check] [--place DIR]
    python -m benchmarks.bench_scale --site [--size BYTES] [--uplink BYTES] [--link BYTES]

The first measures runs with 2 to 16 namespaces as hosts, compares the model with them, and writes the document and its
picture; as root, 10 minutes. With --no-check, it uses the runs of results/scale.json. The second prints the figures of
another site, and measures nothing.
"""

import argparse
import json
import re
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.bench_tree import write_model
from benchmarks.document import fill
from benchmarks.machine import describe
from benchmarks.scale_model import WAYS, Site, Warmed
from benchmarks.scale_plot import curves
from benchmarks.scale_runs import COUNTS, FAN_OUT, LINK, SIZE, UPLINK, Checked, calibrate, compare, measure
from tests.rack import Rack

FOLDER = Path(__file__).parent / "results"
RESULTS = FOLDER / "scale.json"
DOCUMENT = Path(__file__).parents[1] / "docs" / "scale.md"
TRANSLATED = DOCUMENT.parent / "zh-CN" / "scale.md"
PICTURE = DOCUMENT.parent / "pictures" / "scale.svg"
NODES = (1, 10, 100, 1_000, 10_000)
CHECKED = {"hub": COUNTS, "one mirror": COUNTS, "tree of mirrors": (8, 16), "one registry": COUNTS}
# The median of five pulls of `make bench-stores` on a quiet machine, 2026-11-30; its push part was interrupted.
_STORE = 357e6
_CHINESE = {
    "registry, containerd": "registry，containerd",
    "Dragonfly (bound)": "Dragonfly（上限）",
    "tree of mirrors": "镜像站树",
    "one registry": "一个 registry",
    "object store": "对象存储",
    "one mirror": "一个镜像站",
    "nodes": "节点数",
    "days": "天",
    "min": "分钟",
    "h": "小时",
    "s": "秒",
}
EXAMPLE = (100e9, 125e6, 1.25e9)


def constants(size: float, uplink: float, link: float) -> Site:
    """Return a site whose nodes have the rates that other benches have measured."""
    registry = json.loads((FOLDER / "registry.json").read_text())
    unpack = json.loads((FOLDER / "containerd.json").read_text())
    return Site(
        size,
        uplink,
        link,
        node=statistics.median(registry["rates"]["preheat pull --from"]),
        store=_STORE,
        unpack=unpack["size"] / unpack["pull_s"],
        begin_s=1.0,
        hop_s=0.2,
    )


def main() -> None:
    """Measure if asked to, and write the document; or print the figures of a site."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--no-check", action="store_true")
    words.add_argument("--place", type=Path, help="the folder of all hosts' disks")
    words.add_argument("--site", action="store_true", help="only print the figures of a site")
    for name, value in zip(("size", "uplink", "link"), EXAMPLE, strict=True):
        words.add_argument(f"--{name}", type=float, default=value)
    options = words.parse_args()
    if options.site:
        print("\n".join(table(constants(options.size, options.uplink, options.link))))
        return
    if not options.no_check:
        if why := Rack.why_not():
            raise SystemExit(f"no hosts: {why}")
        check(options.place)
    found = json.loads(RESULTS.read_text())
    runs = [Checked(**one) for one in found["runs"]]
    site = constants(*EXAMPLE)
    text = DOCUMENT.read_text()
    text = fill(
        text, "<!-- table: made by make bench-scale -->", "<!-- end of table -->", "\n".join(table(site)) + "\n"
    )
    checked = "\n".join(judged(runs, found)) + "\n"
    text = fill(text, "<!-- check: made by make bench-scale -->", "<!-- end of check -->", checked)
    DOCUMENT.write_text(text)
    text = fill(TRANSLATED.read_text(), "<!-- 表格：make bench-scale 生成 -->", "<!-- 表格结束 -->", translated(site))
    TRANSLATED.write_text(text)
    PICTURE.write_text(picture(site))


def check(place: Path | None) -> None:
    """Run all ways and numbers of nodes, and write the results."""
    folder = Path(tempfile.mkdtemp(prefix="bench-scale-", dir=place))
    try:
        machine = describe(folder)
        begin_s, hop_s = calibrate(write_model(folder / "tiny", 1_000_000), folder / "calibration")
        print(f"begin {begin_s}, hop {hop_s:.2f} s", flush=True)
        model, runs = write_model(folder / "model", SIZE), []
        site = Site(SIZE, UPLINK, LINK, 1e9, 1e9, 1e9, begin_s[1], hop_s, FAN_OUT)
        for way, counts in CHECKED.items():
            for nodes in counts:
                figures = measure(way, nodes, model, folder / "work")
                shutil.rmtree(folder / "work")
                runs.append(compare(way, figures, nodes, replace(site, begin_s=begin_s[nodes])))
                print(_said(runs[-1]), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = {"machine": machine, "begin_s": begin_s, "hop_s": hop_s, "runs": [asdict(one) for one in runs]}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def table(site: Site) -> list[str]:
    """Return the figures of a site as a table."""
    head = (
        f"{site.size / 1e9:g} GB, an uplink of {site.uplink / 1e6:g} MB/s, links of {site.link / 1e9:g} GB/s. A node "
        f"receives and verifies {site.node / 1e6:.0f} MB/s from a registry or mirror, {site.store / 1e6:.0f} MB/s from "
        f"an object store; containerd pulls and unpacks {site.unpack / 1e6:.0f} MB/s (on a busy machine). A mirror of "
        f"the tree serves {site.fan_out} hosts. First the time, then the bytes over the uplink."
    )
    rows = [head, "", f"| nodes | {' | '.join(WAYS)} |", f"|---|{'---|' * len(WAYS)}"]
    for nodes in NODES:
        cells = [_cell(way(site, nodes)) for way in WAYS.values()]
        rows.append(f"| {nodes:,} | {' | '.join(cells)} |")
    return rows


def translated(site: Site) -> str:
    """Return the same table in Chinese."""
    head = (
        f"{site.size / 1e9:g} GB 的模型，出口 {site.uplink / 1e6:g} MB/s，内网每条链路 {site.link / 1e9:g} GB/s。"
        f"单个节点边收边校验：从 registry 或镜像站 {site.node / 1e6:.0f} MB/s，"
        f"从对象存储 {site.store / 1e6:.0f} MB/s；"
        f"containerd 拉取并解包 {site.unpack / 1e6:.0f} MB/s（机器繁忙时测得）。"
        f"树里每个镜像站服务 {site.fan_out} 台机器。每格先是时间，再是走出口的流量。"
    )
    words = re.compile(rf"\b({'|'.join(map(re.escape, _CHINESE))})(?![\w-])")
    rows = [words.sub(lambda found: _CHINESE[found[1]], row).replace(", ", "，") for row in table(site)[2:]]
    return "\n".join([head, "", *rows]) + "\n"


def judged(runs: Sequence[Checked], found: dict[str, object]) -> list[str]:
    """Return the runs beside the model, and its error."""
    machine = found["machine"]
    assert isinstance(machine, dict)
    errors = sorted((abs(one.error) for one in runs), reverse=True)
    upstream = max(abs(one.measured_upstream / one.predicted_upstream - 1) for one in runs)
    return [
        f"{SIZE / 1e6:g} MB, an uplink of {UPLINK / 1e6:g} MB/s, links of {LINK / 1e6:g} MB/s, a tree whose mirrors "
        f"serve {FAN_OUT} hosts; network namespaces on one machine ({machine['cores']} cores, load {machine['load']} "
        f"before, {machine['date']}).",
        "",
        "| way | nodes | model | measured | error | uplink, model | uplink, measured |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {one.way} | {one.nodes} | {one.predicted_s:.1f} s | {one.measured_s:.1f} s | {one.error:+.0%} "
            f"| {one.predicted_upstream / 1e6:.0f} MB | {one.measured_upstream / 1e6:.0f} MB |"
            for one in runs
        ),
        "",
        f"The error of the time is {statistics.median(errors):.0%} in the median and {errors[0]:.0%} at most; that of "
        f"the bytes over the uplink {upstream:.0%} at most.",
    ]


def picture(site: Site) -> str:
    """Draw the seconds of each way."""
    counts = sorted({round(10 ** (step / 8)) for step in range(33)})
    lines = {name: [(float(nodes), way(site, nodes).seconds) for nodes in counts] for name, way in WAYS.items()}
    return curves(lines, {}, "nodes", "seconds until the last node has the model")


def _cell(one: Warmed) -> str:
    return f"{_time(one.seconds)}, {_bytes(one.upstream)}"


def _time(seconds: float) -> str:
    for limit, unit, each in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / each:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def _bytes(size: float) -> str:
    return f"{size / 1e12:g} TB" if size >= 1e12 else f"{size / 1e9:g} GB"


def _said(one: Checked) -> str:
    times = f"{one.predicted_s:6.1f} s predicted, {one.measured_s:6.1f} s"
    return f"{one.way:16} {one.nodes:3} nodes: {times}, {one.error:+.0%}"


if __name__ == "__main__":
    main()
