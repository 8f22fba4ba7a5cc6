"""Build hook: shell completions and the man page, made from the command's own parser, put into the wheel.

They are never in the repository, so they cannot be older than the parser. `pip install` lays them below the
environment's `share/`; `preheat completion` prints those for shells, for environments where no shell looks.
"""

import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACES = {
    "bash": "share/bash-completion/completions/preheat",
    "zsh": "share/zsh/site-functions/_preheat",
    "fish": "share/fish/vendor_completions.d/preheat.fish",
    "man": "share/man/man1/preheat.1",
}


class Shares(BuildHookInterface[Any]):
    """Adds the files of `PLACES` to a wheel; an editable installation has none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files in a folder of their own and name them to hatchling."""
        if version == "editable" or self.target_name != "wheel":
            return
        folder = Path(mkdtemp(prefix="preheat-share-"))
        for kind, text in shares(Path(self.root) / "src", self.metadata.version).items():
            (folder / kind).write_text(text, encoding="utf-8")
            build_data["shared_data"][str(folder / kind)] = PLACES[kind]
            if kind != "man":
                # What `preheat completion` prints.
                build_data["force_include"][str(folder / kind)] = f"preheat/cli/completions/{kind}"


def shares(source: Path, version: str) -> dict[str, str]:
    """Write each of `PLACES`' files, by the parser below `source`, which imports the standard library alone."""
    import shtab
    from argparse_manpage.manpage import Manpage

    sys.path.insert(0, str(source))
    from preheat.cli.parser import parser

    whole = parser()
    texts = {shell: shtab.complete(whole, shell=shell) for shell in ("bash", "zsh", "fish")}
    page = Manpage(whole)
    # A page that says when it was built would make two builds differ.
    head = f'.TH PREHEAT 1 "" "preheat {version}" "User Commands"'
    texts["man"] = "\n".join([head, *str(page).splitlines()[1:], ""])
    return texts
