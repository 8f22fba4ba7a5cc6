"""Connection options: those of every verb that opens connections; preheat.cli.wiring reads them."""

import argparse


def reaching(verb: argparse.ArgumentParser, connections: int = 8, patience: str = "5m") -> None:
    """Add the words of every verb that opens connections; it has at most so many of them to each hub."""
    group = verb.add_argument_group("connections")
    group.add_argument(
        "--patience",
        metavar="TIME",
        default=patience,
        help=f"how long a server that has answered before may be away before it is given up on (default {patience})",
    )
    group.add_argument(
        "--connect-timeout", metavar="TIME", default="10s", help="how long a connection may take (default 10s)"
    )
    group.add_argument(
        "--read-timeout",
        metavar="TIME",
        default="45s",
        help="how long a server may send nothing, before its first byte and between bytes (default 45s)",
    )
    verb.set_defaults(connections=connections)


def asking(verb: argparse.ArgumentParser) -> None:
    """Add the words of a verb that asks hubs."""
    reaching(verb)
    verb.add_argument(
        "--endpoint",
        action="append",
        default=[],
        metavar="HUB=URL",
        help="ask this address for a hub: hf=https://hf-mirror.com",
    )
    verb.add_argument(
        "--token-for",
        action="append",
        default=[],
        metavar="URL=PLACE",
        help="show this endpoint a token of its own, from env:VARIABLE or file:PATH; HF_TOKEN and "
        "MODELSCOPE_API_TOKEN are shown to the first endpoint of their hub alone",
    )


def pulling(verb: argparse.ArgumentParser) -> None:
    """Add the words of a verb that downloads from hubs."""
    asking(verb)
    verb.add_argument(
        "--connections",
        type=int,
        default=256,
        metavar="N",
        help="at most N connections to each endpoint; how many are used is found out (default 256)",
    )
    verb.add_argument("--limit-rate", metavar="RATE", help="at most so many bytes a second in all: 50M")
    verb.add_argument(
        "--unsafe-files",
        choices=["refuse", "warn", "allow"],
        default="warn",
        help="what to do about checkpoints that would run a stranger's code when loaded (default warn)",
    )
