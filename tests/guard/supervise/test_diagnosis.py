"""Diagnosis: common last lines of output, and their meaning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.guard.supervise.diagnosis import diagnose, end_kind, is_lasting


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.", "not enough GPU memory"),
        (
            "ModuleNotFoundError: No module named 'gradio'",
            "Python cannot import gradio: is this the app's environment?",
        ),
        ("start.sh: line 2: uvicorn: command not found", "there is no program uvicorn in its PATH"),
        ("sh: 1: uvicorn: not found", "there is no program uvicorn in its PATH"),
        ("/usr/bin/env: \u2018uvicorn\u2019: No such file or directory", "there is no program uvicorn in its PATH"),
        ("python: can't open file '/a/b.py': [Errno 2] No such file or directory", "there is no file /a/b.py"),
        ("OSError: [Errno 98] Address already in use", "its port is already in use"),
        ("OSError: Cannot find empty port in range: 7860-7860. You can specify a", "its port is already in use"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("huggingface_hub.errors.LocalEntryNotFoundError: Cannot find", "it requires a model that is not downloaded"),
        (
            "./run.sh: line 3: ./tool: cannot execute binary file: Exec format error",
            "a file that it starts or loads is",
        ),
        ("OSError: /app/lib.so: wrong ELF class: ELFCLASS32", "a file that it starts or loads is for another machine"),
        ("safetensors_rust.SafetensorError: Error while deserializing header", "a weight file is truncated"),
        ("ImportError: cannot import name 'x' from 'a.b' (/x.py)", "a.b has no x: the app requires another version"),
    ],
)
def test_known_last_lines_are_explained(line: str, meaning: str) -> None:
    assert diagnose(("Traceback (most recent call last):", line, "")).startswith(meaning)


def test_the_interpreter_without_a_package_is_named() -> None:
    meaning = diagnose(("ModuleNotFoundError: No module named 'gradio'",), "/usr/bin/python3")
    assert meaning == "Python (/usr/bin/python3) cannot import gradio: is this the app's environment?"


def test_unknown_last_lines_are_not_interpreted() -> None:
    assert diagnose(("all is well", "good bye")) == ""


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_two_failures_of_one_kind_are_equal_whatever_their_numbers(one: int, two: int) -> None:
    assert end_kind("ended with status 1", (f"at 0x{one:x}: line {one}",)) == end_kind(
        "ended with status 1", (f"at 0x{two:x}: line {two}",)
    )


def test_failures_of_different_kinds_differ() -> None:
    assert end_kind("ended with status 1", ("KeyError: a",)) != end_kind("ended with status 1", ("KeyError: b",))


@pytest.mark.parametrize(
    ("status", "tail"),
    [
        (1, ("Traceback (most recent call last):", '  File "a.py"', "ModuleNotFoundError: No module named 'x'")),
        (1, ("/usr/bin/python3: No module named webui",)),
        (1, ("/opt/env/bin/python3.11: Error while finding module specification for 'a.b' (ModuleNotFoundError: No",)),
        (1, ("ImportError: libcudart.so.12: cannot open shared object file: No such file or directory",)),
        (1, ("    x = = 1", "        ^", "SyntaxError: invalid syntax", "")),
        (1, ("ModuleNotFoundError: No module named 'x'", "Traceback (most recent call last):", "  File",
             "subprocess.CalledProcessError: Command '['python']' returned non-zero exit status 1.")),
        (2, ("python3: can't open file '/app/webui.py': [Errno 2] No such file or directory",)),
        (2, ("usage: app.py [-h]", "app.py: error: unrecognized arguments: --prot")),
        (127, ("start.sh: line 2: uvicorn: command not found",)),
        (127, ("start.sh: 行 2: uvicorn: 未找到命令",)),
        (126, ("start.sh: line 2: ./app: Permission denied",)),
    ],
)  # fmt: skip
def test_errors_that_a_restart_cannot_change(status: int, tail: tuple[str, ...]) -> None:
    assert is_lasting(status, tail)


@pytest.mark.parametrize(
    ("status", "tail"),
    [
        (1, ("WARNING: No module named 'flash_attn', falling back", "ConnectionRefusedError: [Errno 111]")),
        (1, ("ModuleNotFoundError: No module named 'x'", "torch.OutOfMemoryError: CUDA out of memory.")),
        (-9, ("ModuleNotFoundError: No module named 'x'",)),
        (126, ("bash: ./app: Text file busy",)),
        (2, ("app.py: error: the model server does not answer",)),
        (1, ()),
    ],
)
def test_errors_that_may_heal(status: int, tail: tuple[str, ...]) -> None:
    assert not is_lasting(status, tail)
