"""Metrics: encode a mirror's status in the Prometheus text format; pure.

See "Exposition formats" in Prometheus' documentation, text format version 0.0.4.
"""

from collections.abc import Iterable

from preheat.mirror.status.mirror_status import Standing

TYPE = "text/plain; version=0.0.4; charset=utf-8"
_Sample = tuple[dict[str, str], float]


def write_metrics(standing: Standing) -> str:
    """Return all metrics."""
    served, fetched = standing.served, standing.fetched
    under_way = standing.under_way
    statuses: list[_Sample] = [({"status": str(status)}, n) for status, n in sorted(served.answers.items())]
    families: list[tuple[str, str, str, Iterable[_Sample]]] = [
        ("up_seconds", "gauge", "Seconds since the mirror started", [({}, standing.up_s)]),
        ("answers_total", "counter", "Responses, by status", statuses),
        ("sent_bytes_total", "counter", "Bytes of response bodies sent to clients", [({}, served.sent)]),
        ("given_bytes_total", "counter", "Bytes of files sent to clients", [({}, served.given)]),
        ("received_bytes_total", "counter", "Bytes of files received from upstream", [({}, fetched.received)]),
        ("hits_total", "counter", "Responses with a cached file", [({}, fetched.hits)]),
        ("misses_total", "counter", "Responses with a file that was not cached", [({}, fetched.misses)]),
        ("fetched_total", "counter", "Files downloaded from upstream", [({}, fetched.fetched)]),
        ("failed_total", "counter", "Downloads that failed", [({}, fetched.failed)]),
        ("fetches", "gauge", "Downloads in progress", [({}, len(under_way))]),
        (
            "fetches_done_bytes",
            "gauge",
            "Bytes received by downloads in progress",
            [({}, sum(one.done for one in under_way))],
        ),
        (
            "fetches_size_bytes",
            "gauge",
            "Total bytes of downloads in progress",
            [({}, sum(one.size for one in under_way))],
        ),
        ("connections", "gauge", "Open connections", [({}, standing.connections)]),
        ("connections_busy", "gauge", "Connections with a request in progress", [({}, standing.busy)]),
        (
            "turned_away_total",
            "counter",
            "Connections rejected: too many",
            [({}, standing.turned_away)],
        ),
        ("library_bytes", "gauge", "Disk space of the library in bytes", [({}, standing.stored)]),
        ("library_versions", "gauge", "Versions in the library", [({}, len(standing.models))]),
        ("library_cap_bytes", "gauge", "Size cap of the library; 0 for none", [({}, standing.cap)]),
        ("evicted_total", "counter", "Versions evicted to stay below the cap", [({}, served.evicted)]),
        ("evicted_bytes_total", "counter", "Bytes freed by evictions", [({}, served.evicted_size)]),
    ]
    lines = []
    for name, kind, words, samples in families:
        lines += [f"# HELP preheat_mirror_{name} {words}.", f"# TYPE preheat_mirror_{name} {kind}"]
        lines += [f"preheat_mirror_{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"
