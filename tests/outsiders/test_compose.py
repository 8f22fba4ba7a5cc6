"""The compose file is valid by the compose specification's schema, and a real YAML reader parses it."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from preheat.deploy.compose import compose
from tests.deploy.test_service_files import NASTY, SLIM, USUAL
from tests.outsiders.conftest import Outsider

JUDGE = """
import json, sys, yaml, jsonschema
said = yaml.safe_load(open(sys.argv[1], encoding="utf-8"))
schema = json.load(open(sys.argv[2], encoding="utf-8"))
jsonschema.validate(said, schema)
print(json.dumps(said))
"""


@pytest.mark.slow
def test_the_specifications_schema_accepts_it_and_yaml_reads_every_word(outsider: Outsider, tmp_path: Path) -> None:
    python = outsider("jsonschema==4.26.0", "pyyaml==6.0.3")
    # The last Python release of compose contains the specification's schema.
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path)]
    got = subprocess.run([*pip, "docker-compose==1.29.2"], capture_output=True, text=True, check=False)
    wheels = list(tmp_path.glob("*.whl"))
    if not wheels:
        pytest.skip(f"docker-compose cannot be had here: {got.stderr.strip()[-300:]}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith("compose_spec.json"))
        (tmp_path / "schema.json").write_bytes(wheel.read(name))
    (tmp_path / "compose.yaml").write_text(compose(USUAL, SLIM), encoding="utf-8")
    words = [str(python), "-c", JUDGE, str(tmp_path / "compose.yaml"), str(tmp_path / "schema.json")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    app = json.loads(done.stdout)["services"]["web-ui"]
    assert app["entrypoint"] == [word.replace("$", "$$") for word in ("/bin/sh", *NASTY[1:])]
    assert app["environment"] == {"TOKEN": 'a "b" $$c 5%', "EMPTY": ""}
    assert [one.get("read_only", False) for one in app["volumes"]] == [False, True]
