"""Options of `mirror`."""

import argparse

from preheat.cli.options.connection_options import reaching

EXAMPLES = """\
  preheat mirror --listen 0.0.0.0:8000           then, on every desk: export HF_ENDPOINT=http://HOST:8000
  preheat mirror --folder me/my-voice=./voice    a folder as a repository
  preheat mirror --listen 0.0.0.0:8000 --upstream hf=https://huggingface.co --upstream ms=https://modelscope.cn
  preheat mirror --listen :8000 --upstream hf=https://huggingface.co --size-cap 200G --deny '*/*-GGUF'
  preheat mirror --listen :8443 --tls-self-signed --token-file /etc/preheat/tokens --access-log -"""


def mirroring(verb: argparse.ArgumentParser) -> None:
    """Add the words of `mirror`."""
    verb.add_argument("--listen", default="127.0.0.1:8000", metavar="ADDR", help="HOST:PORT (default 127.0.0.1:8000)")
    verb.add_argument(
        "--folder", action="append", default=[], metavar="NAME=DIR", help="serve a plain folder as owner/name"
    )
    verb.add_argument(
        "--upstream",
        action="append",
        default=[],
        metavar="HUB=URL",
        help="fetch from there what is not here: hf=https://huggingface.co, ms=…, or another mirror; repeatable",
    )
    verb.add_argument(
        "--upstream-token",
        action="append",
        default=[],
        metavar="URL=FILE",
        help="show that --upstream the token in FILE, for all clients; their own tokens go to the hub itself alone",
    )
    verb.add_argument(
        "--remember", default="60s", metavar="TIME", help="ask upstream again what a branch means after TIME (60s)"
    )
    verb.add_argument("--read-only", action="store_true", help="serve what is here and fetch nothing")
    _keeping(verb)
    _securing(verb)
    reaching(verb, patience="1m")
    verb.add_argument(
        "--pace", metavar="RATE", help="test aid: slow every connection to RATE (1M), as a far hub would be"
    )


def _keeping(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--size-cap",
        metavar="SIZE",
        help="keep the library below SIZE (200G): what was used longest ago goes, never what is pinned or in use",
    )
    verb.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="GLOB",
        help="serve only repositories that match: 'openai/*', 'ms:*'; @FILE reads such lines from a file; repeatable",
    )
    verb.add_argument(
        "--deny",
        action="append",
        default=[],
        metavar="GLOB",
        help="serve none that match, whatever is allowed; repeatable",
    )
    verb.add_argument(
        "--access-log", metavar="FILE", help="append a JSON object for each answer; - is stdout; never a token"
    )
    verb.add_argument(
        "--max-connections", type=int, default=512, metavar="N", help="at most N clients' connections (default 512)"
    )
    verb.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name in the Host of requests to a mirror on 127.0.0.1, as a proxy before it sends; repeatable",
    )
    verb.add_argument(
        "--grace", default="30s", metavar="TIME", help="when stopped, time for answers to finish (default 30s)"
    )


def _securing(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--token-file",
        metavar="FILE",
        help="let in only who shows a token from FILE, one a line (or PREHEAT_MIRROR_TOKEN), as HF_TOKEN and the like",
    )
    verb.add_argument("--tls-cert", metavar="FILE", help="speak TLS with this certificate, its chain behind it (PEM)")
    verb.add_argument("--tls-key", metavar="FILE", help="the key of --tls-cert (PEM)")
    verb.add_argument(
        "--tls-self-signed", action="store_true", help="speak TLS with a certificate made here, for clients to trust"
    )
    verb.add_argument(
        "--tls-name",
        action="append",
        default=[],
        metavar="NAME",
        help="a name or address that --tls-self-signed is for, beside this machine's own; repeatable",
    )
