"""The mirror as a service, end to end: access, status, reload and shutdown."""

import json
import os
import signal
import socket
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.authority import connect, trust
from tests.command import Preheat
from tests.mirroring import mirroring

TOKEN = "a-token-of-the-room"


def get(url: str, tls: ssl.SSLContext | None = None, **fields: str) -> tuple[int, bytes]:
    """Send a request; return the status and the body."""
    asked = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in fields.items()})
    try:
        with urllib.request.urlopen(asked, timeout=20, context=tls or trust()) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def until_written(log: Path, lines: int) -> None:
    """Wait until an access log has this many lines: each follows the last byte of its response."""
    deadline = time.monotonic() + 20
    while not log.is_file() or len(log.read_text().splitlines()) < lines:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)


def test_a_token_is_required_accepted_and_never_shown(preheat: Preheat) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    tokens, log = preheat.folder / "tokens", preheat.folder / "access.jsonl"
    tokens.write_text(f"# of the room\n{TOKEN}\n")
    mirror, url = mirroring(
        preheat, "--token-file", str(tokens), "--access-log", str(log), PREHEAT_MIRROR_TOKEN="another-token"
    )
    other = Preheat(preheat.folder, url)
    told = other("pull", "acme/tiny", "--library", str(preheat.folder / "other"))
    assert told.status == 3
    for token in (TOKEN, "another-token", f"{TOKEN}:hf_of_the_hub"):
        told = other("pull", "acme/tiny", "--library", str(preheat.folder / token[:9]), HF_TOKEN=token)
        assert told.status == 0, told.err
    assert get(f"{url}/?token={TOKEN}&x={TOKEN}")[0] == 401
    assert get(f"{url}/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
    told = mirror.kill(signal.SIGTERM)
    assert told.status == 0
    said = told.out + told.err + log.read_text()
    assert TOKEN not in said
    assert "another-token" not in said
    assert "hf_of_the_hub" not in said
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["status"] for line in lines} >= {200, 401}
    assert {line["path"] for line in lines} >= {"/?token=*&x=*"}
    assert sum(line["sent"] for line in lines) > 24_000_000


def test_lists_and_tokens_are_reloaded_while_it_runs(preheat: Preheat) -> None:
    assert preheat("pull", "acme/tiny", "hf:datasets/acme/rows").status == 0
    denied, log = preheat.folder / "denied", preheat.folder / "access.jsonl"
    denied.write_text("datasets/*\n")
    mirror, url = mirroring(preheat, "--deny", f"@{denied}", "--access-log", str(log))
    model, rows = f"{url}/api/models/acme/tiny", f"{url}/api/datasets/acme/rows"
    assert [get(model)[0], get(rows)[0]] == [200, 403]
    denied.write_text("hf:Acme/*\n")
    until_written(log, 2)
    log.rename(preheat.folder / "access.jsonl.1")
    mirror.process.send_signal(signal.SIGHUP)
    mirror.until(lambda mirror: mirror.out.count('"what":"reload"') == 1)
    assert [get(model)[0], get(rows)[0]] == [403, 200]
    until_written(log, 2)
    denied.unlink()
    mirror.process.send_signal(signal.SIGHUP)
    mirror.until(lambda mirror: mirror.out.count('"what":"reload"') == 2)
    assert "settings unchanged" in mirror.out
    assert [get(model)[0], get(rows)[0]] == [403, 200]
    assert b"acme/tiny" not in get(f"{url}/status.json")[1]
    assert mirror.kill(signal.SIGTERM).status == 0


def test_a_running_response_is_completed_when_the_mirror_is_stopped(preheat: Preheat, tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    weights = os.urandom(3_000_000)
    (tmp_path / "slow/weights.bin").write_bytes(weights)
    mirror, url = mirroring(preheat, "--folder", f"me/slow={tmp_path}/slow", "--pace", "2M", "--grace", "20s")
    connection = connect(url)
    connection.request("GET", "/me/slow/resolve/main/weights.bin")
    answer = connection.getresponse()
    mirror.process.send_signal(signal.SIGTERM)
    assert answer.read() == weights
    assert mirror.ended().status == 0
    connection.close()


def test_a_second_signal_ends_the_grace_period(preheat: Preheat, tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    # More than the kernel's socket buffers hold.
    (tmp_path / "slow/weights.bin").write_bytes(bytes(60_000_000))
    mirror, url = mirroring(preheat, "--folder", f"me/slow={tmp_path}/slow", "--pace", "10K", "--grace", "50s")
    connection = connect(url)
    connection.request("GET", "/me/slow/resolve/main/weights.bin")
    answer = connection.getresponse()
    mirror.process.send_signal(signal.SIGTERM)
    port = int(url.rpartition(":")[2])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            break  # the first signal has been heard
        except OSError:
            pass  # a busy machine
        time.sleep(0.02)
    began = time.monotonic()
    assert mirror.kill(signal.SIGTERM).status == 0
    assert time.monotonic() - began < 10
    answer.close()
    connection.close()


def test_the_library_stays_below_its_cap_and_the_page_shows_it(preheat: Preheat) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    mirror, url = mirroring(preheat, "--size-cap", "20M")
    told = json.loads(get(f"{url}/status.json")[1])
    assert told["library"]["cap"] == 20_000_000
    assert told["library"]["models"][0]["ref"] == "hf:acme/tiny"
    status, page = get(url, Accept="text/html", Accept_Language="zh-CN")
    assert status == 200
    assert "模型库".encode() in page
    assert b"hf:acme/tiny" in page
    assert f"export HF_ENDPOINT={url}".encode() in page
    assert mirror.kill(signal.SIGTERM).status == 0


def test_tls_with_a_self_signed_certificate(preheat: Preheat) -> None:
    pytest.importorskip("cryptography", reason="preheat[tls] is not installed")
    assert preheat("pull", "acme/tiny").status == 0
    mirror, url = mirroring(preheat, "--tls-self-signed", "--tls-name", "mirror.lan", tls=False)
    assert url.startswith("https://127.0.0.1:")
    certificate = Path(str(mirror.event("noted")["said"]).partition("SSL_CERT_FILE=")[2])
    assert get(f"{url}/livez", ssl.create_default_context(cafile=certificate)) == (200, b"ok\n")
    other = Preheat(preheat.folder, url)
    library = ("--library", str(preheat.folder / "other"))
    assert other("pull", "acme/tiny", *library).status == 3
    told = other("pull", "acme/tiny", *library, SSL_CERT_FILE=str(certificate))
    assert told.status == 0, told.err
    mirror.process.send_signal(signal.SIGHUP)
    mirror.until(lambda mirror: '"what":"reload"' in mirror.out)
    assert get(f"{url}/livez", ssl.create_default_context(cafile=certificate))[0] == 200
    assert mirror.kill(signal.SIGTERM).status == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tls-cert", "c.pem"], "--tls-cert needs --tls-key"),
        (["--tls-cert", "c.pem", "--tls-key", "k.pem"], "c.pem cannot be read: no such file"),
        (["--tls-cert", "c.pem", "--tls-key", "k.pem", "--tls-self-signed"], "excludes --tls-self-signed"),
        (["--token-file", "nowhere"], "cannot be read"),
        (["--allow", "@nowhere"], "cannot be read"),
        (["--size-cap", "much"], "is not a size"),
        (["--size-cap", "0"], "must be greater than 0"),
        (["--max-connections", "0"], "must be between 1 and 65536"),
        (["--grace", "soon"], "is not a time"),
        (["--access-log", "/nowhere/log"], "cannot be written"),
    ],
)
def test_invalid_options_are_reported(preheat: Preheat, words: list[str], said: str) -> None:
    told = preheat("mirror", "--listen", "127.0.0.1:0", *words)
    assert told.status == 2
    assert said in told.err
    assert "hint:" in told.err
    assert "Traceback" not in told.err


def test_a_cap_below_the_pinned_size_is_rejected_with_the_figure(preheat: Preheat) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    assert preheat("pin", "acme/tiny").status == 0
    told = preheat("mirror", "--listen", "127.0.0.1:0", "--size-cap", "5M")
    assert told.status == 2
    assert "--size-cap is 5.0 MB, but pinned versions need 1" in told.err
    assert "preheat unpin" in told.err


def test_models_pulled_by_hand_are_never_evicted(preheat: Preheat) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    mirror, _ = mirroring(preheat, "--size-cap", "5M")
    event = mirror.event("noted")
    assert event["what"] == "size cap"
    assert "never evicted" in str(event["said"])
    time.sleep(1)
    assert mirror.kill(signal.SIGTERM).status == 0
    assert "acme/tiny" in preheat("ls").out
