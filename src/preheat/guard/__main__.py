"""`python -m preheat.guard`, for where preheat is installed: the same words as the zip's."""

from __future__ import annotations

import sys

from preheat.guard.main import main

if __name__ == "__main__":
    main(sys.argv[1:])
