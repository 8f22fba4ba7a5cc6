"""App: a program to start, and the probe that reports when it is ready."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Mapping

PORT = "{port}"


@dataclass(frozen=True)
class App:
    """A command with its surroundings; `ready` is a probe as guard/probes reads it, empty when being alive is enough.

    `alive` is another probe: whether the app, once ready, still answers; empty for `ready` again. `env` is the whole
    environment, None for the guard's own; `cwd` None for the guard's own. `{port}` in `command`, in the probes and in
    the values of `env` stands for a port that the guard chooses. `read_only` are folders that it shall not write, root
    or not, where the guard may see to that. `isolated` gives it a network of its own, and only the port of its probe a
    way out of it (guard/net/network_namespace.py).
    """

    command: tuple[str, ...]
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    ready: str = ""
    alive: str = ""
    read_only: tuple[str, ...] = ()
    isolated: bool = False

    def on(self, port: int) -> App:
        """Say which port it shall listen on."""

        def here(text: str) -> str:
            return text.replace(PORT, str(port))

        return replace(
            self,
            command=tuple(here(word) for word in self.command),
            env=None if self.env is None else {name: here(value) for name, value in self.env.items()},
            ready=here(self.ready),
            alive=here(self.alive),
        )
