"""Two machines and one library on a real NFS server: nfs-ganesha, with a separate mount for each machine."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path

import pytest

from preheat.library.library import Library
from tests.command import Preheat, Running
from tests.outsiders.conftest import Outsider
from tests.stories.kept import contents

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_GANESHA = """
NFS_CORE_PARAM {{ Protocols = 3; Bind_addr = 10.77.0.2; NFS_Port = 12049; Enable_NLM = false;
  Enable_RQUOTA = false; Enable_UDP = false; }}
EXPORT {{ Export_Id = 1; Path = {path}; Pseudo = /models; Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
  Protocols = 3; Transports = TCP; FSAL {{ Name = VFS; }} }}
"""
# A separate network and /run, so that nothing outside is changed; mounts stay visible below.
_SERVE = """
set -e
ip link set lo up
ip address add 10.77.0.2/32 dev lo
mount -t tmpfs none /run
mkdir -p /run/rpcbind /run/ganesha /var/lib/nfs/ganesha
rpcbind -f -w >"$1/rpcbind.log" 2>&1 & sleep 1
ganesha.nfsd -F -f "$1/ganesha.conf" -L "$1/ganesha.log" -p "$1/ganesha.pid" >"$1/server.log" 2>&1 &
for tick in $(seq 50); do rpcinfo -t 10.77.0.2 100005 >/dev/null 2>&1 && break; sleep 0.2; done
for name in one two; do
  "$2" "$3" "nfs://10.77.0.2$1/export?uid=0&gid=0" "$1/$name" >>"$1/$name.log" 2>&1 &
done
for name in one two; do
  for tick in $(seq 50); do mountpoint -q "$1/$name" && break; sleep 0.1; done
  mountpoint -q "$1/$name" || exit 1
done
echo mounted
exec sleep 600
"""


class Machine:
    """A mount of the share, and a host name: programs are run `inside`."""

    def __init__(self, keeper: int, name: str, mounted: Path) -> None:
        enter = f"nsenter --target={keeper} --net --mount unshare --uts sh -c".split()
        self.inside = (*enter, f'hostname {name} && exec "$@"', "sh")
        self.library = mounted / "library"


@pytest.fixture
def machines(tmp_path: Path, outsider: Outsider) -> Iterator[tuple[Machine, Machine]]:
    missing = [program for program in ("ganesha.nfsd", "rpcbind", "rpcinfo", "ip") if not shutil.which(program)]
    if os.getuid() or missing or not find_library("nfs"):
        pytest.skip(f"an NFS server, libnfs and root are needed; missing: {missing or find_library('nfs') or 'libnfs'}")
    python = outsider("mfusepy==3.1.1")
    for name in ("export", "one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "ganesha.conf").write_text(_GANESHA.format(path=tmp_path / "export"))
    client = Path(__file__).with_name("nfs_client.py")
    words = ["unshare", "--net", "--mount", "sh", "-c", _SERVE, "sh", str(tmp_path), str(python), str(client)]
    with open(tmp_path / "server.err", "wb") as errors:
        keeper = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
    assert keeper.stdout is not None
    try:
        said = ""
        for line in keeper.stdout:
            said = line
            if line == "mounted\n":
                break
        if said != "mounted\n":
            logs = "".join(path.read_text(errors="replace")[-600:] for path in sorted(tmp_path.glob("*.log")))
            pytest.skip(f"no NFS server could be had here: {logs}")
        yield Machine(keeper.pid, "one", tmp_path / "one"), Machine(keeper.pid, "two", tmp_path / "two")
    finally:
        os.killpg(keeper.pid, 15)
        keeper.wait()
        keeper.stdout.close()
        time.sleep(0.5)


def start(preheat: Preheat, machine: Machine, verb: str, *words: str) -> Running:
    return preheat.start(verb, *words, "--library", str(machine.library), inside=machine.inside)


def done(running: Running) -> str:
    told = running.ended()
    assert told.status == 0, told.out + told.err
    return told.out


def test_two_machines_that_pull_at_once_lose_nothing(
    preheat: Preheat, machines: tuple[Machine, Machine], model: Path, tmp_path: Path
) -> None:
    one, two = machines
    (tmp_path / "first").mkdir()
    done(start(preheat, one, "pull", f"file:{tmp_path}/first"))
    other = tmp_path / "other"
    shutil.copytree(model, other)
    (other / "new.json").write_text("{}")
    pulls = [start(preheat, machine, "pull", f"file:{folder}") for machine in machines for folder in (model, other)]
    for pull in pulls:
        done(pull)
    library = Library(tmp_path / "export/library")
    for snapshot in library.snapshots():
        assert library.missing(snapshot) == ()
        folder = Path(snapshot.ref.repo)
        assert {file.path: library.path(file.digest).read_bytes() for file in snapshot.files} == contents(folder)
    done(start(preheat, two, "verify"))
    assert not list((tmp_path / "export/library/claims").iterdir())
    assert not [path for path in (tmp_path / "export/library/partial").rglob("*") if path.suffix == ".part"]


def test_one_machine_lists_verifies_and_does_not_prune_what_the_other_pulls(
    preheat: Preheat, machines: tuple[Machine, Machine], model: Path, tmp_path: Path
) -> None:
    one, two = machines
    done(start(preheat, one, "pull", f"file:{model}"))
    assert "12.0 MB on disk" in done(start(preheat, two, "ls"))
    # Each machine removes and pulls its model while the other does the same with one that shares all files.
    twin = tmp_path / "twin"
    shutil.copytree(model, twin)
    for _ in range(2):
        removing = start(preheat, one, "rm", f"file:{model}", "--yes", "--settle", "3s")
        pulling = start(preheat, two, "pull", f"file:{twin}")
        done(removing)
        done(pulling)
        library = Library(tmp_path / "export/library")
        assert not any(library.missing(snapshot) for snapshot in library.snapshots())
        done(start(preheat, two, "prune", "--yes", "--younger", "0s", "--settle", "2s"))
        done(start(preheat, one, "pull", f"file:{model}"))
        done(start(preheat, two, "rm", f"file:{twin}", "--yes", "--settle", "2s"))
    done(start(preheat, one, "verify"))


def test_a_corrupt_blob_is_found_and_repaired_from_the_other_machine(
    preheat: Preheat, machines: tuple[Machine, Machine], model: Path, tmp_path: Path
) -> None:
    one, two = machines
    done(start(preheat, one, "pull", f"file:{model}"))
    blob = next(
        path for path in (tmp_path / "export/library/blobs/sha256").rglob("*") if path.stat().st_size > 8_000_000
    )
    blob.chmod(0o644)
    with open(blob, "r+b") as file:
        file.write(b"rotten")
    assert start(preheat, two, "verify").ended().status == 8
    done(start(preheat, two, "verify", "--mend"))
    done(start(preheat, one, "verify"))
