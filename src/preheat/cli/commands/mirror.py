"""`preheat mirror`."""

import argparse
import contextlib
import signal
from pathlib import Path
from types import FrameType

from preheat.cli.wiring import Wiring
from preheat.cli.words import read_address, read_size
from preheat.errors import UsageError
from preheat.mirror.shelf import Shelf
from preheat.verbs.mirror import mirror


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Do what `preheat mirror` says."""
    folders = dict(_folder_words(words) for words in options.folder)
    pace = read_size(options.pace) if options.pace else None
    upstreams = wiring.upstreams(options.upstream)
    if options.read_only:
        upstreams = []
    elif upstreams:
        wiring.library.prepare(0)
    shelf = Shelf(folders)
    server = mirror(read_address(options.listen), wiring.library, shelf, wiring.console, pace, upstreams)
    signal.signal(signal.SIGTERM, _interrupt)
    with contextlib.suppress(KeyboardInterrupt), server:
        server.wait()
    wiring.console.done({"url": server.url}, "")
    return 0


def _folder_words(words: str) -> tuple[str, Path]:
    name, equals, folder = words.partition("=")
    if not equals or not Path(folder).is_dir():
        raise UsageError(f"{words!r} names no repository and folder", hint="--folder owner/name=DIR")
    return name, Path(folder).absolute()


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal.signal gives them
    raise KeyboardInterrupt
