"""Running notes: which apps and mirrors this user's preheat processes run, each in a small file while it runs."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from preheat.core.events import AppChanged, Event, Listener
from preheat.disk.temporary_file import write_whole
from preheat.library.records.process_ids import is_running, pid_of, process_id
from preheat.library.small_files import read_small

RUN, MIRROR = "run", "mirror"
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


def _folder(state: Path) -> Path:
    return state / "running"
