"""Offline switches: each has a variable and a source, and is set for the app unless the recipe sets it."""

import re

from preheat.recipes.offline_env import KNOWN, SWITCHES, offline, online


def test_each_switch_is_listed_once_with_the_file_and_release_that_reads_it() -> None:
    assert len(SWITCHES) == len(KNOWN)
    for switch in KNOWN:
        assert re.fullmatch(r"[A-Z][A-Z0-9_]+", switch.name)
        assert switch.value
        assert switch.library
        assert re.fullmatch(r"[\w/]+\.(py|md), \d+(\.\d+)+", switch.source), switch.source


def test_telemetry_is_switched_off_and_restored() -> None:
    environ = offline({"PATH": "/bin", "ORT_DISABLE_TELEMETRY": "0"})
    assert environ["ORT_DISABLE_TELEMETRY"] == "1"
    assert environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert set(SWITCHES) <= set(environ)
    assert not set(SWITCHES) & set(online(environ))
