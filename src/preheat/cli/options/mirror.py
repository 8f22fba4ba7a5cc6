"""Options of `mirror`."""

import argparse

from preheat.cli.options.connection_options import add_connection_options, add_scan_option

EXAMPLES = """\
  preheat mirror --listen 0.0.0.0:8000           then, on each client: export HF_ENDPOINT=http://HOST:8000
  preheat mirror --folder me/my-voice=./voice    serve a folder as a repository
  preheat mirror --listen 0.0.0.0:8000 --upstream hf=https://huggingface.co --upstream ms=https://modelscope.cn
  preheat mirror --listen :8000 --upstream hf=https://huggingface.co --size-cap 200G --deny '*/*-GGUF'
  preheat mirror --listen :8000 --in-order --upstream hf=http://rack1:8000 --upstream hf=https://huggingface.co
  preheat mirror --listen :8443 --tls-self-signed --token-file /etc/preheat/tokens --access-log -"""


def add_mirror_options(verb: argparse.ArgumentParser) -> None:
    """Add the options of `mirror`."""
    verb.add_argument("--listen", default="127.0.0.1:8000", metavar="ADDR", help="HOST:PORT (default 127.0.0.1:8000)")
    verb.add_argument(
        "--folder", action="append", default=[], metavar="NAME=DIR", help="serve a plain folder as owner/name"
    )
    verb.add_argument(
        "--upstream",
        action="append",
        default=[],
        metavar="HUB=URL",
        help="download missing files from this hub or mirror: hf=https://huggingface.co, ms=…; repeatable",
    )
    verb.add_argument(
        "--in-order",
        action="store_true",
        help="download from the first --upstream that works, and from the next one only while it fails: for mirrors "
        "of mirrors, the nearest first",
    )
    verb.add_argument(
        "--upstream-token",
        action="append",
        default=[],
        metavar="URL=FILE",
        help="send the token in FILE to that --upstream for all clients; clients' own tokens go only to the hub itself",
    )
    verb.add_argument(
        "--remember",
        default="60s",
        metavar="TIME",
        help="check upstream for a branch's current commit again after TIME (default 60s)",
    )
    verb.add_argument("--read-only", action="store_true", help="serve only the library; download nothing")
    add_scan_option(verb)
    _add_serving_options(verb)
    _add_tls_and_token_options(verb)
    add_connection_options(verb, patience="1m")
    verb.add_argument(
        "--pace", metavar="RATE", help="for tests: limit each connection to RATE (1M), to imitate a distant hub"
    )


def _add_serving_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--size-cap",
        metavar="SIZE",
        help="keep the library below SIZE (200G): evict least recently used models, never pinned ones or those in use",
    )
    verb.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="GLOB",
        help="serve only matching repositories: 'openai/*', 'ms:*'; @FILE reads one pattern per line; repeatable",
    )
    verb.add_argument(
        "--deny",
        action="append",
        default=[],
        metavar="GLOB",
        help="never serve matching repositories, even if allowed; repeatable",
    )
    verb.add_argument(
        "--access-log", metavar="FILE", help="append one JSON object per response, without tokens; - is stdout"
    )
    verb.add_argument(
        "--max-connections",
        type=int,
        default=512,
        metavar="N",
        help="maximum number of client connections with a request in progress (default 512)",
    )
    verb.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="accept this Host header on 127.0.0.1, for example the one that a reverse proxy sends; repeatable",
    )
    verb.add_argument(
        "--grace", default="30s", metavar="TIME", help="grace period for open responses when stopped (default 30s)"
    )


def _add_tls_and_token_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--token-file",
        metavar="FILE",
        help="require a token from FILE, one per line (or PREHEAT_MIRROR_TOKEN); clients send it as HF_TOKEN",
    )
    verb.add_argument("--tls-cert", metavar="FILE", help="serve TLS with this certificate and its chain (PEM)")
    verb.add_argument("--tls-key", metavar="FILE", help="private key of --tls-cert (PEM)")
    verb.add_argument(
        "--tls-self-signed",
        action="store_true",
        help="serve TLS with a generated certificate, which clients must trust",
    )
    verb.add_argument(
        "--tls-name",
        action="append",
        default=[],
        metavar="NAME",
        help="another host name or address for the --tls-self-signed certificate; repeatable",
    )
