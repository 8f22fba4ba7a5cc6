"""Program files that this machine cannot start: real ones, changed in a few bytes, and started."""

import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from preheat.guard.model.app import App
from preheat.guard.process.process import CannotStart, Process
from preheat.guard.process.program_file import HINT

HERE = os.uname().machine
OTHER = (183, "aarch64") if HERE != "aarch64" else (62, "x86_64")


def program(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    path.chmod(0o755)
    return str(path)


def why_not(command: str, env: Mapping[str, str] | None = None, cwd: str | None = None) -> CannotStart:
    with pytest.raises(CannotStart) as caught:
        Process(App((command,), env, cwd))
    assert caught.value.hint == HINT
    return caught.value


def native() -> bytearray:
    """Return a program of this machine, a file like those that apps bring along."""
    return bytearray(Path(os.path.realpath(sys.executable)).read_bytes())


@pytest.fixture
def foreign(tmp_path: Path) -> str:
    """A program of another machine."""
    data = native()
    struct.pack_into("<H", data, 18, OTHER[0])
    return program(tmp_path / "tool", bytes(data))


def test_a_program_of_another_machine_is_named_as_such(foreign: str) -> None:
    error = why_not(foreign)
    assert (str(error), error.status) == (
        f"{foreign} cannot be started: it is for {OTHER[1]}, and this machine is {HERE}", 126,
    )  # fmt: skip


def test_it_is_found_on_the_apps_path_and_below_its_folder(foreign: str) -> None:
    folder = Path(foreign).parent
    assert f"it is for {OTHER[1]}" in str(why_not("tool", env={"PATH": f"/nowhere:{folder}"}))
    assert f"it is for {OTHER[1]}" in str(why_not("./tool", cwd=str(folder)))


def test_a_missing_loader_is_named(tmp_path: Path) -> None:
    data = native()
    at = data.find(b"/ld-")
    if at < 0:
        pytest.skip("a static program has no loader")
    data[at : at + 4] = b"/zz-"
    error = why_not(program(tmp_path / "tool", bytes(data)))
    assert "cannot be started: its loader /" in str(error)
    assert "/zz-" in str(error)
    assert str(error).endswith("does not exist: it is for another system")
    assert error.status == 127


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "its file is empty"),
        (b"MZ\x90\0\3\0\0\0", "it is for Windows"),
        (b"\xcf\xfa\xed\xfe\7\0\0\1", "it is for macOS"),
        (b"echo hello\n", "it is a text without a first line that names its interpreter, such as #!/bin/sh"),
        (b"\x7fELF\2\1\1\0", "its file is damaged"),
        (b"\0\1\2\3", "it is in no format that this machine starts"),
        (b"#!/no/such/python3\nprint()\n", "its interpreter /no/such/python3 does not exist"),
        (b"#!/bin/sh\r\necho hello\r\n", "its first line ends with a carriage return"),
    ],
)
def test_other_files_are_said_to_be_what_they_are(tmp_path: Path, data: bytes, said: str) -> None:
    assert said in str(why_not(program(tmp_path / "tool", data)))
