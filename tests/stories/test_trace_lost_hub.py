"""Trace of an app whose hub, or another host, does not answer: the last lines are the cause, and what helps."""

import pytest

from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.guard.apps import free_port
from tests.stories.test_trace import SCRIPT, traced, write_app

__all__ = ["traced"]

pytestmark = pytest.mark.timeout(90)

# Its traceback hides the cause, as that of huggingface_hub does.
HIDES = """
class LocalEntryNotFoundError(Exception):
    pass

def load(depth):
    if depth:
        return load(depth - 1)
    try:
        return get('model.safetensors'{repo})
    except OSError as error:
        raise LocalEntryNotFoundError("cannot find the requested files in the local cache")

load(30)
"""


def ended(preheat: Preheat, code: str) -> tuple[Told, str, str]:
    """Trace an app that fails; return the result, its last line but one, and its last."""
    write_app(preheat, code)
    told = preheat("trace", "--", *SCRIPT)
    assert told.status == 7, told.err
    *above, cause, hint = told.err.splitlines()
    assert any("Traceback" in line for line in above)
    assert cause.startswith("preheat: the app was never ready: it ended with status 1; ")
    return told, cause, hint


@pytest.mark.parametrize(
    ("host", "said"),
    [("127.0.0.1", "connection refused"), ("no-such-host.invalid", "its name was not found in DNS")],
)
def test_a_hub_that_is_down_is_the_cause(traced: Preheat, host: str, said: str) -> None:
    url = f"http://{host}:{free_port()}"
    traced.env["HF_ENDPOINT"] = url
    _, cause, hint = ended(traced, HIDES.replace("{repo}", ""))
    assert f"{url}: " in cause
    assert said in cause
    assert hint.startswith("   hint: ")
    assert "--endpoint hf=URL" in hint
    assert "HTTPS_PROXY" in hint


def test_a_repository_that_the_hub_does_not_have_is_the_cause(traced: Preheat, hub: FlakyHub) -> None:
    _, cause, hint = ended(traced, HIDES.replace("{repo}", ", repo='acme/none'"))
    assert hub.url in cause
    assert "acme/none" in cause
    assert "hint: " in hint


def test_another_host_is_the_cause_if_the_app_asks_it_itself(traced: Preheat) -> None:
    _, cause, hint = ended(traced, "urllib.request.urlopen('http://models.invalid/voice.bin')")
    assert "models.invalid: its name was not found in DNS" in cause
    assert "HTTPS_PROXY" in hint


def test_a_crash_after_a_hub_failed_for_what_the_app_can_do_without_is_not_blamed_on_it(traced: Preheat) -> None:
    write_app(traced, "try:\n    get('x', repo='acme/none')\nexcept OSError:\n    pass\nraise KeyError('voice')")
    told = traced("trace", "--", *SCRIPT)
    assert told.status == 7
    assert told.err.splitlines()[-2] == "preheat: the app was never ready: it ended with status 1"
