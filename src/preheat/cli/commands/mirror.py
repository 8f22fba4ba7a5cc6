"""The `preheat mirror` command."""

import argparse
import contextlib
import signal
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType

from preheat.cli.typed_units import read_address, read_seconds, read_size, read_upstream_token
from preheat.cli.wiring import Wiring
from preheat.core.errors import PreheatError, UsageError
from preheat.core.events import Event, Noted
from preheat.mirror.access.certificate import given, names_of, own, place
from preheat.mirror.access.reloadable import ReloadableSettings, Words
from preheat.mirror.api.folders import Shelf
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.status.access_log import AccessLog
from preheat.mirror.upstream.pull_through import Remembering
from preheat.verbs.mirror import WHILE_CLIENTS_WAIT, House, mirror

# Bytes of stack per connection thread, so that 512 threads fit into a limited address space (ulimit -v).
_STACK = 1 << 20
# Bytes. A smaller number without a unit is most likely meant in gigabytes.
_SMALLEST_CAP = 1_000_000
_LONGER_S = 15.0


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat mirror`; return the exit status."""
    threading.stack_size(_STACK)
    folders = dict(_folder_words(words) for words in options.folder)
    pace = read_size(options.pace) if options.pace else None
    grace_s = read_seconds(options.grace)
    tokens = dict(read_upstream_token(one) for one in options.upstream_token)
    upstreams = wiring.upstreams(options.upstream, tokens)
    if options.read_only:
        upstreams = []
    elif upstreams:
        wiring.library.prepare(0)
    log = AccessLog(options.access_log) if options.access_log else None
    settings = ReloadableSettings(_words(options, wiring))
    remembering = Remembering(meaning_s=read_seconds(options.remember))

    hosts = (*options.host, *options.tls_name)

    def trouble(error: PreheatError) -> None:
        wiring.console(Noted("cap", error.message))

    patience = replace(WHILE_CLIENTS_WAIT, lasting_s=wiring.patience.lasting_s)
    # The download itself gives up earlier, unless another process is downloading the file.
    silence_s = max(patience.lasting_s, wiring.settings.connect_s + wiring.settings.read_s) + _LONGER_S
    house = House(
        settings,
        _limits(options),
        _cap(options),
        trouble,
        remembering,
        patience,
        silence_s=silence_s,
        hosts=hosts,
        unsafe=wiring.settings.unsafe_files,
    )

    def tell(event: Event) -> None:
        if log is not None:
            log(event)
        wiring.console(event)

    def reload(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal.signal gives them
        try:
            settings.reload()
            if settings.tls is not None:
                server.secure(settings.tls)
            if log is not None:
                log.reopen()
            said = "tokens, rules and certificate reloaded, access log reopened"
        except PreheatError as error:
            said = f"failed, settings unchanged: {error.message}"
        wiring.console(Noted("reload", said))

    server = mirror(read_address(options.listen), wiring.library, Shelf(folders), tell, pace, upstreams, house)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, reload)
    with contextlib.suppress(KeyboardInterrupt):
        server.start()
        if options.tls_self_signed:
            wiring.console(Noted("clients trust", f"SSL_CERT_FILE={place(wiring.state)}"))
        server.wait()
    # A second Ctrl-C or SIGTERM ends the grace period.
    with contextlib.suppress(KeyboardInterrupt):
        server.stop(grace_s)
    if log is not None:
        log.close()
    if server.failed is not None:
        raise PreheatError(f"the mirror stopped listening on {server.url}: {server.failed}", hint="restart it")
    wiring.console.done({"url": server.url}, "")
    return 0


def _words(options: argparse.Namespace, wiring: Wiring) -> Words:
    return Words(
        wiring.config.mirror_token,
        Path(options.token_file) if options.token_file else None,
        tuple(options.allow),
        tuple(options.deny),
        _tls(options, wiring),
    )


def _tls(options: argparse.Namespace, wiring: Wiring) -> Callable[[], ssl.SSLContext] | None:
    if bool(options.tls_cert) != bool(options.tls_key) or (options.tls_cert and options.tls_self_signed):
        raise UsageError(
            "--tls-cert needs --tls-key, and excludes --tls-self-signed",
            hint="--tls-cert FILE --tls-key FILE, or --tls-self-signed",
        )
    if options.tls_cert:
        return partial(given, Path(options.tls_cert), Path(options.tls_key))
    if options.tls_self_signed:
        return partial(own, wiring.state, names_of(read_address(options.listen)[0], options.tls_name))
    return None


def _limits(options: argparse.Namespace) -> ServerLimits:
    if not 1 <= options.max_connections <= 65_536:
        raise UsageError("--max-connections must be between 1 and 65536", hint="--max-connections 512")
    return ServerLimits(connections=options.max_connections)


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
    return name, Path(folder).absolute()


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal.signal gives them
    raise KeyboardInterrupt
