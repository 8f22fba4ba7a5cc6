"""Download a CI job's models before its tests start: pull the locked files, fail if the lock is stale.

    python examples/warm_ci.py path/to/preheat.toml

Exit status 0 when all is there; else preheat's own (docs/exit-codes.md), with the reason in one line.
"""

import sys
import time

from preheat import api
from preheat.core.errors import PreheatError


def main(app: str) -> int:
    session = api.Session(api.Settings(locked=True))
    began = time.monotonic()
    try:
        pulls = api.pull(app, session=session)
    except PreheatError as error:
        print(f"{app}: {error.message} ({error.hint})", file=sys.stderr)
        return error.exit_status
    seconds = time.monotonic() - began
    print(f"{app}: {pulls.size / 1e6:.1f} MB ready in {seconds:.1f} s, {pulls.fetched / 1e6:.1f} MB of it downloaded")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2] or ["preheat.toml"]))
