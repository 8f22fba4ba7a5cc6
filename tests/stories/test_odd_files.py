"""A FIFO, a folder or a device where a file is meant is an error that names it, at once, at start and at a reload."""

import os
import signal
from pathlib import Path

import pytest

from preheat.core.errors import UsageError
from preheat.disk.regular_file import open_to_write, read_regular, why
from preheat.guard.main import main
from preheat.mirror.access.certificate import given
from preheat.mirror.status.access_log import AccessLog
from preheat.oci.registry.credentials import find_login
from preheat.proof.report.comparison import read_older
from tests.authority import authority
from tests.command import Preheat

KINDS = ("fifo", "folder", "device")


@pytest.fixture
def odd(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A path of the kind that the test asks for."""
    at = tmp_path / "odd"
    match request.param:
        case "fifo":
            os.mkfifo(at)
        case "folder":
            at.mkdir()
        case _:
            at.symlink_to("/dev/zero")
    return at


@pytest.mark.parametrize("odd", KINDS, indirect=True)
def test_no_reader_waits_or_reads_without_end(odd: Path) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        read_regular(odd)
    cert = authority()
    for pair in ((odd, cert.key), (cert.certificate, odd)):
        with pytest.raises(UsageError, match="odd cannot be read: not a regular file"):
            given(*pair)
    with pytest.raises(UsageError, match="cannot be read"):
        read_older(odd)
    assert find_login("a.example", "app", [odd], {}) is None


@pytest.mark.parametrize("odd", ["fifo", "folder"], indirect=True)
def test_an_access_log_that_cannot_be_written_is_an_error_at_once(odd: Path) -> None:
    with pytest.raises(UsageError, match=r"odd cannot be written: (no process reads this pipe|is a directory)"):
        AccessLog(str(odd))


def test_a_pipe_with_a_reader_is_written_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with open_to_write(tmp_path / "pipe", append=True) as pipe:
        for _ in range(1_000):
            pipe.write(b"x" * 1_000)  # more than it has room for
    assert os.read(reader, 3) == b"xxx"
    os.close(reader)
    with pytest.raises(OSError, match=r".") as caught:
        open_to_write(tmp_path / "pipe")
    assert why(caught.value) == "no process reads this pipe"


@pytest.mark.parametrize("odd", KINDS, indirect=True)
@pytest.mark.parametrize(
    "words",
    [
        ("mirror", "--listen", "127.0.0.1:0", "--token-file", "{odd}"),
        ("mirror", "--listen", "127.0.0.1:0", "--allow", "@{odd}"),
        ("mirror", "--listen", "127.0.0.1:0", "--tls-cert", "{odd}", "--tls-key", "{odd}"),
        ("mirror", "--listen", "127.0.0.1:0", "--upstream-token", "http://a.example={odd}"),
        ("pull", "a/b", "--token-for", "https://a.example=file:{odd}"),
        ("pull", "{odd}/preheat.toml"),
        ("prove", "--compare", "{odd}"),
    ],
)
def test_words_that_name_it_are_refused(preheat: Preheat, odd: Path, words: tuple[str, ...]) -> None:
    told = preheat(*(word.format(odd=odd) for word in words))
    assert told.status == 2, told.err
    assert "hint:" in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize("odd", KINDS, indirect=True)
def test_variables_that_name_it_are_refused_or_ignored(preheat: Preheat, odd: Path) -> None:
    told = preheat("pull", "acme/tiny", SSL_CERT_FILE=str(odd))
    assert told.status == 2
    assert "odd cannot be read: not a regular file" in told.err
    told = preheat("mirror", "--listen", "127.0.0.1:0", "--upstream", "hf=http://127.0.0.1:1", SSL_CERT_FILE=str(odd))
    assert told.status == 2
    told = preheat("pull", "acme/tiny", HF_TOKEN_PATH=str(odd))  # no token is stored there
    assert "Traceback" not in told.err


@pytest.mark.parametrize("odd", KINDS, indirect=True)
def test_the_guard_refuses_it(odd: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["--config", str(odd)], ["--warm", str(odd), "--", "true"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code
        assert "not a regular file" in capfd.readouterr().err


def test_a_reload_with_it_keeps_what_was_read(preheat: Preheat) -> None:
    tokens, log = preheat.folder / "tokens", preheat.folder / "log"
    tokens.write_text("a-token-of-the-mirror\n")
    words = ("--listen", "127.0.0.1:0", "--token-file", str(tokens), "--access-log", str(log))
    mirror = preheat.start("mirror", *words, "--json")
    mirror.event("serving")
    for at in (tokens, log):
        at.unlink()
        os.mkfifo(at)
        mirror.process.send_signal(signal.SIGHUP)
        mirror.until(lambda mirror: "failed, settings unchanged" in mirror.out)
        at.unlink()
        at.write_text("a-token-of-the-mirror\n")
    assert mirror.kill(signal.SIGTERM).status == 0
