"""Compile program: byte-compile modules; run by `python -c` in another Python, 3.8 or later."""

import json
import marshal
import sys
from importlib.util import MAGIC_NUMBER


def compiled(source: bytes, name: str, modified: int) -> bytes:
    """Return the bytecode of a module, valid for a source of this time (PEP 552); nothing of it is executed."""
    numbers = (0, modified & 0xFFFFFFFF, len(source) & 0xFFFFFFFF)
    header = MAGIC_NUMBER + b"".join(number.to_bytes(4, "little") for number in numbers)
    return header + marshal.dumps(compile(source, name, "exec", dont_inherit=True))


def main() -> None:
    """Read a JSON list of `[file, name, modified]` from standard input; `name` is the path of the module in `file`.

    Write `file.pyc`, and print a JSON list of the files that could be compiled.
    """
    done = []
    for file, name, modified in json.load(sys.stdin):
        try:
            with open(file, "rb") as source:
                code = compiled(source.read(), name, modified)
        except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError):
            continue  # such as a template, or a module for another version
        with open(f"{file}.pyc", "wb") as made:
            made.write(code)
        done.append(file)
    json.dump(done, sys.stdout)


if __name__ == "__main__":
    main()
