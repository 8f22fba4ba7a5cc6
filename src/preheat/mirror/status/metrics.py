"""Metrics: a mirror's figures in the Prometheus text format; pure.

Written as Prometheus' documentation says, "Exposition formats", text format version 0.0.4.
"""

from collections.abc import Iterable

from preheat.mirror.status.mirror_status import Standing

TYPE = "text/plain; version=0.0.4; charset=utf-8"
_Sample = tuple[dict[str, str], float]


def write_metrics(standing: Standing) -> str:
    """Write all metrics."""
    served, fetched = standing.served, standing.fetched
    under_way = standing.under_way
    statuses: list[_Sample] = [({"status": str(status)}, n) for status, n in sorted(served.answers.items())]
    families: list[tuple[str, str, str, Iterable[_Sample]]] = [
        ("up_seconds", "gauge", "Seconds since the mirror was started", [({}, standing.up_s)]),
        ("answers_total", "counter", "Answers, by status", statuses),
        ("sent_bytes_total", "counter", "Bytes of bodies sent to clients", [({}, served.sent)]),
        ("given_bytes_total", "counter", "Bytes of files among these", [({}, served.given)]),
        ("received_bytes_total", "counter", "Bytes of files received from upstream", [({}, fetched.received)]),
        ("hits_total", "counter", "Answers with a file that was here", [({}, fetched.hits)]),
        ("misses_total", "counter", "Answers with a file that was not", [({}, fetched.misses)]),
        ("fetched_total", "counter", "Files fetched from upstream", [({}, fetched.fetched)]),
        ("failed_total", "counter", "Files that could not be fetched", [({}, fetched.failed)]),
        ("fetches", "gauge", "Fetches under way", [({}, len(under_way))]),
        ("fetches_done_bytes", "gauge", "Bytes that these have", [({}, sum(one.done for one in under_way))]),
        ("fetches_size_bytes", "gauge", "Bytes that these will have", [({}, sum(one.size for one in under_way))]),
        ("connections", "gauge", "Connections that are open", [({}, standing.connections)]),
        ("connections_busy", "gauge", "Connections that are being answered", [({}, standing.busy)]),
        ("turned_away_total", "counter", "Connections for which there was no room", [({}, standing.turned_away)]),
        ("library_bytes", "gauge", "Bytes that the library's versions have on disk", [({}, standing.stored)]),
        ("library_versions", "gauge", "Versions in the library", [({}, len(standing.models))]),
        ("library_cap_bytes", "gauge", "Bytes that the library may have; 0 for no cap", [({}, standing.cap)]),
        ("evicted_total", "counter", "Versions that went to keep below the cap", [({}, served.evicted)]),
        ("evicted_bytes_total", "counter", "Bytes that this freed", [({}, served.evicted_size)]),
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
