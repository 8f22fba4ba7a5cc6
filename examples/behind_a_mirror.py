"""Run a command with a mirror in front of the hub: all downloads of its processes are stored, and downloaded once.

    python examples/behind_a_mirror.py pytest tests/models

The exit status is the command's.
"""

import os
import subprocess
import sys

from preheat import api
from preheat.api.mirroring import MirrorTerms


def main(command: list[str]) -> int:
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    with api.mirror(terms=MirrorTerms(upstreams=(f"hf={hub}",))) as running:
        return subprocess.run(command, env={**os.environ, "HF_ENDPOINT": running.url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
