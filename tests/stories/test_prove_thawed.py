"""`prove` with thawed starts: beside preloaded ones, in the report, and refused where memory cannot be saved."""

import pytest

from tests.command import Preheat
from tests.guard.memory_snapshot.frozen import CRIU, needs_criu
from tests.stories.proved import Recipe, contents_but_format, recipe

__all__ = ["recipe"]


@needs_criu
@pytest.mark.slow
def test_a_thawed_start_is_measured_beside_a_preloaded_one(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json")
    preheat.env["PREHEAT_CRIU"] = CRIU
    report = preheat.folder / "report.html"
    told = preheat(
        "prove", "--conditions=preloaded,thawed", "--observe=0s", f"--report={report}", "--lang=zh", "--json"
    )
    assert told.status == 0, told.out + told.err
    figures = told.last
    assert 0 < figures["thawed"]["ready_s"] < figures["thawed"]["first_s"]
    assert figures["thawed"]["outbound"] is None
    assert figures["thawed"]["peak_rss"] > 9_000_000
    assert [one["condition"] for one in figures["timelines"]] == ["preloaded", "thawed"]
    assert [one["name"] for one in figures["stages"]["thawed"]] == ["rest", "first-use"]
    if figures["preloaded"]["outbound"] is not None:
        assert figures["preloaded"]["outbound"] == 0, "thawed starts do not hide what is counted"
    assert "恢复" in report.read_text()
    assert contents_but_format(preheat) == {}
    assert not list(preheat.library.glob("proof-*"))


def test_a_thawed_start_is_refused_before_any_start_where_memory_cannot_be_saved(
    preheat: Preheat, recipe: Recipe
) -> None:
    recipe("model.safetensors")
    preheat.env["PREHEAT_CRIU"] = str(preheat.folder / "nowhere")
    told = preheat("prove", "--conditions=preloaded,thawed")
    assert told.status == 2
    assert "a thawed start cannot be measured: " in told.err
    assert "leave out thawed in --conditions" in told.err


def test_no_thawed_start_of_an_app_that_shows_by_a_line_that_it_is_ready(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors")
    described = preheat.folder / "preheat.toml"
    described.write_text(described.read_text().replace('ready = "http', 'ready = "line:serves" # "http'))
    told = preheat("prove", "--conditions=thawed")
    assert (told.status, "does not print its ready line again" in told.err) == (2, True)
