"""App: a program to start, and the probe that reports when it is ready."""

from __future__ import annotations

from typing import Mapping, NamedTuple

PORT = "{port}"
# Environment variables from which frameworks read their port; values set by the user take precedence.
PORT_VARIABLES = ("PORT", "GRADIO_SERVER_PORT", "STREAMLIT_SERVER_PORT", "UVICORN_PORT")
USUAL_PORT = 7860  # Gradio's default, for an app whose recipe names no port


class App(NamedTuple):
    """A command to run, with its environment and probes.

    `ready` is a readiness probe in the syntax of guard/probes; if empty, the app is ready as soon as it runs. `alive`
    is a liveness probe for an app that is ready; if empty, `ready` is used. `env` is the complete environment; `env`
    and `cwd` default to the guard's. `{port}` in `command`, the probes and the values of `env` stands for a port that
    the guard chooses. `read_only` folders are write-protected, even for root, where the guard is permitted to mount.
    `isolated` runs the app in its own network namespace, and only the port of its probe is reachable from outside
    (guard/net/network_namespace.py). From there it still reaches the ports `reaches` of the host's loopback.
    `contained` keeps its processes together where permitted, so that none survives even if it tries to
    (guard/process/enclosure.py). `freezable` starts it so that its memory can be saved (guard/memory_snapshot): in a
    PID namespace, with no standard input.
    """

    command: tuple[str, ...]
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    ready: str = ""
    alive: str = ""
    read_only: tuple[str, ...] = ()
    isolated: bool = False
    reaches: tuple[int, ...] = ()
    contained: bool = False
    freezable: bool = False

    def on(self, port: int) -> App:
        """Return the app with every `{port}` replaced by `port`."""

        def here(text: str) -> str:
            return text.replace(PORT, str(port))

        return self._replace(
            command=tuple(here(word) for word in self.command),
            env=None if self.env is None else {name: here(value) for name, value in self.env.items()},
            ready=here(self.ready),
            alive=here(self.alive),
        )
