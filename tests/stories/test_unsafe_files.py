"""Pull a model with malicious code, end to end: it is reported or rejected, and never run."""

import http.client
import os
import pickle
import signal
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.mirroring import mirroring
from tests.stories.kept import contents


class Planted:
    """An object that runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self._command,)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a harmless checkpoint, and one that creates a file when it is loaded."""
    folder = tmp_path / "planted"
    (folder / "voices").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "good.pt").write_bytes(pickle.dumps({"weights": [1.0, 2.0]}))
    (folder / "voices" / "evil.pth").write_bytes(pickle.dumps(Planted(f"touch {tmp_path}/it-ran")))
    return folder


def test_a_malicious_checkpoint_is_reported_and_kept(preheat: Preheat, model: Path, tmp_path: Path) -> None:
    told = preheat("pull", "acme/tiny")
    assert told.status == 0, told.err
    assert "voices/evil.pth: dangerous: it calls posix.system" in " ".join(told.err.split())
    assert "good.pt" not in told.err
    assert b"posix.system" in b"".join(contents(preheat.library / "verdicts").values())
    assert not (tmp_path / "it-ran").exists()


def test_a_malicious_checkpoint_is_rejected_or_allowed_if_requested(preheat: Preheat, model: Path) -> None:
    told = preheat("pull", "acme/tiny", "--unsafe-files", "refuse", "--json")
    assert told.status == 8
    assert (told.last["kind"], "voices/evil.pth" in told.last["message"]) == ("CheckFailed", True)
    assert not (preheat.library / "records").exists()
    told = preheat("pull", "acme/tiny", "--unsafe-files", "allow", "--json")
    assert told.status == 0
    assert not [event for event in told.events if event["event"] == "scanned"]
    # Files that are in the library by now are refused too.
    assert preheat("pull", "acme/tiny", "--unsafe-files", "refuse").status == 8


def test_safe_files_pass_the_refuse_policy_without_a_message(preheat: Preheat, model: Path) -> None:
    (model / "voices" / "evil.pth").unlink()
    told = preheat("pull", "acme/tiny", "--json")
    assert told.status == 0, told.out
    assert not [event for event in told.events if event["event"] == "scanned"]
    assert preheat("pull", "acme/tiny", "--unsafe-files", "refuse").status == 0


def _asked(url: str, path: str, trust: dict[str, str]) -> tuple[int, bytes]:
    """Return the status and body of a GET; -1 if the body is incomplete."""
    context = ssl.create_default_context(cafile=trust["SSL_CERT_FILE"])
    try:
        with urllib.request.urlopen(f"{url}{path}", context=context, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except http.client.IncompleteRead as error:
        return -1, error.partial


def test_a_mirror_that_refuses_never_completes_an_unsafe_file(preheat: Preheat, model: Path, hub: FlakyHub) -> None:
    big = pickle.dumps([Planted("true"), os.urandom(300_000)])
    (model / "big.bin").write_bytes(big)
    mirror, url = mirroring(preheat, "--upstream", f"hf={hub.url}", "--unsafe-files", "refuse")
    for _ in range(2):  # while it arrives, and from the library
        status, body = _asked(url, "/acme/tiny/resolve/main/voices/evil.pth", preheat.env)
        assert status == 403, body
        status, body = _asked(url, "/acme/tiny/resolve/main/big.bin", preheat.env)
        assert status in (-1, 403)
        assert len(body) < len(big) - 60_000
    assert _asked(url, "/acme/tiny/resolve/main/good.pt", preheat.env)[0] == 200
    assert _asked(url, "/acme/tiny/resolve/main/config.json", preheat.env) == (200, b"{}")
    scanned = [event for event in mirror.kill(signal.SIGTERM).events if event["event"] == "scanned"]
    assert {event["what"] for event in scanned} == {"voices/evil.pth", "big.bin"}


def test_a_mirror_reports_an_unsafe_file_once_and_serves_it(preheat: Preheat, model: Path, hub: FlakyHub) -> None:
    mirror, url = mirroring(preheat, "--upstream", f"hf={hub.url}")
    for _ in range(2):
        assert _asked(url, "/acme/tiny/resolve/main/voices/evil.pth", preheat.env)[0] == 200
    scanned = [event for event in mirror.kill(signal.SIGTERM).events if event["event"] == "scanned"]
    assert [(event["what"], event["level"]) for event in scanned] == [("voices/evil.pth", "dangerous")]


def test_adopted_files_are_scanned_too(preheat: Preheat, model: Path) -> None:
    told = preheat("adopt", str(model), "--as", "acme/tiny", "--unsafe-files", "refuse", "--json")
    assert (told.status, told.last["kind"]) == (8, "CheckFailed"), told.out
    assert "voices/evil.pth is refused" in told.last["message"]
    assert not (preheat.library / "records").exists()
    told = preheat("adopt", str(model), "--as", "acme/tiny", "--json", "--library", str(preheat.folder / "other"))
    assert told.status == 0, told.out
    assert [event["what"] for event in told.events if event["event"] == "scanned"] == ["voices/evil.pth"]


def test_run_refuses_an_unsafe_file_that_was_pulled_before(preheat: Preheat, model: Path) -> None:
    (preheat.folder / "app").mkdir()
    (preheat.folder / "app/preheat.toml").write_text(
        '[app]\nname = "talk"\ncommand = ["touch", "it-started"]\n[[needs]]\nref = "acme/tiny"\n'
    )
    assert preheat("pull", "acme/tiny", "--files", "good.pt", "--unsafe-files", "refuse").status == 0
    # The commit is recorded already, so its record lists the file that is refused now.
    assert preheat("pull", "app/preheat.toml", "--unsafe-files", "refuse").status == 8
    told = preheat("run", "app/preheat.toml", "--unsafe-files", "refuse")
    assert told.status == 8, told.err
    assert "voices/evil.pth is refused" in told.err
    assert not (preheat.folder / "app/it-started").exists()
    assert preheat("run", "app/preheat.toml").status == 0
    assert (preheat.folder / "app/it-started").exists()


@pytest.mark.slow
def test_a_traced_app_gets_no_unsafe_file_if_they_are_refused(preheat: Preheat, model: Path) -> None:
    program = (
        "import os, urllib.request as u; base = os.environ['HF_ENDPOINT'] + '/acme/tiny/resolve/main/'\n"
        "try: u.urlopen(base + 'voices/evil.pth').read()\n"
        "except u.HTTPError as error: print('status', error.code)\n"
        "u.urlopen(base + 'good.pt').read()"
    )
    told = preheat(
        "trace", "--unsafe-files", "refuse", "--settle", "0s", "--", sys.executable, "-c", program, inside=()
    )
    assert "status 403" in told.out + told.err, told.out + told.err
