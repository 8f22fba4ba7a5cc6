"""Doctor, end to end: what is provoked is found, and nothing is changed."""

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.stories.kept import contents

RECIPE = """\
[app]
name = "talk"
[[needs]]
ref = "hf:acme/tiny"
files = ["model.safetensors", "config.json"]
"""


def causes(preheat: Preheat, *words: str, **env: str) -> dict[str, str]:
    """Say what was found, each with the command that helps."""
    told = preheat("doctor", *words, "--json", inside=(), **env)
    assert told.status == 0, told.err
    return {remedy["cause"]: remedy["command"] for remedy in told.last["remedies"]}


def test_what_is_not_here_is_to_be_pulled_and_nothing_is_changed(preheat: Preheat, hub: FlakyHub) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    assert causes(preheat)["not-preloaded"] == "preheat pull"
    assert not preheat.library.exists()
    offline = causes(preheat, "preheat.toml", HF_HUB_OFFLINE="1")
    assert offline["offline-without-weights"] == "preheat pull preheat.toml"
    preheat("pull", "preheat.toml")
    before = contents(preheat.library)
    found = causes(preheat, "preheat.toml")
    assert found["asks-the-hub"] == "preheat run preheat.toml"
    assert "not-preloaded" not in found
    assert "asks-the-hub" not in causes(preheat, "preheat.toml", HF_HUB_OFFLINE="1")
    assert contents(preheat.library) == before


def test_a_hub_that_does_not_answer_is_said_with_what_to_type(preheat: Preheat) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE.replace("acme/tiny", "acme/none"))
    told = preheat("doctor")
    assert told.status == 0
    assert "acme/none" in told.out
    assert "blocks" in told.out


def test_the_environment_is_looked_at_without_an_app(preheat: Preheat) -> None:
    assert causes(preheat) == {}
    found = causes(preheat, HTTP_PROXY="http://127.0.0.1:9", SSL_CERT_FILE="/none.pem")
    assert found == {
        "no-certificates": "unset SSL_CERT_FILE",
        "proxy-before-localhost": "export NO_PROXY=localhost,127.0.0.1,::1",
    }
    assert causes(preheat, HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="localhost,127.0.0.1") == {}
    assert preheat("doctor").out == "nothing was found that would make a start sooner\n"


def test_people_read_seconds_and_commands(preheat: Preheat) -> None:
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    lines = preheat("doctor").out.splitlines()
    assert "9.0 MB are not in the library" in lines[0]
    assert lines[0].split()[1] == "s"
    assert lines[1].strip() == "$ preheat pull"
