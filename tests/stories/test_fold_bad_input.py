"""`fold` where it cannot fold: a reason for each file, and no file is lost."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from preheat import api
from preheat.core.digest import sha256
from preheat.core.errors import UsageError
from preheat.core.events import Event, Noted
from preheat.library.library import Library
from preheat.verbs.folding import link_file, unfold
from preheat.verbs.folding.hash_memory import HashMemory
from preheat.verbs.folding.model_hashes import CHANGED, OPEN_FOR_WRITING, hash_file
from preheat.verbs.folding.running_apps import running_apps
from tests.command import Preheat, Told
from tests.stories.desk import AS_USER, MEBI, a1111, comfyui, fooocus, safetensors, write
from tests.stories.disk import disk
from tests.stories.test_fold import bytes_of, fold, folded, on_disk, state, undone
from tests.stories.test_upkeep_disks import LINKLESS, image

CHECKPOINT = safetensors("model.diffusion_model.input_blocks.0.0.weight")


@pytest.fixture
def home(preheat: Preheat) -> Path:
    """Two apps with the same checkpoint."""
    write(comfyui(preheat.folder) / "checkpoints/dream.safetensors", CHECKPOINT)
    write(fooocus(preheat.folder) / "checkpoints/dream.safetensors", CHECKPOINT)
    return preheat.folder


def reasons(told: Told) -> dict[str, str]:
    """Return the reasons of files that the plan leaves unchanged, by path."""
    files = [file for model in told.last["models"] for file in model["files"]]
    return {file["path"]: file["reason"] for file in (*files, *told.last["left"]) if file["reason"]}


def not_folded(told: Told) -> dict[str, str]:
    return {file["path"]: file["reason"] for file in told.last["not_folded"]}


@LINKLESS
def test_files_on_a_filesystem_without_links_are_left_unchanged(
    preheat: Preheat, make: tuple[str], mount: tuple[str, ...]
) -> None:
    write(comfyui(preheat.folder) / "checkpoints/dream.safetensors", CHECKPOINT)
    with image(preheat.folder / "stick", 200 * MEBI, *make, mount=mount) as at:
        for name in ("a.safetensors", "b.safetensors"):
            (at / name).write_bytes(CHECKPOINT)
        for library in (preheat.library, at / "library"):
            before = state(preheat.folder / "ComfyUI") | state(at)
            told = preheat("fold", "--json", "--yes", "--copy", "--also", str(at), "--library", str(library))
            assert "models" in told.last, told.out + told.err
            assert bytes_of(state(preheat.folder / "ComfyUI") | state(at)) == bytes_of(before)
            left = {**reasons(told), **(not_folded(told) if "not_folded" in told.last else {})}
            assert {str(at / "a.safetensors"), str(at / "b.safetensors")} <= set(left)
            assert all(left.values())
            assert not any(path.is_symlink() for path in at.iterdir())
            preheat("fold", "--undo", "--library", str(library))
            assert state(preheat.folder / "ComfyUI") | state(at) == before


def test_file_on_another_filesystem_needs_copy(preheat: Preheat) -> None:
    write(comfyui(preheat.folder) / "checkpoints/dream.safetensors", CHECKPOINT)
    with disk(preheat.folder / "other", "size=200m") as other:
        write(comfyui(other.path) / "checkpoints/dream.safetensors", CHECKPOINT)
        write(other.path / "plain/dream.ckpt", CHECKPOINT)
        write(other.path / "ComfyUI/models/loras/alone.safetensors", CHECKPOINT + b"x")
        words = ("fold", "--json", "--library", str(preheat.library), "--yes")
        also = ("--also", f"{other.mounted}/ComfyUI", "--also", f"{other.mounted}/plain")
        told = preheat(*words, *also, inside=other.inside)
        assert told.status == 0, told.out + told.err
        why = {Path(path).name: reason for path, reason in reasons(told).items()}
        assert "on another filesystem than the library: --copy puts one copy there" in why["dream.safetensors"]
        assert why["alone.safetensors"] == "it is the only copy, on another filesystem than the library"
        assert "other folders may not accept symlinks" in why["dream.ckpt"]
        assert told.last["copyable"] == len(CHECKPOINT)
        assert not (other.path / "ComfyUI/models/checkpoints/dream.safetensors").is_symlink()

        told = preheat(*words, *also, "--copy", inside=other.inside)
        assert told.status == 0, told.out + told.err
        link = other.path / "ComfyUI/models/checkpoints/dream.safetensors"
        assert link.is_symlink()
        assert link.readlink().read_bytes() == CHECKPOINT
        assert (other.path / "plain/dream.ckpt").read_bytes() == CHECKPOINT
        prune = ("prune", "--yes", "--younger", "0s", "--library", str(preheat.library))
        assert preheat(*prune, inside=other.inside).status == 0
        assert link.readlink().read_bytes() == CHECKPOINT
        # From outside the disk is not there: its links count as using the blob.
        assert preheat("prune", "--yes", "--younger", "0s").status == 0
        assert link.readlink().read_bytes() == CHECKPOINT

        undo = preheat("fold", "--json", "--undo", "--library", str(preheat.library), inside=other.inside)
        assert undo.status == 0, undo.out + undo.err
        assert not link.is_symlink()
        assert link.read_bytes() == CHECKPOINT


@contextmanager
def opened(path: Path, how: str) -> Iterator[subprocess.Popen[bytes]]:
    """Keep a file open in another process, or mapped."""
    script = (
        "import mmap, sys; file = open(sys.argv[1], sys.argv[2]); "
        "kept = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if sys.argv[2] == 'rb' else None; "
        "file.close() if kept else None; print('open', flush=True); sys.stdin.read(); "
        "print(len(kept[:]) if kept else 0)"
    )
    with subprocess.Popen(
        [shutil.which("python3") or "python3", "-c", script, str(path), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process
        process.kill()


def test_file_that_a_program_has_open_for_writing_is_left(preheat: Preheat, home: Path) -> None:
    before = state(home)
    path = home / "ComfyUI/models/checkpoints/dream.safetensors"
    with opened(path, "r+b"):
        told = fold(preheat, "--yes")
        assert reasons(told)[str(path)] == OPEN_FOR_WRITING
        assert bytes_of(state(home)) == bytes_of(before)
        assert path.stat().st_nlink == 1
    assert folded(preheat).last["folded"] == 1
    undone(preheat)
    assert state(home) == before


def test_file_opened_for_writing_since_the_plan_is_left(home: Path, tmp_path: Path, monkeypatch: Any) -> None:
    session = _session(home, monkeypatch)
    plan = api.plan_fold(session=session)
    with opened(home / "Fooocus/models/checkpoints/dream.safetensors", "r+b"):
        done = api.execute(plan, session=session)
    assert [reason for _, reason in done.left] == [OPEN_FOR_WRITING]
    assert done.files == 1
    assert (home / "Fooocus/models/checkpoints/dream.safetensors").stat().st_nlink == 1


def test_file_changed_since_the_plan_is_left(home: Path, monkeypatch: Any) -> None:
    session = _session(home, monkeypatch)
    plan = api.plan_fold(session=session)
    path = home / "Fooocus/models/checkpoints/dream.safetensors"
    look = path.stat()
    with open(path, "r+b") as file:
        file.write(b"other bytes, same size")
    os.utime(path, ns=(look.st_atime_ns, look.st_mtime_ns))
    done = api.execute(plan, session=session)
    assert [reason for _, reason in done.left] == [CHANGED]
    assert path.read_bytes().startswith(b"other bytes, same size")
    assert path.stat().st_nlink == 1


def test_file_that_changes_while_it_is_hashed_is_left(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with open(path, "wb") as file:
        file.truncate(128 * MEBI)
    writers: list[subprocess.Popen[bytes]] = []

    def on_read(size: int) -> None:
        if not writers:
            writers.append(subprocess.Popen(["sh", "-c", f"printf x >> '{path}'"]))
        elif len(writers) == 1 and path.stat().st_size == 128 * MEBI:
            time.sleep(0.2)

    found = hash_file(path, HashMemory(tmp_path / "memory"), on_read)
    assert writers[0].wait() == 0
    assert (found.sha256, found.trouble) == ("", CHANGED)


def test_running_app_keeps_its_open_file_and_is_named(preheat: Preheat, home: Path) -> None:
    path = home / "Fooocus/models/checkpoints/dream.safetensors"
    with opened(path, "rb") as process:
        assert [(app.pid, app.files) for app in running_apps([path])] == [(process.pid, 1)]
        told = preheat("fold", "--json", "--yes")  # not as another user, who cannot see what is open
        assert told.status == 0, told.out
        notes = [event for event in told.events if event["event"] == "noted"]
        assert [note["what"].endswith(f"(process {process.pid})") for note in notes] == [True]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        assert process.stdout.readline() == b"%d\n" % len(CHECKPOINT)


def test_read_only_folder_and_unreadable_file_are_left(preheat: Preheat, home: Path) -> None:
    closed = write(home / "ComfyUI/models/loras/closed.safetensors", CHECKPOINT)
    closed.chmod(0)
    folder = home / "Fooocus/models/checkpoints"
    folder.chmod(0o555)
    try:
        told = fold(preheat, "--yes")
        why = reasons(told)
        assert why[str(folder / "dream.safetensors")] == "its folder is read-only"
        assert why[str(closed)] == "it cannot be read: permission denied"
        assert (folder / "dream.safetensors").stat().st_nlink == 1
    finally:
        folder.chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_another_user_are_left(preheat: Preheat, home: Path) -> None:
    path = home / "Fooocus/models/checkpoints/dream.safetensors"
    os.chown(path, 12345, 12345)
    for inside in (AS_USER, ()):
        told = preheat("fold", "--json", "--yes", inside=inside)
        assert told.status == 0, told.out
        assert reasons(told)[str(path)].startswith("it belongs to user ")
        assert (path.stat().st_uid, path.stat().st_nlink) == (12345, 1)


@pytest.fixture
def public() -> Iterator[Preheat]:
    """A user whose home, with the library in it, everybody can reach."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        public = Preheat(Path(folder), "https://127.0.0.1:9")
        yield public
        public.close()


def readable(preheat: Preheat) -> list[Path]:
    """Return the models, and blobs with their bytes, that other users can read."""
    large = [path for path in preheat.folder.rglob("*") if path.is_file() and path.stat().st_size >= MEBI]
    return [
        path
        for path in large
        if path.stat().st_mode & 0o004 and all(one.stat().st_mode & 0o001 for one in path.parents)
    ]


def test_file_that_only_its_user_can_read_gets_no_new_readers(public: Preheat) -> None:
    for app in (comfyui, fooocus):
        write(app(public.folder) / "checkpoints/dream.safetensors", CHECKPOINT, mode=0o600)
    before = state(public.folder)
    told = folded(public)
    assert readable(public) == []
    assert (state(public.folder), told.last["folded"]) == (before, 0)
    assert set(reasons(told).values()) == {
        f"other users cannot read it, but could in {public.library}: use a --library of your own"
    }
    # In a library that only this user can reach, they could read only a hard link in the app's folder.
    public.library.parent.mkdir(parents=True, exist_ok=True)
    public.library.mkdir(mode=0o700, exist_ok=True)
    public.library.chmod(0o700)
    folded(public)
    assert readable(public) == []
    for app in (comfyui, fooocus):
        (app(public.folder).parent).chmod(0o700)
    assert folded(public).last["folded"] == 2
    assert readable(public) == []


def test_file_whose_bytes_others_can_read_anyway_is_folded(public: Preheat) -> None:
    write(comfyui(public.folder) / "checkpoints/dream.safetensors", CHECKPOINT, mode=0o600)
    write(fooocus(public.folder) / "checkpoints/dream.safetensors", CHECKPOINT)
    assert folded(public).last["folded"] == 2


def test_symlinks_loops_and_broken_ones_do_no_harm(preheat: Preheat, home: Path) -> None:
    loras = home / "ComfyUI/models/loras"
    loras.mkdir()
    (loras / "loop").symlink_to("..")
    (loras / "self.safetensors").symlink_to("self.safetensors")
    (loras / "broken.safetensors").symlink_to("nowhere")
    (loras / "dream.safetensors").symlink_to("../checkpoints/dream.safetensors")
    write(home / "disk/far.safetensors", CHECKPOINT)
    (loras / "far").symlink_to(home / "disk")
    told = folded(preheat)
    assert told.last["folded"] == 3
    assert (loras / "loop").readlink() == Path("..")
    assert (loras / "dream.safetensors").readlink() == Path("../checkpoints/dream.safetensors")
    assert (loras / "broken.safetensors").is_symlink()
    assert (home / "disk/far.safetensors").read_bytes() == CHECKPOINT


def test_library_on_a_disk_that_is_gone(preheat: Preheat, home: Path) -> None:
    before = state(home)
    folded(preheat)
    preheat.library.rename(home / "library-away")
    for words in ((), ("--yes",), ("--undo",)):
        told = fold(preheat, *words)
        assert (told.status, told.last["kind"]) == (5, "LibraryError"), told.out
        assert "which has the bytes of 2 folded files, is gone" in told.last["message"]
        assert not preheat.library.exists()
    preheat.library.mkdir()  # the mount point of the disk
    assert fold(preheat, "--undo").status == 5
    preheat.library.rmdir()
    (home / "library-away").rename(preheat.library)
    undone(preheat)
    assert state(home) == before


def test_folder_that_was_deleted_keeps_no_blob(preheat: Preheat, home: Path) -> None:
    """As by `hf cache delete`, which removes the folder of a repository."""
    before = state(home)
    write(home / "Fooocus/models/loras/only.safetensors", CHECKPOINT + b"x")
    folded(preheat)
    shutil.rmtree(home / "Fooocus")
    assert preheat("prune", "--yes", "--younger", "0s", inside=AS_USER).status == 0
    assert len(blobs(preheat.library)) == 1
    told = undone(preheat)
    assert (told.last["restored"], told.last["changed"]) == (1, 2)
    assert state(home) == {path: look for path, look in before.items() if path.exists()}
    assert blobs(preheat.library) == []


def blobs(library: Path) -> list[Path]:
    return [path for path in (library / "blobs").rglob("*") if path.is_file()]


def test_disk_that_is_away_keeps_its_blob_and_its_place_in_the_journal(preheat: Preheat, home: Path) -> None:
    """Also if the folder at which it is mounted is there, and empty."""
    with disk(home / "stick", "size=100m") as stick:
        write(stick.path / "dream.safetensors", CHECKPOINT)
        write(home / "ComfyUI/extra_model_paths.yaml", f"stick:\n  checkpoints: {stick.mounted}\n".encode())
        told = preheat("fold", "--json", "--yes", "--copy", "--library", str(preheat.library), inside=stick.inside)
        assert (told.status, told.last["links"]) == (0, {"hardlink": 2, "symlink": 1}), told.out
        assert stick.mounted.is_dir()
        for app in ("ComfyUI", "Fooocus"):
            (home / app / "models/checkpoints/dream.safetensors").unlink()
        assert preheat("prune", "--yes", "--younger", "0s").status == 0
        assert (stick.path / "dream.safetensors").readlink().read_bytes() == CHECKPOINT
        told = preheat("fold", "--undo", "--json")
        assert (told.status, told.last["changed"]) == (5, 2), told.out
        assert "its disk is away: connect it" in told.last["not_restored"][0]["reason"]
        undo = ("fold", "--undo", "--json", "--library", str(preheat.library))
        assert preheat(*undo, inside=stick.inside).last["restored"] == 1
        assert not (stick.path / "dream.safetensors").is_symlink()
        assert (stick.path / "dream.safetensors").read_bytes() == CHECKPOINT


def test_blob_that_is_corrupt_is_not_given_to_a_file(preheat: Preheat, home: Path) -> None:
    folded(preheat)
    path = home / "Fooocus/models/checkpoints/dream.safetensors"
    path.chmod(0o644)
    path.write_bytes(b"corrupt".ljust(len(CHECKPOINT)))
    told = fold(preheat, "--undo")
    assert told.status == 5
    assert "corrupt" in told.last["not_restored"][0]["reason"]


def test_corrupt_blob_of_the_library_replaces_no_file(preheat: Preheat, home: Path) -> None:
    blob = Library(preheat.library).path(sha256(hashlib.sha256(CHECKPOINT).hexdigest()))
    write(blob, b"corrupt".ljust(len(CHECKPOINT)), mode=0o444)
    before = state(home)
    assert folded(preheat).last["folded"] == 2
    assert bytes_of(state(home)) == bytes_of(before)
    assert blob.read_bytes() == CHECKPOINT


@pytest.mark.parametrize("verb", ["fold", "undo"])
def test_folder_that_another_user_exchanges_leads_to_no_other_file(
    preheat: Preheat, home: Path, monkeypatch: Any, verb: str
) -> None:
    if verb == "undo":
        folded(preheat)
    mine = write(home / "mine/dream.safetensors", b"mine")
    theirs = home / "Fooocus/models/checkpoints"

    def exchanged(call: Any) -> Any:
        def exchange(*args: Any, **named: Any) -> Any:
            if not theirs.is_symlink():
                theirs.rename(home / "theirs")
                theirs.symlink_to(mine.parent)
            return call(*args, **named)

        return exchange

    for module, name in ((link_file, "_make"), (unfold, "give_look_back"), (unfold, "copy_sparse")):
        monkeypatch.setattr(module, name, exchanged(getattr(module, name)))
    session = _session(home, monkeypatch)
    if verb == "undo":
        api.unfold(session=session)
    else:
        api.execute(api.plan_fold(home / "ComfyUI", home / "Fooocus", session=session), session=session)
    assert theirs.is_symlink()
    assert mine.read_bytes() == b"mine"
    assert list(mine.parent.iterdir()) == [mine]


def test_copy_of_a_private_file_is_private_from_the_start(preheat: Preheat, home: Path, monkeypatch: Any) -> None:
    path = home / "Fooocus/models/checkpoints/dream.safetensors"
    path.chmod(0o600)
    blob = Library(preheat.library).path(sha256(hashlib.sha256(CHECKPOINT).hexdigest()))
    modes = []

    def seen(call: Any) -> Any:
        def hashed(at: Path, *args: Any) -> Any:
            modes.append(0o600 if at.samefile(blob) else at.stat().st_mode & 0o777)
            return call(at, *args)

        return hashed

    folded(preheat)
    monkeypatch.setattr(unfold, "check_bytes", seen(link_file.check_bytes))
    api.unfold(session=_session(home, monkeypatch))
    assert set(modes) == {0o600}


def test_second_process_is_refused_while_one_folds(preheat: Preheat, home: Path) -> None:
    folded(preheat)
    lock = next((home / ".local/state/preheat/fold").glob("*.lock"))
    with open(lock, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        told = fold(preheat, "--undo")
    assert (told.status, told.last["kind"]) == (5, "Busy")


def test_undo_without_room_changes_nothing(preheat: Preheat) -> None:
    with disk(preheat.folder / "small", "size=90m") as small:
        for number in range(3):
            write(small.path / f"models/{number}/dream.safetensors", safetensors("a", size=5 * MEBI))
        write(small.path / "ComfyUI/folder_paths.py", b"")
        write(small.path / "ComfyUI/comfy/sd.py", b"")
        (small.path / "models").rename(small.path / "ComfyUI/models")
        words = ("--json", "--library", f"{small.mounted}/library")
        told = preheat("fold", "--yes", "--also", f"{small.mounted}/ComfyUI", *words, inside=small.inside)
        assert (told.status, told.last["folded"]) == (0, 3), told.out
        free = shutil.disk_usage(small.path).free
        (small.path / "filler").write_bytes(bytes(free - 68 * MEBI))
        told = preheat("fold", "--undo", *words, inside=small.inside)
        assert (told.status, told.last["kind"]) == (5, "NoSpace"), told.out
        assert len({path.stat().st_ino for path in (small.path / "ComfyUI/models").rglob("*.safetensors")}) == 1
        (small.path / "filler").unlink()
        told = preheat("fold", "--undo", *words, inside=small.inside)
        assert (told.status, told.last["restored"]) == (0, 3), told.out


def test_where_reflinks_work_no_app_reaches_the_blob(preheat: Preheat) -> None:
    with image(preheat.folder / "disk", 500_000_000, "mkfs.xfs", "-q", "-m", "reflink=1") as at:
        body = safetensors("model.diffusion_model.input_blocks.0.0.weight", size=20 * MEBI)
        for app in (comfyui(at) / "checkpoints", a1111(at) / "Stable-diffusion", fooocus(at) / "checkpoints"):
            write(app / "dream.safetensors", body, mode=0o640)
        before, used = state(at), _used(at)
        words = ("--json", "--library", f"{at}/library")
        told = preheat("fold", "--yes", *words, HOME=str(at))
        assert (told.status, told.last["links"]) == (0, {"reflink": 3}), told.out
        assert state(at) == before  # mode and times too: each file is still its own
        assert used - _used(at) > 35 * MEBI
        again = preheat("fold", *words, HOME=str(at))
        assert {file["state"] for file in again.last["models"][0]["files"]} == {"linked"}
        edited = at / "stable-diffusion-webui/models/Stable-diffusion/dream.safetensors"
        with open(edited, "r+b") as file:
            file.write(b"edited in place")
        assert (at / "ComfyUI/models/checkpoints/dream.safetensors").read_bytes() == body
        told = preheat("fold", "--undo", *words, HOME=str(at))
        assert (told.status, told.last["restored"], told.last["changed"]) == (0, 2, 1), told.out
        assert edited.read_bytes().startswith(b"edited in place")
        assert {path: look for path, look in state(at).items() if path != edited} == {
            path: look for path, look in before.items() if path != edited
        }


def _used(at: Path) -> int:
    os.sync()
    room = os.statvfs(at)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


def _session(home: Path, monkeypatch: Any) -> api.Session:
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    return api.Session(api.Settings(library=home / "library"))


def test_api_folds_and_unfolds(home: Path, monkeypatch: Any) -> None:
    session = _session(home, monkeypatch)
    heard: list[Event] = []
    session.on_event = heard.append
    before = state(home)
    assert api.fold(session=session).files == 2
    assert on_disk(home / "ComfyUI", home / "Fooocus") < len(CHECKPOINT) * 1.1
    assert api.unfold(session=session).restored == 2
    assert state(home) == before
    assert not any(isinstance(event, Noted) for event in heard)
    (home / "library").rename(home / "gone")
    assert api.unfold(session=session).restored == 0
    with pytest.raises(UsageError):
        api.plan_fold(home / "missing", session=session)
