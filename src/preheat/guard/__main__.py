"""`python -m preheat.guard`: run the guard from an installed preheat, with the same options as the zip."""

from __future__ import annotations

import sys

from preheat.guard.main import main

if __name__ == "__main__":
    main(sys.argv[1:])
