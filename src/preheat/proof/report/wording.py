"""Wording: the sentences and table cells of a report in one language, for the table and the HTML page."""

from collections.abc import Callable, Iterator
from gettext import NullTranslations
from statistics import median

from preheat.core.units import say_size
from preheat.proof.report.report import Report
from preheat.proof.report.stages import StartStage
from preheat.proof.start.timeline import COLD, PRELOADED, WARM


class Wording:
    """The words for a report in one language. `names`: the names of conditions and stages."""

    def __init__(self, report: Report, texts: NullTranslations) -> None:
        self._report = report
        self._ = texts.gettext
        self._texts = texts
        self.names = self._name_all()

    def _name_all(self) -> dict[str, str]:
        """Return the names of conditions and stages."""
        _ = self._
        return {
            "cold": _("cold"),
            "preloaded": _("preloaded"),
            "warm": _("warm"),
            "restart": _("restart"),
            "thawed": _("thawed"),
            "resolve": _("query the hub"),
            "pull": _("pull"),
            "verify": _("verify the rest"),
            "place": _("place views"),
            "interpreter": _("interpreter"),
            "imports": _("imports"),
            "download": _("download"),
            "read": _("read weights"),
            "rest": _("the app's own work"),
            "first-use": _("first use"),
        }

    def headline(self) -> str:
        """Return the result in one sentence."""
        _, report = self._, self._report
        taken = {one: self.seconds(report.median(one, report.compared) or 0.0) for one in report.conditions}
        used = report.compared == "first_s"
        if report.ratio is None:
            listed = ", ".join(f"{time} ({self.names[condition]})" for condition, time in taken.items())
            said = _("{app} is used after {all}") if used else _("{app} starts in {all}")
            return said.format(app=report.app, all=listed)
        if report.ratio >= 1:
            faster = _("{app} starts in {preloaded} instead of {cold}: {ratio}× faster")
            text = _("{app} is used after {preloaded} instead of {cold}: {ratio}× faster") if used else faster
            ratio = report.ratio
        else:
            slower = _("{app} starts in {preloaded} instead of {cold}: {ratio}× slower")
            text = _("{app} is used after {preloaded} instead of {cold}: {ratio}× slower") if used else slower
            ratio = 1 / report.ratio
        return text.format(app=report.app, ratio=f"{ratio:.1f}", **taken)

    def also(self) -> str:
        """Return the requests and copies of a preloaded start, as far as they were counted."""
        report = self._report
        outbound, parts = report.median(PRELOADED, "outbound"), []
        if outbound is not None:
            parts.append(self._texts.ngettext("{n} request", "{n} requests", int(outbound)).format(n=int(outbound)))
        if report.copies is not None:
            parts.append(self._("{copies} copies of the weights on disk").format(copies=f"{report.copies:.2f}"))
        return self._("; ").join(parts)

    def imitated(self) -> str:
        """Return a description of the imitated hub, or "" for a real one."""
        _, imitated = self._, self._report.imitated
        if imitated is None:
            return ""
        text = _("Imitated hub: on this machine, limited to {rate}/s per connection")
        if imitated.rtt_s:
            text += _(", each response delayed by {rtt}")
        return text.format(rate=say_size(imitated.rate), rtt=f"{imitated.rtt_s * 1000:.0f} ms")

    def measured(self) -> str:
        """Return a description of the machine, or "" if it is unknown."""
        machine = {name: str(value) for name, value in self._report.machine.items()}
        if "at" not in machine:
            return ""
        memory = self._report.machine.get("memory")
        machine["memory"] = say_size(memory) if isinstance(memory, int) else ""
        return self._(
            "Measured {at} with preheat {preheat} on {cores} cores, {memory}, Linux {kernel}, {filesystem}: {cpu}. "
            "Load before: {load}."
        ).format_map(machine)

    def remarks(self) -> Iterator[str]:
        """Yield the sentences on each limit, on the files that were built, and on the cost of measuring."""
        _, report = self._, self._report
        if report.bound is not None and report.reached is not None:
            yield _(
                "{download} of the {cold} of a cold start are download. On this machine and line, a start could be at "
                "most {bound}× faster; {reached} of that is reached."
            ).format(
                bound=f"{report.bound:.1f}",
                reached=percent(report.reached),
                cold=self.seconds(report.median(COLD, report.compared) or 0.0),
                download=self.seconds(report.median(COLD, "download_s") or 0.0),
            )
        for condition in report.conditions:
            limit, over, least = report.limit_s(condition), report.over_limit(condition), report.least_s(condition)
            name = self.names[condition]
            if limit is not None and over is not None and condition in (PRELOADED, WARM):
                yield _(
                    "A {condition} start takes {over}× as long as its bare imports and what it reads ({limit})."
                ).format(condition=name, over=f"{over:.2f}", limit=self.seconds(limit))
            elif least is not None and report.is_beaten(condition):
                yield _(
                    "A {condition} start was faster than its bare imports and what it loads, one after the other "
                    "({least}): this app does both at once, or the machine was busier when these were measured alone. "
                    "So that is no limit, and none is stated."
                ).format(condition=name, least=self.seconds(least))
        yield from self._built()
        if report.overhead is not None:
            cost = _("The measurement slows a start by {overhead}.").format(overhead=f"{report.overhead * 100:.1f} %")
            yield cost if report.overhead > 0 else _("The cost of the measurement is less than the noise.")

    def _built(self) -> Iterator[str]:
        """Yield a sentence for what the cold start builds itself, and for the start that came first."""
        _, report = self._, self._report
        for made in report.made if COLD in report.conditions else ():
            text = self._texts.ngettext(
                "The cold start makes {ref} itself ({n} file, {size}); the other starts find it in place.",
                "The cold start makes {ref} itself ({n} files, {size}); the other starts find it in place.",
                made.files,
            )
            yield text.format(ref=made.ref, n=made.files, size=say_size(made.size))
        yield from self._unmade()
        if report.rehearsed:
            yield _("One start that is not measured came first: what it built outside the caches was there for all.")
        if report.environments:
            folders = ", ".join(report.environments)
            if report.environment_stayed:
                yield _(
                    "Warning: {size} of the app's Python stayed in the page cache, as other processes have these files "
                    "mapped. Cold and preloaded starts read less from disk than on an idle machine: {folders}."
                ).format(size=say_size(report.environment_stayed), folders=folders)
            else:
                text = _("The Python of a cold or preloaded start is read from disk too: {folders}.")
                yield text.format(folders=folders)

    def _unmade(self) -> Iterator[str]:
        """Yield a sentence for what the made files save a start, if that was measured."""
        _, report = self._, self._report
        size = say_size(sum(made.size for made in report.made))
        if None in report.unmade:
            yield _("Without the files that its first start made ({size}), the app does not start offline.").format(
                size=size
            )
        elif report.unmade_s is not None and report.unwatched:
            yield _(
                "Without the files that its first start made ({size}), a warm start takes {without} instead of {usual}."
            ).format(size=size, without=self.seconds(report.unmade_s), usual=self.seconds(median(report.unwatched)))

    def beaten(self, stage: StartStage) -> str:
        """Return a remark for a stage that took less than its limit, or ""."""
        if not stage.beaten or stage.least_s is None:
            return ""
        return self._("faster than measured alone ({least}): no limit").format(least=self.seconds(stage.least_s))

    @property
    def _both(self) -> bool:
        return self._report.ratio is not None

    def head(self) -> list[str]:
        """Return the header row of the table of figures."""
        conditions = [self.names[one] for one in self._report.conditions]
        return [self._("figure"), *conditions, *([self._("change")] if self._both else [])]

    def rows(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each figure of the table with its cells: its name, its value by condition, and the change."""
        report = self._report
        for figure, (name, say) in self._figures().items():
            values = [report.median(condition, figure) for condition in report.conditions]
            if figure == "cgroup_peak" and not any(values):
                continue
            none = self._("no GPU") if figure == "video_memory" else "–"
            cold, preloaded = report.median(COLD, figure), report.median(PRELOADED, figure)
            compared = cold and preloaded is not None and figure != "fetched"
            change = f"{(preloaded / cold - 1) * 100:+.1f} %" if compared and cold and preloaded is not None else ""
            cells = (none if value is None else say(value) for value in values)
            yield figure, [name, *cells, *([change] if self._both else [])]

    def _figures(self) -> dict[str, tuple[str, Callable[[float], str]]]:
        """Return the name and the format of each figure in the table."""
        _, seconds = self._, self.seconds
        return {
            "pull_s": (_("pull, once"), seconds),
            "ready_s": (_("start to page"), seconds),
            "first_s": (_("start to first use"), seconds),
            "fetched": (_("bytes fetched"), say_size),
            "outbound": (_("outbound requests"), _count),
            "peak_rss": (_("peak memory (RSS)"), say_size),
            "peak_pss": (_("peak memory (PSS)"), say_size),
            "cgroup_peak": (_("peak of its cgroup, page cache included"), say_size),
            "page_cache": (_("weights in the page cache"), say_size),
            "video_memory": (_("video memory"), say_size),
            "disk_read": (_("read from disk"), say_size),
            "disk_written": (_("written to disk"), say_size),
            "major_faults": (_("major page faults"), _count),
        }

    def limits(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the value of each limit that was measured."""
        _, limits = self._, self._report.limits
        if limits.line is not None:
            many = _("download from the hub, {connections} connections").format(connections=limits.line.connections)
            yield _("download from the hub, one connection"), f"{say_size(limits.line.one)}/s"
            yield many, f"{say_size(limits.line.many)}/s"
            yield _("response time of the hub"), f"{limits.line.answer_s * 1000:.0f} ms"
        if limits.speed is not None:
            yield _("disk, sequential"), f"{say_size(limits.speed.disk)}/s"
            yield _("page cache"), f"{say_size(limits.speed.page_cache)}/s"
            yield _("sha256, one core"), f"{say_size(limits.speed.sha256)}/s"
        if limits.interpreter:
            yield _("bare Python, from disk"), self.seconds(median(limits.interpreter))
        if limits.imports:
            yield _("bare Python with the app's imports, from disk"), self.seconds(median(limits.imports))
        if limits.imports_warm:
            yield _("the same from the page cache"), self.seconds(median(limits.imports_warm))

    def seconds(self, seconds: float) -> str:
        """Return a duration as text."""
        _ = self._
        if seconds < 120:
            return _("{n} s").format(n=f"{seconds:.2f}" if seconds < 10 else f"{seconds:.1f}")
        minutes, rest = divmod(round(seconds), 60)
        if minutes < 120:
            return _("{m} min {s} s").format(m=minutes, s=rest)
        return _("{h} h {m} min").format(h=minutes // 60, m=minutes % 60)


def percent(part: float) -> str:
    """Return a fraction as a percentage."""
    return f"{part * 100:.0f} %"


def _count(count: float) -> str:
    return f"{count:,.0f}"
