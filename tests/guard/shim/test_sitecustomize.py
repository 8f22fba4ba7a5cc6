"""The shim makes torch map checkpoints, and disturbs nothing else."""

import os
import subprocess
import sys
from pathlib import Path

from preheat.verbs.run import mapping_weights


def test_the_environments_own_sitecustomize_still_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.customized = __file__\n")
    environ = mapping_weights({"PYTHONPATH": str(tmp_path)})
    told = subprocess.run(
        [sys.executable, "-c", "print(customized); import sitecustomize; print(sitecustomize.__file__)"],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == [str(tmp_path / "sitecustomize.py")] * 2


def test_a_python_without_torch_starts_as_usual() -> None:
    environ = {"PATH": os.environ["PATH"], **mapping_weights({})}
    told = subprocess.run(
        [sys.executable, "-c", "import json; print(json.dumps(1))"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (told.stdout, told.stderr) == ("1\n", "")
