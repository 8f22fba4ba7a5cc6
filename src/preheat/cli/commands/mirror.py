"""The `preheat mirror` command."""

import argparse
import contextlib
import signal
import threading
from pathlib import Path

from preheat.api.mirroring import MirrorTerms, RunningMirror
from preheat.cli.typed_units import read_address, read_seconds, read_size, read_upstream_token
from preheat.cli.wiring import Wiring
from preheat.core.errors import UsageError

# Bytes of stack per connection thread, so that 512 threads fit into a limited address space (ulimit -v).
_STACK = 1 << 20
# Bytes. A smaller number without a unit is most likely meant in gigabytes.
_SMALLEST_CAP = 1_000_000


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat mirror`; return the exit status."""
    threading.stack_size(_STACK)
    grace_s = read_seconds(options.grace)
    running = RunningMirror(read_address(options.listen), _terms(options), wiring)
    signal.signal(signal.SIGHUP, lambda _number, _frame: running.reload())
    with contextlib.suppress(KeyboardInterrupt):
        running.start()
        running.wait()
    # A second Ctrl-C or SIGTERM ends the grace period.
    with contextlib.suppress(KeyboardInterrupt):
        running.stop(grace_s)
    wiring.console.done({"url": running.url}, "")
    return 0


def _terms(options: argparse.Namespace) -> MirrorTerms:
    return MirrorTerms(
        folders=dict(_folder_words(words) for words in options.folder),
        upstreams=tuple(options.upstream),
        in_order=options.in_order,
        upstream_tokens=dict(read_upstream_token(one) for one in options.upstream_token),
        read_only=options.read_only,
        remember_s=read_seconds(options.remember),
        size_cap=_cap(options),
        pace=read_size(options.pace) if options.pace else None,
        token_file=_path(options.token_file),
        allow=tuple(options.allow),
        deny=tuple(options.deny),
        tls_cert=_path(options.tls_cert),
        tls_key=_path(options.tls_key),
        tls_self_signed=options.tls_self_signed,
        tls_names=tuple(options.tls_name),
        hosts=tuple(options.host),
        max_connections=options.max_connections,
        access_log=options.access_log or "",
    )


def _path(words: str | None) -> Path | None:
    return Path(words) if words else None


def _cap(options: argparse.Namespace) -> int:
    if options.size_cap is None:
        return 0
    cap = read_size(options.size_cap)
    if not cap:
        raise UsageError("--size-cap must be greater than 0", hint="--size-cap 200G")
    if cap < _SMALLEST_CAP and options.size_cap.strip().isdigit():
        raise UsageError(
            f"--size-cap {options.size_cap} is {cap} bytes, too few for any model", hint=f"--size-cap {cap}G"
        )
    return cap


def _folder_words(words: str) -> tuple[str, Path]:
    name, equals, folder = words.partition("=")
    if not equals or not Path(folder).is_dir():
        raise UsageError(f"{words!r} is not a repository and an existing folder", hint="--folder owner/name=DIR")
    return name, Path(folder)
