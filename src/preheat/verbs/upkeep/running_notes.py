"""Running notes: which apps and mirrors this user's preheat processes run, each in a small file while it runs."""

import contextlib
import re
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from shlex import quote

import msgspec

from preheat.core.errors import AppError
from preheat.core.events import AppChanged, Event, Listener
from preheat.disk.temporary_file import write_whole
from preheat.guard.kernel.ports import port_taken
from preheat.guard.kernel.process_tree import belongs
from preheat.guard.probes.probes import port_of
from preheat.library.records.process_ids import is_running, pid_of, process_id
from preheat.library.small_files import read_small

RUN, MIRROR = "run", "mirror"
_ADDRESS = re.compile(r"(?:[\d.]*|localhost|\[.*\]):(\d{1,5})")
_FORGOTTEN_AFTER_S = 7 * 86400.0  # of another boot or container


class RunningProcess(msgspec.Struct, frozen=True):
    """A running `run` or `mirror`: its app's name or "", folder, library, addresses, and when it began (epoch seconds).

    `life` is the state of the app; for a mirror `serving`.
    """

    verb: str
    name: str
    folder: str
    library: str
    addresses: list[str]
    life: str
    began_at: float
    process: str

    @property
    def pid(self) -> int:
        """Return the process ID."""
        return pid_of(self.process)


class RunningNote(msgspec.Struct):
    """Writes the note of this process to the folder `state`, and removes it when the `with` block ends.

    Does nothing if `state` is None or cannot be written. `said` is what the note contains.
    """

    state: Path | None
    said: RunningProcess

    def __enter__(self) -> "RunningNote":
        self._write()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.state is not None:
            with contextlib.suppress(OSError):
                self._path(self.state).unlink(missing_ok=True)

    def watching(self, on_event: Listener) -> Listener:
        """Return a listener that writes each change of the app's state to the note, and passes events on."""

        def watch(event: Event) -> None:
            if isinstance(event, AppChanged):
                self.said = msgspec.structs.replace(self.said, life=event.life)
                self._write()
            on_event(event)

        return watch

    def _write(self) -> None:
        if self.state is not None:
            with contextlib.suppress(OSError):
                # An address may have a secret in its query.
                write_whole(self._path(self.state), msgspec.json.encode(self.said), 0o600, durable=False)

    def _path(self, state: Path) -> Path:
        name = "".join(letter if letter.isalnum() else "-" for letter in self.said.process)
        return _folder(state) / f"{name}.json"


def app_note(state: Path | None, library: Path, name: str, folder: Path, addresses: Sequence[str]) -> RunningNote:
    """Return the note of an app that this process runs; `state` is the folder for this user's state."""
    at = [one for one in addresses if one]
    said = RunningProcess(RUN, name, str(folder), str(library), at, "starting", time.time(), process_id())
    return RunningNote(state, said)


def mirror_note(state: Path | None, library: Path, url: str) -> RunningNote:
    """Return the note of a mirror that this process runs."""
    said = RunningProcess(MIRROR, "", "", str(library), [url], "serving", time.time(), process_id())
    return RunningNote(state, said)


def running(state: Path | None) -> Iterator[RunningProcess]:
    """Yield the processes that run, in the order of their start. Remove the notes of those that have ended."""
    found = []
    for path in () if state is None else _folder(state).glob("[!.]*.json"):
        try:
            said = msgspec.json.decode(read_small(path), type=RunningProcess)
            age_s = time.time() - path.stat().st_mtime
        except (OSError, msgspec.DecodeError, ValueError, RecursionError):
            continue
        alive = is_running(said.process)
        if alive:
            found.append(said)
        elif alive is False or age_s > _FORGOTTEN_AFTER_S:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    yield from sorted(found, key=lambda one: one.began_at)


def refuse_second(state: Path | None, name: str, folder: Path, addresses: Sequence[str]) -> None:
    """Raise AppError if an app or a mirror that preheat runs has the port of one of the `addresses` of an app to start.

    It is that app itself if `name` and `folder` are the same. The hint is how to stop it.
    """
    ports = [port for port in map(_port, addresses) if port]
    for one in running(state) if ports else ():
        holders = filter(None, map(port_taken, ports))
        taken = next((holder.port for holder in holders if holder.pid and belongs(holder.pid, one.pid)), None)
        if taken is None:
            continue
        by = one.name or f"the mirror of {one.library}"
        stop = f"to stop it: {_how_to_stop(one.pid)}"
        if (one.verb, one.name, one.folder) == (RUN, name, str(folder)):
            raise AppError(f"{name} is already running at port {taken}, under preheat (pid {one.pid})", hint=stop)
        said = f"port {taken} is taken by {by}, which runs under preheat (pid {one.pid})"
        raise AppError(said, hint=f"{stop}; or choose another port for {name}")


def _port(text: str) -> int:
    """Return the port on this machine of a ready probe or an address; 0 if it has none."""
    if found := _ADDRESS.fullmatch(text):
        return int(found[1])
    try:
        return port_of(text) or 0
    except ValueError:
        return 0  # reported when it is parsed


def _how_to_stop(pid: int) -> str:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return stop_command(pid, environ, Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"))
    except OSError:
        return stop_command(pid, (), "")


def stop_command(pid: int, environ: Collection[bytes], cgroup: str) -> str:
    """Return the command that stops a process, given its environment and cgroup: systemctl if systemd began it.

    systemd would restart its service after a `kill`. systemd.exec(5): SYSTEMD_EXEC_PID is the PID of the process that
    systemd has started itself, and its children inherit the variable.
    """
    services = re.findall(r"(?<=/)([^/\n]+)\.service(?=/|$)", cgroup, re.MULTILINE)
    if f"SYSTEMD_EXEC_PID={pid}".encode() not in environ or not services:
        return f"kill {pid}"
    own = "--user " if len(services) > 1 and services[0].startswith("user@") else ""
    return f"systemctl {own}stop {quote(services[-1])}"


def _folder(state: Path) -> Path:
    return state / "running"
