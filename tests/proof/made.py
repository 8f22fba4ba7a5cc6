"""Made: a report as a proof could return it, five times faster preloaded than cold."""

from collections.abc import Sequence
from dataclasses import replace

from preheat.proof.limits.disk_speed import Speed
from preheat.proof.limits.line_speed import Line
from preheat.proof.report.report import Imitated, MachineLimits, Report
from preheat.proof.start.timeline import (
    COLD,
    PRELOADED,
    WARM,
    Imports,
    Memory,
    Package,
    Pulled,
    Span,
    Timeline,
    Traffic,
    WeightReads,
)

_IMPORTS = Imports(
    0.1, (Span(0.1, 1.0), Span(1.2, 1.3)), (Package("torch", 0.6, 900), Package("<b>gradio</b>", 0.4, 100)), 1000
)


def made(ready: Sequence[float] = (2.0,), app: str = "talk") -> Report:
    """Make a report; `ready` are the preloaded starts' seconds, one for each round."""
    cold = Timeline(
        COLD,
        10.0,
        10.5,
        9.9,
        imports=_IMPORTS,
        downloading=(Span(1.3, 9.3),),
        traffic=Traffic(9_000_000, 50_000_000, 9_000_000, 2, 1),
        memory=Memory(100_000_000, 90_000_000),
    )
    preloaded = replace(
        cold,
        condition=PRELOADED,
        ready_s=2.0,
        first_s=2.5,
        listening_s=1.9,
        downloading=(),
        pulled=Pulled(0.1, 0.8, 0.1, 0.01),
        reading=WeightReads((Span(1.3, 1.5),), 9_000_000, 12, 9_000_000),
        traffic=Traffic(9_001_000, 59_000_000, 0, 0, 0),
        memory=Memory(95_000_000, 85_000_000, 120_000_000, 9_000_000),
        stayed=0.0,
    )
    warm = replace(
        preloaded, condition=WARM, ready_s=1.6, first_s=2.0, listening_s=1.5, pulled=None, reading=WeightReads()
    )
    rounds = [(cold, replace(preloaded, ready_s=seconds, first_s=seconds + 0.5), warm) for seconds in ready]
    return Report(
        timelines=tuple(timeline for round_ in rounds for timeline in round_),
        weights=9_000_000,
        app=app,
        limits=MachineLimits(Line(1e6, 2e7, 64, 0.04, 100), Speed(9e8, 5e9, 1e9), (0.1,), (0.9,), (0.8,)),
        unwatched=(1.5,),
        copies=1.0,
        imitated=Imitated(1_000_000, 0.04),
        machine={
            "cpu": "a <cpu>",
            "cores": 2,
            "memory": 25_000_000_000,
            "kernel": "6.1",
            "filesystem": "ext4",
            "preheat": "0",
            "at": "2026-01-01T00:00Z",
            "load": 0.5,
        },
    )
