"""Quiet fork: fork(2) without the warning of Python 3.12 and later."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import ExitStack


def fork() -> int:
    """Fork this process. Raise OSError. The code in the child must take no locks that other threads may hold."""
    with ExitStack() as quiet:
        if sys.version_info >= (3, 12):
            # Python warns that a fork in a threaded process may deadlock.
            quiet.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
