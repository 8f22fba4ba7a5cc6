"""The output of `prove --json` is valid by docs/proof-schema.json, as checked by jsonschema."""

import subprocess
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.outsiders.conftest import Outsider
from tests.stories.proved import Recipe, recipe

__all__ = ["recipe"]

SCHEMA = Path(__file__).resolve().parents[2] / "docs/proof-schema.json"
JUDGE = """
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
document = json.loads(sys.stdin.read())
judge = jsonschema.Draft202012Validator
judge.check_schema(schema)
print([f"{error.json_path}: {error.message}" for error in judge(schema).iter_errors(document)])
"""


@pytest.mark.slow
@pytest.mark.parametrize("conditions", ["cold,preloaded,warm,restart", "preloaded"])
def test_its_last_line_is_valid(preheat: Preheat, recipe: Recipe, outsider: Outsider, conditions: str) -> None:
    recipe("model.safetensors", "config.json")
    told = preheat("prove", "--observe=0s", f"--conditions={conditions}", "--json")
    assert told.status == 0, told.err
    python = outsider("jsonschema==4.26.0")
    judge = [str(python), "-c", JUDGE, str(SCHEMA)]
    done = subprocess.run(judge, input=told.out.splitlines()[-1], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stdout + done.stderr
