"""File operations and function calls of each step of `fold` grow no faster than the number of files."""

import json
import os
import struct
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from preheat.cli.main import main
from tests.growth.counting import grows_as_the_work, named_calls_of, operations
from tests.stories.desk import comfyui, fooocus, wait_until_old

pytestmark = pytest.mark.slow  # all calls are counted

FILES, TIMES = 32, 4
STEPS = {
    "first plan": (),
    "second plan": (),
    "fold": ("--yes",),
    "plan after it": (),
    "second fold": ("--yes",),
    "undo": ("--undo",),
}


def _fill(home: Path, count: int) -> None:
    """Make models of two apps: each in a folder of both, sparse but for its header."""
    folders = (comfyui(home) / "loras", fooocus(home) / "loras")
    for number in range(count):
        name = {
            f"lora_unet_{number}.lora_up.weight": {"dtype": "F16", "shape": [1 << 19], "data_offsets": [0, 1 << 20]}
        }
        body = json.dumps(name).encode()
        for folder in folders:
            path = folder / str(number % 4) / f"style-{number}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "xb") as file:
                file.write(struct.pack("<Q", len(body)) + body)
                file.truncate(8 + len(body) + (1 << 20))
            os.utime(path, ns=(10**18, 10**18 + number))


def _run(library: Path, *words: str) -> None:
    with suppress(SystemExit):
        main(["fold", "--library", str(library), *words])


def _costs(home: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, Counter[str]]:
    """Return the number of function calls and of each kind of file operation of each step."""
    _fill(home, count)
    wait_until_old(home)
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    found = {}
    for step, words in STEPS.items():
        with operations() as operated:
            calls = named_calls_of(partial(_run, home / "library", *words))
        found[step] = operated + Counter(calls=sum(calls.values()))
    return found


def test_the_cost_of_each_step_grows_no_faster_than_the_number_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _costs(tmp_path / "first", 2, monkeypatch)  # so that imports are not counted
    small = _costs(tmp_path / "small", FILES, monkeypatch)
    large = _costs(tmp_path / "large", FILES * TIMES, monkeypatch)
    said = capsys.readouterr()
    assert f"{2 * FILES * TIMES} files folded" in said.err + said.out
    assert f"{2 * FILES * TIMES} files restored" in said.err + said.out
    grown = {
        (step, what): (small[step][what], large[step][what])
        for step in STEPS
        for what in large[step]
        if not grows_as_the_work(max(small[step][what], 4), large[step][what], TIMES)
    }
    assert not grown, "cost at two sizes"
