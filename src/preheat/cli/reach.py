"""Reach: how a verb reaches other machines, as its options say."""

import argparse
from dataclasses import dataclass

from preheat.cli.words import read_seconds
from preheat.errors import UsageError
from preheat.retry import Patience

_ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class Reach:
    """How a verb reaches other machines: at most `connections` to each, and seconds to wait.

    `patience` is for what fails; its `lasting_s` for a hub or registry that has answered before.
    """

    connections: int
    connect_s: float
    read_s: float
    patience: Patience


def read_reach(options: argparse.Namespace) -> Reach:
    """Read what was typed of these words. Raise UsageError for what is invalid."""
    if not 1 <= options.connections <= 1024:
        raise UsageError(f"{options.connections} connections cannot be had", hint="--connections 1 to 1024")
    patience = Patience(attempts=_ATTEMPTS, lasting_s=read_seconds(options.patience))
    return Reach(options.connections, _wait_s(options.connect_timeout), _wait_s(options.read_timeout), patience)


def _wait_s(words: str) -> float:
    seconds = read_seconds(words)
    if not seconds:
        raise UsageError(f"a timeout of {words} lets nothing happen", hint="a time above 0: 500ms, 45s, 2m")
    return seconds
