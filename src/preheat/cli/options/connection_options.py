"""Connection options: shared by all verbs that open connections; preheat.cli.wiring reads them."""

import argparse


def add_connection_options(verb: argparse.ArgumentParser, connections: int = 8, patience: str = "5m") -> None:
    """Add the options of a verb that opens connections. `connections` is its maximum per hub."""
    group = verb.add_argument_group("connections")
    group.add_argument(
        "--patience",
        metavar="TIME",
        default=patience,
        help=f"how long to retry a server that responded before and is now unreachable (default {patience})",
    )
    group.add_argument(
        "--connect-timeout", metavar="TIME", default="10s", help="timeout for opening a connection (default 10s)"
    )
    group.add_argument(
        "--read-timeout",
        metavar="TIME",
        default="45s",
        help="timeout for the first byte, and between bytes (default 45s)",
    )
    verb.set_defaults(connections=connections)


def add_plain_http_option(verb: argparse.ArgumentParser) -> None:
    """Add the option of a verb that connects to registries or object stores."""
    verb.add_argument(
        "--plain-http",
        action="append",
        default=[],
        metavar="HOST",
        help="connect to this registry or object store without TLS; repeatable",
    )


def add_hub_options(verb: argparse.ArgumentParser) -> None:
    """Add the options of a verb that sends requests to hubs."""
    add_connection_options(verb)
    verb.add_argument(
        "--endpoint",
        action="append",
        default=[],
        metavar="HUB=URL",
        help="use this endpoint for a hub: hf=https://hf-mirror.com, or made=URL of a preheat mirror; repeatable",
    )
    verb.add_argument(
        "--token-for",
        action="append",
        default=[],
        metavar="URL=PLACE",
        help="send this endpoint a separate token, from env:VARIABLE or file:PATH; HF_TOKEN and "
        "MODELSCOPE_API_TOKEN are sent only to the first endpoint of their hub",
    )


def add_download_options(verb: argparse.ArgumentParser) -> None:
    """Add the options of a verb that downloads from hubs."""
    add_hub_options(verb)
    verb.add_argument(
        "--connections",
        type=int,
        default=256,
        metavar="N",
        help="maximum connections per endpoint; the number used is tuned automatically (default 256)",
    )
    verb.add_argument("--limit-rate", metavar="RATE", help="maximum total download rate in bytes per second: 50M")
    add_scan_option(verb)


def add_scan_option(verb: argparse.ArgumentParser) -> None:
    """Add the option of a verb that adds files to the library."""
    verb.add_argument(
        "--unsafe-files",
        choices=["refuse", "warn", "allow"],
        default="warn",
        help="how to handle files that can run arbitrary code when loaded (default warn)",
    )
