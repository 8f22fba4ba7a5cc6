"""World: the machines of a page's reader, with a hub, and the page's public names as they are on this machine."""

import os
import re
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.authority import authority
from tests.docs.how_to.page import Command
from tests.docs.how_to.shell import Shell
from tests.guard.apps import free_port
from tests.installed.webui import write_webui
from tests.oci.bases import Files, layer, layout
from tests.oci.small_registry import serving

RECIPE = """
[app]
name = "my-webui"
command = ["python", "webui.py", "--port", "{port}"]
ready = "http://127.0.0.1:7860/"
[[needs]]
ref = "hf:openai/whisper-tiny.en"
files = ["model.safetensors", "config.json"]
"""
_PYTHON: Files = {"usr/bin/python3": "python3.11", "usr/bin/python3.11": b"#!", "app": None, "app/webui.py": b"pass"}
_PORTS = re.compile(r"(?<![\d.])(7860|7861|8000|8080|8188)(?!\d)")


@dataclass
class World:
    """`names` maps public names to those of this machine; below the headings in `elsewhere`, a second machine is used.

    `missing` has parts of commands that need something that this system lacks, with the reasons.
    """

    root: Path
    hub: str
    held: ExitStack
    names: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, Shell] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    _ports: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.first = self._machine("home")
        self.names["https://huggingface.co"] = self.hub

    def local(self, text: str) -> str:
        """Replace the public names and the ports in a text, the longest names first."""
        for name in sorted(self.names, key=len, reverse=True):
            text = text.replace(name, self.names[name])
        return _PORTS.sub(lambda port: self._ports.setdefault(port[1], str(free_port())), text)

    def shell(self, heading: str) -> Shell:
        """Return the machine at which the commands below a heading are typed."""
        return self.elsewhere.get(heading, self.first)

    def type(self, command: Command) -> None:
        """Type a command at its machine, unless this system lacks something that it needs."""
        if any(one in command.text for one in self.missing):
            return
        shell = self.shell(command.heading)
        shell.type(self.local(command.text))
        # A recipe that was written from a built-in one has the usual ports.
        recipe = shell.cwd / "preheat.toml"
        if "recipes" in command.text and recipe.exists():
            recipe.write_text(self.local(recipe.read_text()))

    def another(self, *headings: str) -> Shell:
        """Add a machine without a hub, for the commands below `headings`."""
        machine = self._machine("another")
        machine.env["HF_ENDPOINT"] = "https://127.0.0.1:9"
        self.elsewhere |= dict.fromkeys(headings, machine)
        return machine

    def app(
        self, recipe: str = RECIPE, repository: str = "openai/whisper-tiny.en", weights: str = "model.safetensors"
    ) -> Path:
        """Write an app that serves a page, and enter its folder."""
        self.first.cwd = self.first.home / "webui"
        self.first.cwd.mkdir()
        write_webui(self.first.cwd, repository, [weights, "config.json"])
        if recipe:
            (self.first.cwd / "preheat.toml").write_text(self.local(recipe))
        return self.first.cwd

    def registry(self, *bases: str) -> None:
        """Serve a registry, and lay base images beside it."""
        for base in bases:
            name, _, tag = base.partition(":")
            place = layout(self.root / "bases" / name, [layer(_PYTHON)], {"WorkingDir": "/app"}, tag=tag)
            self.names |= {f"--base docker://{at}/{base}": f"--base {place}" for at in ("registry.lan", "ghcr.io/me")}
        host = self.held.enter_context(serving(tls=False)).host
        for public in ("registry.lan", "registry.corp.example", "ghcr.io"):
            self.names[f"docker://{public}/"] = f"docker://{host}/"

    def _machine(self, name: str) -> Shell:
        shell = Shell(self.root / name, authority().environ | {"HF_ENDPOINT": self.hub})
        # Without preheat's own packages.
        shell.write("bin/python3", f'#!/bin/sh\nexec {os.path.realpath(sys.executable)} "$@"\n')
        (shell.home / "bin/python").symlink_to("python3")
        self.held.callback(shell.close)
        return shell
