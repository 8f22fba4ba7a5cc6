"""Replay facts: the result of a replay, for --json."""

from preheat.verbs.tracing.replaying.replay import ReplayVerdict


def replay_facts(verdict: ReplayVerdict) -> dict[str, object]:
    """Return the facts of a replay for --json."""
    replayed = verdict.replayed
    return {
        "passed": replayed.passed,
        "error": replayed.error,
        "outbound": None if replayed.network is None else replayed.network.outbound,
        "missing": [{"what": one.what, "size": one.size} for one in verdict.missing],
        "replays": verdict.count,
        "seconds": round(verdict.seconds, 3),
    }
