"""Stress: all verbs at once on one library, on a slow disk, and every result is right."""

import hashlib
import http.client
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preheat.core.ref import Ref
from preheat.library.library import Library
from tests.authority import connect
from tests.command import Preheat, Told
from tests.faults.preloaded import preloaded, slow_disk
from tests.flaky_hub import FlakyHub
from tests.mirroring import mirroring
from tests.stories.caches import hf_cache

LASTS_S = float(os.environ.get("PREHEAT_STRESS_S", "60"))
SHARED = {f"shared-{number}.bin": os.urandom(1_100_000) for number in range(6)}
KEPT = {**SHARED, **{f"kept-{number}.bin": os.urandom(1_100_000) for number in range(6)}, "config.json": b"{}"}
GOES = {**SHARED, "goes.bin": os.urandom(3_000_000), "config.json": b"{}"}
RETURNS = {"shared-0.bin": SHARED["shared-0.bin"], "returns.bin": os.urandom(2_000_000)}
VOICE = {**SHARED, "voice.bin": os.urandom(1_500_000)}


@pytest.fixture
def models(tmp_path: Path) -> Iterator[FlakyHub]:
    """A hub with three models that share files."""
    folders = {}
    for name, files in {"acme/kept": KEPT, "acme/goes": GOES, "acme/returns": RETURNS}.items():
        folders[name] = tmp_path / "hub" / name
        folders[name].mkdir(parents=True)
        for path, data in files.items():
            (folders[name] / path).write_bytes(data)
    with FlakyHub(folders, pace=40_000_000) as hub:
        yield hub


class Crowd:
    """Verbs that run repeatedly, each in its own thread, until the time is up or a result is wrong."""

    def __init__(self, preheat: Preheat) -> None:
        self._preheat = preheat
        self._until = time.monotonic() + LASTS_S
        self._threads: list[threading.Thread] = []
        self.wrong: list[str] = []
        self.done: Counter[str] = Counter()

    def run(self, name: str, *words: str, may: tuple[str, ...] = ()) -> Told:
        """Run a verb. It may fail only for one of the reasons in `may`."""
        told = self._preheat(*words)
        self.done[name] += 1
        excused = told.status == 5 and any(reason in told.err + told.out for reason in may)
        if "Traceback" in told.err or "invalid argument" in told.err.lower() or (told.status and not excused):
            self.wrong.append(f"{name}: {told.status}\n{told.out[-2000:]}\n{told.err}")
        return told

    def see(self, name: str, holds: object) -> None:
        """Record a wrong result."""
        self.done[name] += 1
        if not holds:
            self.wrong.append(name)

    def again(self, act: Callable[[], object]) -> None:
        """Run a function repeatedly in its own thread."""

        def work() -> None:
            try:
                while time.monotonic() < self._until and not self.wrong:
                    act()
            except BaseException as error:  # noqa: BLE001 - shown by the test
                self.wrong.append(repr(error))

        self._threads.append(threading.Thread(target=work))

    def wait(self) -> None:
        """Start all threads, and wait until they have ended."""
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()


def fetched(url: str, path: str) -> tuple[int, str]:
    """Request a file from a mirror; return the status and the hash of the bytes."""
    connection = connect(url)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, hashlib.sha256(answer.read()).hexdigest()
    except (http.client.HTTPException, OSError) as error:
        return 0, repr(error)
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_verbs_at_once_on_a_slow_disk_give_right_results(preheat: Preheat, models: FlakyHub) -> None:
    preheat.env |= {"HF_ENDPOINT": models.url} | preloaded(slow_disk(f"{preheat.library}/", 20))
    hf_cache(preheat.folder / "cache", "acme/voice", VOICE)
    assert preheat("pull", "acme/kept").status == 0
    library, kept = Library(preheat.library), Ref.parse("acme/kept")
    mirror, url = mirroring(preheat, "--library", str(preheat.library))
    crowd = Crowd(preheat)

    def pull_and_use() -> None:
        crowd.run("pull kept", "pull", "acme/kept")
        crowd.see("kept is whole", not library.missing(library.require(kept)))

    def come_and_go() -> None:
        crowd.run("pull goes", "pull", "acme/goes")
        crowd.run("view goes", "view", "flat", str(preheat.folder / "goes"), "acme/goes")
        crowd.run("rm goes", "rm", "acme/goes", "--yes")

    def come_back() -> None:
        # No verb removes it, and prune removes only old versions.
        crowd.run("pull returns", "pull", "acme/returns")
        told = crowd.run("show", "show", "acme/returns", "--json")
        crowd.see("all of it is here", all(one["here"] for one in told.last.get("files", [])))

    def view() -> None:
        at = preheat.folder / "view"
        crowd.run("view", "view", "flat", str(at), "acme/kept", "--link", "copy")
        crowd.see("view is right", {path.name: path.read_bytes() for path in at.glob("[!.]*")} == KEPT)
        shutil.rmtree(at, ignore_errors=True)

    def ask_mirror() -> None:
        for path, data in KEPT.items():
            status, digest = fetched(url, f"/acme/kept/resolve/main/{path}")
            crowd.see(f"mirror {path}: {status}", (status, digest) == (200, hashlib.sha256(data).hexdigest()))

    def list_all() -> None:
        told = crowd.run("ls", "ls", "--json")
        versions = {one["ref"]: one["missing"] for one in told.last.get("versions", [])}
        crowd.see("ls has kept", any(str(kept) in ref and not missing for ref, missing in versions.items()))

    crowd.again(pull_and_use)
    crowd.again(come_and_go)
    crowd.again(come_back)
    crowd.again(view)
    crowd.again(ask_mirror)
    crowd.again(list_all)
    crowd.again(lambda: crowd.run("prune", "prune", "--younger", "0s", "--old", "--yes"))
    crowd.again(lambda: crowd.run("verify", "verify"))
    crowd.again(lambda: crowd.run("adopt", "adopt", str(preheat.folder / "cache"), "--copy"))
    crowd.wait()
    print(dict(crowd.done))
    assert crowd.wrong == [], "\n".join(crowd.wrong)
    assert mirror.kill(15).status == 0
    assert preheat("prune", "--younger", "0s", "--yes").status == 0
    assert preheat("verify").status == 0
    assert not any(library.missing(snapshot) for snapshot in library.snapshots())
    assert not list((preheat.library / "trash").iterdir())
    assert not list((preheat.library / "claims").glob("*"))
    assert not [path for path in preheat.folder.rglob("*.new") if path.is_file()]
