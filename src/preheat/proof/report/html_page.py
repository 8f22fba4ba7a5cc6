"""HTML page: a report as one file, without scripts, fonts or outside resources."""

from collections.abc import Callable, Iterable, Iterator
from html import escape
from importlib.resources import files
from string import Template

from preheat.proof.report.report import Report, spread
from preheat.proof.report.stages import StartStage, stages_before, stages_during
from preheat.proof.report.svg import bar, spans
from preheat.proof.report.translations import Tongue
from preheat.proof.start.timeline import COLD, PRELOADED, WARM

_Say = Callable[[float], str]


def page(report: Report, language: str = "en") -> str:
    """Return the page. Raise UsageError for an unsupported language."""
    tongue = Tongue(language)
    template = Template(files("preheat.proof.report").joinpath("page.html").read_text(encoding="utf-8"))
    body = "\n".join(part for make in _PARTS for part in make(report, tongue))
    title = escape(tongue.say("title", app=report.app))
    return template.substitute(language="zh-CN" if language == "zh" else language, title=title, body=body)


def _top(report: Report, tongue: Tongue) -> Iterator[str]:
    ready = {condition: tongue.seconds(report.median(condition, "ready_s") or 0.0) for condition in report.conditions}
    if report.ratio is not None:
        phrase, ratio = ("sooner", report.ratio) if report.ratio >= 1 else ("later", 1 / report.ratio)
        said = tongue.say(phrase, app=report.app, ratio=f"{ratio:.1f}", **ready)
    else:
        listed = ", ".join(f"{seconds} ({tongue.say(condition)})" for condition, seconds in ready.items())
        said = tongue.say("starts", app=report.app, all=listed)
    yield f"<h1>{escape(said)}</h1>"
    outbound = report.median(PRELOADED, "outbound")
    also = [] if outbound is None else [tongue.say("requests", count=f"{outbound:.0f}")]
    also += [] if report.copies is None else [tongue.say("copies", copies=f"{report.copies:.2f}")]
    yield _paragraph(tongue.say("also").join(also), "also")
    if report.imitated is not None:
        rtt = report.imitated.rtt_s
        late = tongue.say("imitated_rtt", rtt=f"{rtt * 1000:.0f} ms") if rtt else ""
        yield _paragraph(tongue.say("imitated", rate=tongue.size(report.imitated.rate)) + late, "imitated")
    machine = {name: str(value) for name, value in report.machine.items()}
    memory = report.machine.get("memory")
    machine["memory"] = tongue.size(memory) if isinstance(memory, int) else ""
    machine["version"] = machine.pop("preheat", "")
    yield _paragraph(tongue.say("measured", **machine), "soft") if "at" in machine else ""


def _bars(report: Report, tongue: Tongue) -> Iterator[str]:
    yield f"<section><h2>{tongue.say('to_page')}</h2>"
    most = max((one.ready_s for one in report.timelines), default=1.0)
    for condition in report.conditions:
        taken = report.taken(condition, "ready_s")
        middle, wide = report.median(condition, "ready_s") or 0.0, spread(taken)
        said = tongue.seconds(middle) + ("" if wide is None else f" ± {tongue.percent(wide)}")
        drawn = bar(middle, taken, most, condition, f"{tongue.say(condition)}: {said}")
        yield _row(tongue.say(condition), drawn, escape(said))
    many = report.rounds > 1
    yield _paragraph(tongue.say("rounds", rounds=report.rounds) if many else tongue.say("round"), "soft")
    if report.bound is not None and report.reached is not None:
        values = {
            "bound": f"{report.bound:.1f}",
            "reached": tongue.percent(report.reached),
            "cold": tongue.seconds(report.median(COLD, "ready_s") or 0.0),
            "download": tongue.seconds(report.median(COLD, "download_s") or 0.0),
        }
        yield _paragraph(tongue.say("bound", **values))
    for condition in (PRELOADED, WARM):
        limit, over = report.limit_s(condition), report.over_limit(condition)
        if limit is not None and over is not None:
            named, limited = tongue.say(condition), tongue.seconds(limit)
            yield _paragraph(tongue.say("over", condition=named, over=f"{over:.2f}", limit=limited))
    if report.overhead is not None:
        cost = tongue.say("overhead", overhead=f"{report.overhead * 100:.1f} %")
        yield _paragraph(cost if report.overhead > 0 else tongue.say("no_overhead"))
    yield "</section>"


def _waterfalls(report: Report, tongue: Tongue) -> Iterator[str]:
    yield f"<section><h2>{tongue.say('waterfalls')}</h2>"
    for condition in report.conditions:
        timeline = report.typical(condition)
        before = stages_before(report, timeline)
        if before:
            yield f"<h3>{tongue.say('before')}</h3>"
            most = sum(stage.seconds for stage in before)
            yield from (_stage(stage, most, "before", tongue) for stage in before)
        ready = tongue.seconds(timeline.ready_s)
        yield f"<h3>{tongue.say('waterfall', condition=tongue.say(condition), ready=ready)}</h3>"
        most = timeline.first_s or timeline.ready_s
        for stage in stages_during(report, timeline):
            yield _stage(stage, most, stage.name, tongue)
        if timeline.listening_s is not None:
            said = tongue.seconds(timeline.listening_s)
            yield _row(tongue.say("listening"), spans((), most, "rest", said, mark=timeline.listening_s), escape(said))
    yield "</section>"


def _stage(stage: StartStage, most: float, kind: str, tongue: Tongue) -> str:
    name = tongue.say("imports_stage" if stage.name == "imports" else stage.name)
    said = tongue.seconds(stage.seconds)
    of = ""
    if stage.share is not None:
        of = f' <span class="of">{tongue.say("of_limit", share=tongue.percent(min(stage.share, 1.0)))}</span>'
    return _row(name, spans(stage.spans, most, kind, f"{name}: {said}"), escape(said) + of)


def _side_by_side(report: Report, tongue: Tongue) -> Iterator[str]:
    both = COLD in report.conditions and PRELOADED in report.conditions
    head = [tongue.say("figure"), *map(tongue.say, report.conditions), *([tongue.say("change")] if both else [])]
    rows = []
    for figure, say in _said(tongue).items():
        values = [report.median(condition, figure) for condition in report.conditions]
        if figure == "cgroup_peak" and not any(values):
            continue
        none = tongue.say("no_gpu" if figure == "video_memory" else "none")
        cells = [tongue.say(figure), *(none if value is None else say(value) for value in values)]
        cold, preloaded = report.median(COLD, figure), report.median(PRELOADED, figure)
        change = f"{(preloaded / cold - 1) * 100:+.1f} %" if cold and preloaded is not None else ""
        rows.append([*cells, *([change if figure != "fetched" else ""] if both else [])])
    yield f"<section><h2>{tongue.say('table')}</h2>{_table(head, rows)}"
    why = next((one.traffic.uncounted for one in report.timelines if one.traffic.uncounted), "")
    yield _paragraph(f"{tongue.say('outbound')}: {tongue.say('not_counted', why=why)}", "soft") if why else ""
    yield _paragraph(", ".join(report.gpus), "soft") if report.gpus else ""
    yield "</section>"


def _said(tongue: Tongue) -> dict[str, _Say]:
    """Return the figures of the table, each with its format function."""
    seconds, size, count = tongue.seconds, tongue.size, tongue.count
    return {
        "pull_s": seconds,
        "ready_s": seconds,
        "first_s": seconds,
        "fetched": size,
        "outbound": count,
        "peak_rss": size,
        "peak_pss": size,
        "cgroup_peak": size,
        "page_cache": size,
        "video_memory": size,
        "disk_read": size,
        "disk_written": size,
        "major_faults": count,
    }


def _limits(report: Report, tongue: Tongue) -> Iterator[str]:
    limits, rows = report.limits, []
    if limits.line is not None:
        many = tongue.say("line_many", connections=limits.line.connections)
        rows += [
            [tongue.say("line_one"), f"{tongue.size(limits.line.one)}/s"],
            [many, f"{tongue.size(limits.line.many)}/s"],
            [tongue.say("answer"), f"{limits.line.answer_s * 1000:.0f} ms"],
        ]
    if limits.speed is not None:
        rates = (("disk", limits.speed.disk), ("cache_rate", limits.speed.page_cache), ("sha256", limits.speed.sha256))
        rows += [[tongue.say(name), f"{tongue.size(rate)}/s"] for name, rate in rates]
    for name, taken in (
        ("bare_interpreter", limits.interpreter),
        ("bare_imports", limits.imports),
        ("bare_imports_warm", limits.imports_warm),
    ):
        if taken:
            rows.append([tongue.say(name), tongue.seconds(sorted(taken)[len(taken) // 2])])
    if rows:
        yield f"<section><h2>{tongue.say('limits')}</h2>{_table([], rows)}</section>"


def _imports(report: Report, tongue: Tongue) -> Iterator[str]:
    if PRELOADED not in report.conditions:
        return
    imports = report.typical(PRELOADED).imports
    if imports is None or not imports.slowest:
        return
    yield f"<section><h2>{tongue.say('imports')}</h2>"
    most = imports.slowest[0].seconds
    for one in imports.slowest:
        modules = f' <span class="of">{tongue.say("modules", modules=one.modules)}</span>'
        said = tongue.seconds(one.seconds)
        yield _row(one.name, bar(one.seconds, (), most, "imports", f"{one.name}: {said}"), escape(said) + modules)
    yield "</section>"


def _how(report: Report, tongue: Tongue) -> Iterator[str]:  # noqa: ARG001 - same signature as the other parts
    yield f"<h2>{tongue.say('how')}</h2>"
    yield _paragraph(tongue.say("how_text"), "soft")


_PARTS = (_top, _bars, _waterfalls, _side_by_side, _imports, _limits, _how)


def _row(name: str, drawn: str, said: str) -> str:
    return f'<div class="row"><span>{escape(name)}</span>{drawn}<span>{said}</span></div>'


def _paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text, quote=False)}</p>' if text else ""


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    headed = f"<thead><tr>{top}</tr></thead>" if top else ""
    return f'<div class="scroll"><table>{headed}<tbody>{body}</tbody></table></div>'
