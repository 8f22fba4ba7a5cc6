"""Wiring: convert the command line to the settings of a session."""

import argparse
from pathlib import Path

from preheat.api.addresses.endpoints import require_token
from preheat.api.session import Session
from preheat.api.settings import Settings
from preheat.cli.hints import with_typed_hints
from preheat.cli.output.console import Console
from preheat.cli.typed_units import read_seconds, read_size
from preheat.core.values.replace import replace


class Wiring(Session):
    """The session of one command line; its events and results go to the console."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        super().__init__(read_settings(options), with_typed_hints(console, options))
        self.console = console
        if getattr(options, "token", None):
            # Of the hub that is asked, and sent only to the first of its endpoints, as from the environment.
            hub = "ms" if options.what and all(words.startswith("ms:") for words in options.what) else "hf"
            self.config = replace(self.config, tokens={**self.config.tokens, hub: require_token(options.token)})
        console.hide(self.secrets)


def read_settings(options: argparse.Namespace) -> Settings:
    """Return the settings for the options that the verb has. Raise UsageError for an invalid value."""
    given = vars(options)
    read = {
        "connections": int,
        "limit_rate": read_size,
        "link": str,
        "model_kind": str,
        "locked": bool,
        "optional": bool,
        "unsafe_files": str,
        "library": Path,
        "replace": bool,
        "keep": bool,
        "adopt": bool,
    }
    typed = {name: read_one(given[name]) for name, read_one in read.items() if given.get(name) not in (None, "")}  # type: ignore[operator]
    times = {"connect_timeout": "connect_s", "read_timeout": "read_s", "patience": "patience_s"}
    typed |= {field: read_seconds(given[name]) for name, field in times.items() if name in given}
    if given.get("dir") is not None:
        typed["folder"] = Path(given["dir"])
    typed |= {name: tuple(given[name]) for name in ("images", "plain_http") if name in given}
    typed["allowed_places"] = tuple(map(Path, given.get("allow_place", ())))
    return Settings(endpoints=tuple(given.get("endpoint", ())), tokens_for=tuple(given.get("token_for", ())), **typed)
