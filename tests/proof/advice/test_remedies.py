"""Remedies: each cause of a slow start is found, with the command that helps, sorted by seconds."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.proof.advice.remedies import remedies
from preheat.proof.advice.symptoms import Endpoint, StorageFolder, Symptoms
from preheat.proof.limits.disk_speed import Speed
from preheat.proof.limits.line_speed import Line

LINE = Line(1e6, 1e6, 64, 0.2)
HUB = Endpoint("hf", "https://hub", LINE)
# All files are in the page cache, and no hub is queried.
WELL = Symptoms(
    app="app.toml",
    size=100_000_000,
    files=4,
    missing=0,
    library=StorageFolder("/lib", "ext4"),
    cache=StorageFolder("/root/.cache/huggingface", "ext4"),
    free_disk=10**12,
    free_memory=10**10,
    endpoints=(HUB,),
    speed=Speed(1e8, 1e9, 1e9),
    resident=100_000_000,
    offline=True,
)
AWAY = replace(WELL, missing=100_000_000, resident=0, speed=None, offline=False)
FAST = Endpoint("hf", "https://near", replace(LINE, one=5e6, many=5e6))


def test_without_problems_there_are_no_remedies() -> None:
    assert remedies(WELL) == []


@pytest.mark.parametrize(
    ("symptoms", "cause", "seconds", "command"),
    [
        (AWAY, "not-preloaded", 100, "preheat pull app.toml"),
        (replace(AWAY, offline=True), "offline-without-weights", None, "preheat pull app.toml"),
        (
            replace(AWAY, endpoints=(replace(HUB, line=replace(LINE, many=2e7)),)),
            "one-connection",
            95,
            "preheat pull app.toml --connections 64",
        ),
        (
            replace(AWAY, endpoints=(HUB, FAST)),
            "slower-endpoint",
            80,
            "preheat pull app.toml --endpoint hf=https://near",
        ),
        (
            replace(AWAY, endpoints=(Endpoint("hf", "https://hub", None, "no", denied=True),)),
            "hub-says-no",
            None,
            "hf auth login",
        ),
        (
            replace(WELL, endpoints=(Endpoint("hf", "https://hub", None, "no"),)),
            "hub-says-no",
            1,
            "preheat pull app.toml --endpoint hf=URL",
        ),
        (replace(AWAY, free_disk=10**7), "disk-full", None, "preheat prune"),
        (replace(WELL, free_memory=10**7), "memory-short", 0.9, "preheat run app.toml --mmap-weights"),
        (
            replace(WELL, library=StorageFolder("/lib", "overlay", survives=False)),
            "library-not-kept",
            100,
            "docker run -v preheat:/lib IMAGE",
        ),
        (
            replace(AWAY, cache=StorageFolder("/c", "overlay", survives=False)),
            "cache-not-kept",
            100,
            "docker run -v huggingface:/c IMAGE",
        ),
        (
            replace(WELL, library=StorageFolder("/lib", "nfs4")),
            "library-on-a-network",
            1,
            "preheat pull app.toml --library /var/lib/preheat",
        ),
        (replace(WELL, copied=("/app",)), "view-copied", 1, "preheat pull app.toml --library /app/.preheat"),
        (replace(WELL, resident=0), "page-cache-cold", 0.9, "preheat run app.toml"),
        (replace(WELL, offline=False), "asks-the-hub", 0.8, "preheat run app.toml"),
        (replace(WELL, no_ca="/none.pem"), "no-certificates", None, "unset SSL_CERT_FILE"),
        (replace(WELL, proxied=True), "proxy-before-localhost", None, "export NO_PROXY=localhost,127.0.0.1,::1"),
    ],
)
def test_each_problem_is_found_with_its_command(
    symptoms: Symptoms, cause: str, seconds: float | None, command: str
) -> None:
    [found] = [remedy for remedy in remedies(symptoms) if remedy.cause == cause]
    assert found.command == command
    assert found.seconds == (None if seconds is None else pytest.approx(seconds))


@given(
    st.builds(
        Symptoms,
        app=st.just(""),
        size=st.integers(0, 10**10),
        files=st.integers(0, 9),
        missing=st.integers(0, 10**10),
        library=st.builds(StorageFolder, st.just("/lib"), st.sampled_from(["ext4", "nfs4", "overlay"]), st.booleans()),
        cache=st.builds(StorageFolder, st.just("/c"), st.just("overlay"), st.booleans()),
        free_disk=st.integers(0, 10**10),
        free_memory=st.integers(0, 10**10),
        endpoints=st.lists(st.sampled_from([HUB, FAST, Endpoint("ms", "https://m", None, "no")]), max_size=3).map(
            tuple
        ),
        speed=st.none() | st.just(Speed(1e8, 1e9, 1e9)),
        resident=st.integers(0, 10**10),
        copied=st.lists(st.just("/app"), max_size=2).map(tuple),
        offline=st.booleans(),
        proxied=st.booleans(),
    )
)
def test_blocking_problems_come_first_and_then_the_most_seconds(symptoms: Symptoms) -> None:
    found = remedies(symptoms)
    seconds = [float("inf") if remedy.seconds is None else remedy.seconds for remedy in found]
    assert seconds == sorted(seconds, reverse=True)
    assert all(one >= 0 for one in seconds)
    assert all(remedy.said and remedy.command for remedy in found)


def test_the_document_lists_exactly_the_known_causes() -> None:
    root = Path(__file__).parents[3]
    source = (root / "src/preheat/proof/advice/remedies.py").read_text(encoding="utf-8")
    known = set(re.findall(r'(?:Remedy|_lost)\(\s*"([a-z-]+)"', source))
    rows = re.findall(r"^\| (`[a-z`, -]+`) \|", (root / "docs/doctor.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert known == {cause for row in rows for cause in re.findall(r"`([a-z-]+)`", row)}
    assert len(known) > 10
