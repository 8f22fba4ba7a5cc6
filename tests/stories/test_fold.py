"""`fold --yes` and `fold --undo`, end to end: one copy for all apps, and every file back as it was."""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.library.library import Library
from tests.command import Preheat, Told
from tests.stories.desk import (
    AS_USER,
    MEBI,
    a1111,
    comfyui,
    fooocus,
    ollama,
    safetensors,
    text_generation,
    wait_until_old,
    write,
)

CHECKPOINT = safetensors("model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.decoder.conv_in.weight")
LORA = safetensors("lora_unet_down_blocks_0.lora_up.weight", size=2 * MEBI, seed=1)
GGUF = b"GGUF" + os.urandom(3 * MEBI)
ONLY = safetensors("a", seed=9)
STRANGE = os.fsdecode(b"\xff\xfe \xe6\xa8\xa1\n\xd0\xbc.safetensors")


@pytest.fixture
def home(preheat: Preheat) -> Path:
    """Five apps with a checkpoint in three of them, a LoRA twice in one, a GGUF in two, and one file of its own."""
    write(comfyui(preheat.folder) / "checkpoints/dream.safetensors", CHECKPOINT, mode=0o640)
    write(comfyui(preheat.folder) / "loras/style.safetensors", LORA, age_s=7200)
    write(comfyui(preheat.folder) / "loras" / STRANGE, LORA)
    write(a1111(preheat.folder) / "Stable-diffusion/dream v1.safetensors", CHECKPOINT, mode=0o600)
    write(fooocus(preheat.folder) / "checkpoints/model.safetensors", CHECKPOINT, age_s=10**7, mode=0o755)
    write(ollama(preheat.folder) / f"sha256-{hashlib.sha256(GGUF).hexdigest()}", GGUF)
    write(text_generation(preheat.folder) / "tiny.Q4_0.gguf", GGUF)
    write(text_generation(preheat.folder) / "only/model.safetensors", ONLY, mode=0o600)
    return wait_until_old(preheat.folder)


def models(home: Path) -> list[Path]:
    return [
        path
        for path in home.rglob("*")
        if path.is_file() and path.stat().st_size >= MEBI and "library" not in path.parts
    ]


def state(home: Path) -> dict[Path, tuple[object, ...]]:
    """Return the bytes, mode, owner and times of each model."""
    found: dict[Path, tuple[object, ...]] = {}
    for path in models(home):
        look = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found[path] = (digest, look.st_mode, look.st_uid, look.st_gid, look.st_mtime_ns, path.is_symlink())
    return found


def on_disk(*folders: Path) -> int:
    inodes = {}
    for folder in folders:
        for path in folder.rglob("*"):
            look = path.lstat()
            if path.is_file() and not path.is_symlink():
                inodes[look.st_ino] = look.st_blocks * 512
    return sum(inodes.values())


def fold(preheat: Preheat, *words: str) -> Told:
    return preheat("fold", "--json", *words, inside=AS_USER)


def folded(preheat: Preheat, *words: str) -> Told:
    told = fold(preheat, "--yes", *words)
    assert told.status == 0, told.out + told.err
    return told


def undone(preheat: Preheat) -> Told:
    told = fold(preheat, "--undo")
    assert told.status == 0, told.out + told.err
    return told


def bytes_of(before: dict[Path, tuple[object, ...]]) -> dict[Path, object]:
    return {path: look[0] for path, look in before.items()}


def test_each_model_is_one_blob_and_each_name_still_has_its_bytes(preheat: Preheat, home: Path) -> None:
    before, disk = state(home), on_disk(home)
    told = folded(preheat)
    assert bytes_of(state(home)) == bytes_of(before)
    unique = len(CHECKPOINT) + len(LORA) + len(GGUF) + len(ONLY)
    assert on_disk(home) <= unique * 1.02 + (1 << 20)
    assert told.last["folded"] == 8
    assert told.last["freed"] == told.last["saved"] > disk - on_disk(home) - (1 << 20)
    for path in models(home):
        digest = sha256(hashlib.sha256(path.read_bytes()).hexdigest())
        assert Library(preheat.library).has(digest)
        assert path.samefile(Library(preheat.library).path(digest)) or told.last["links"].get("reflink")


def test_undo_restores_bytes_mode_owner_and_times(preheat: Preheat, home: Path) -> None:
    before = state(home)
    folded(preheat)
    told = undone(preheat)
    assert state(home) == before
    assert (told.last["restored"], told.last["changed"]) == (8, 0)
    assert all(path.stat().st_nlink == 1 for path in models(home))
    # The last name of each blob got the blob itself: only the others were copied.
    assert told.last["copied"] in (0, 2 * len(CHECKPOINT) + len(LORA) + len(GGUF))
    assert not any((home / ".local/state/preheat/fold").glob("*.journal"))
    assert fold(preheat, "--undo").last["restored"] == 0


def test_second_fold_does_nothing(preheat: Preheat, home: Path) -> None:
    folded(preheat)
    again = folded(preheat)
    assert (again.last["folded"], again.last["freed"], again.last["twice"]) == (0, 0, 0)
    assert {file["state"] for model in again.last["models"] for file in model["files"]} == {"linked"}


def test_files_are_read_once(preheat: Preheat, home: Path) -> None:
    told = folded(preheat)
    reading = {event["purpose"]: event["size"] for event in told.events if event["event"] == "reading"}
    assert reading == {"hash": sum(path.stat().st_size for path in models(home)), "fold": 0}


def test_prune_and_rm_keep_the_blobs_of_folded_files(preheat: Preheat, home: Path) -> None:
    write(home / "acme/model.safetensors", CHECKPOINT)
    assert preheat("adopt", "acme", "--as", "acme/dream", "--copy", inside=AS_USER).status == 0
    folded(preheat)
    before = state(home)
    assert preheat("rm", "acme/dream", "--yes", inside=AS_USER).status == 0
    told = preheat("prune", "--younger", "0s", "--yes", "--old", inside=AS_USER)
    assert told.status == 0, told.err
    assert "0 B freed" in told.out or "nothing to remove" in told.out
    assert bytes_of(state(home)) == bytes_of(before)
    for body in (CHECKPOINT, LORA, GGUF, ONLY):
        assert Library(preheat.library).has(sha256(hashlib.sha256(body).hexdigest()))
    undone(preheat)


def test_blob_is_freed_when_the_apps_have_deleted_their_files(preheat: Preheat, home: Path) -> None:
    folded(preheat)
    (home / "text-generation-webui/user_data/models/only/model.safetensors").unlink()
    assert preheat("prune", "--younger", "0s", "--yes", inside=AS_USER).status == 0
    library = Library(preheat.library)
    assert not library.has(sha256(hashlib.sha256(ONLY).hexdigest()))
    assert library.has(sha256(hashlib.sha256(LORA).hexdigest()))


def test_undo_when_a_recorded_version_shares_the_blob(preheat: Preheat, home: Path) -> None:
    before = state(home)
    write(home / "acme/model.safetensors", CHECKPOINT)
    assert preheat("adopt", "acme", "--as", "acme/dream", "--copy", inside=AS_USER).status == 0
    folded(preheat)
    undone(preheat)
    assert {path: look for path, look in state(home).items() if path in before} == before
    library = Library(preheat.library)
    blob = library.path(sha256(hashlib.sha256(CHECKPOINT).hexdigest()))
    assert blob.read_bytes() == CHECKPOINT
    assert not any(path.samefile(blob) for path in before)


def test_undo_leaves_files_that_have_changed_since(preheat: Preheat, home: Path) -> None:
    before = state(home)
    folded(preheat)
    new = home / "ComfyUI/models/loras/style.safetensors"
    new.unlink()
    write(new, b"the user's own new file" + bytes(MEBI))
    (home / "ComfyUI/models/checkpoints/dream.safetensors").unlink()
    told = undone(preheat)
    assert (told.last["restored"], told.last["changed"]) == (6, 2)
    assert new.read_bytes().startswith(b"the user's own new file")
    rest = {path: look for path, look in state(home).items() if path != new}
    assert rest == {path: before[path] for path in rest}
    assert len(rest) == 6


def test_app_that_rewrites_a_model_in_place_does_not_reach_the_blob(preheat: Preheat, home: Path) -> None:
    folded(preheat)
    path = home / "stable-diffusion-webui/models/Stable-diffusion/dream v1.safetensors"
    script = "import sys\nwith open(sys.argv[1], 'r+b') as file: file.write(b'edited')"
    done = subprocess.run([*AS_USER, "python3", "-c", script, str(path)], capture_output=True, text=True)
    if done.returncode:
        assert "PermissionError" in done.stderr  # write-protected
    blob = Library(preheat.library).path(sha256(hashlib.sha256(CHECKPOINT).hexdigest()))
    assert blob.read_bytes() == CHECKPOINT
    assert (home / "ComfyUI/models/checkpoints/dream.safetensors").read_bytes() == CHECKPOINT


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write to what is read-only")
def test_as_root_apps_that_may_rewrite_in_place_keep_their_own_files(preheat: Preheat, home: Path) -> None:
    told = preheat("fold", "--json", "--yes")
    path = home / "stable-diffusion-webui/models/Stable-diffusion/dream v1.safetensors"
    path.write_bytes(b"edited")
    blob = Library(preheat.library).path(sha256(hashlib.sha256(CHECKPOINT).hexdigest()))
    assert blob.read_bytes() == CHECKPOINT
    reasons = [file["reason"] for model in told.last["models"] for file in model["files"] if file["apps"] == ["a1111"]]
    assert not blob.samefile(path)
    assert "may write to it in place" in reasons[0] or told.last["links"].get("reflink")


def test_names_of_one_file_stay_one(preheat: Preheat, home: Path) -> None:
    second = home / "ComfyUI/models/checkpoints/second name.safetensors"
    os.link(home / "ComfyUI/models/checkpoints/dream.safetensors", second)
    os.link(home / "ComfyUI/models/loras/style.safetensors", home / "Fooocus/models/checkpoints/lora.safetensors")
    before = state(home)
    told = folded(preheat)
    assert bytes_of(state(home)) == bytes_of(before)
    assert told.last["folded"] == 10
    again = fold(preheat)
    assert again.last["twice"] == 0
    undone(preheat)
    assert state(home) == before


def test_sparse_file_stays_sparse_after_undo(preheat: Preheat, home: Path) -> None:
    for app in ("ComfyUI/models", "Fooocus/models"):
        path = home / app / "checkpoints/sparse.safetensors"
        with open(path, "wb") as file:
            file.write(b"x" * 4096)
            file.truncate(64 * MEBI)
        os.utime(path, ns=(10**18, 10**18))
    before, disk = state(home), on_disk(home)
    folded(preheat)
    undone(preheat)
    assert state(home) == before
    assert on_disk(home) <= disk + (1 << 20)


def test_folded_models_are_read_by_huggingface_hub(preheat: Preheat, home: Path) -> None:
    repo = home / ".cache/huggingface/hub/models--acme--dream"
    commit = "c" * 40
    write(repo / "blobs" / hashlib.sha256(CHECKPOINT).hexdigest(), CHECKPOINT)
    write(repo / "refs/main", commit.encode())
    pointer = repo / "snapshots" / commit / "model.safetensors"
    pointer.parent.mkdir(parents=True)
    pointer.symlink_to(f"../../blobs/{hashlib.sha256(CHECKPOINT).hexdigest()}")
    told = folded(preheat)
    assert pointer.read_bytes() == CHECKPOINT
    assert not (repo / "blobs" / hashlib.sha256(CHECKPOINT).hexdigest()).is_symlink()
    assert "hf-cache" in {app["name"] for app in told.last["apps"]}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("call", ["rename", "link,linkat", "fchmod", "unlink", "utimensat", "fsync"])
@pytest.mark.parametrize("verb", ["--yes", "--undo"])
def test_kill_at_any_step_loses_nothing(preheat: Preheat, home: Path, verb: str, call: str) -> None:
    """Killed before one of its renames, links, chmods or unlinks, the files are whole, and undo restores them."""
    os.link(home / "ComfyUI/models/checkpoints/dream.safetensors", home / "ComfyUI/models/checkpoints/again.ckpt")
    before = state(home)
    for step in (1, 3, 8) if call in ("rename", "fchmod", "utimensat") else (2, 5, 13):
        if verb == "--undo":
            folded(preheat)
        killed = preheat("fold", verb, inside=(*AS_USER, *_killing(call, step)))
        left = {path: digest for path, digest in bytes_of(state(home)).items() if path.suffix != ".new"}
        assert left == bytes_of(before), step
        if verb == "--yes" and step % 2:
            folded(preheat)
        undone(preheat)
        assert state(home) == before, step
        if not killed.status:
            assert step > 1 or call != "rename"
            return


def _killing(call: str, step: int) -> tuple[str, ...]:
    """Return a command prefix that kills the program before its `step`th system call of this name."""
    if not shutil.which("strace"):
        pytest.skip("strace is needed")
    return ("strace", "-f", "-qq", "-o", "/dev/null", f"--trace={call}", f"--inject={call}:signal=SIGKILL:when={step}")


def test_killed_fold_is_resumed(preheat: Preheat, home: Path) -> None:
    before = state(home)
    running = preheat.start("fold", "--yes", "--json", inside=AS_USER)
    time.sleep(0.3)
    running.kill()
    assert bytes_of(state(home)) == bytes_of(before)
    folded(preheat)
    assert fold(preheat).last["twice"] == 0
    undone(preheat)
    assert state(home) == before


def test_journal_with_a_torn_last_line_is_read(preheat: Preheat, home: Path) -> None:
    before = state(home)
    folded(preheat)
    journal = next((home / ".local/state/preheat/fold").glob("*.journal"))
    with open(journal, "ab") as file:
        file.write(b'{"path":"/half')
    write(home / "ComfyUI/models/checkpoints/more.safetensors", GGUF)
    before |= {
        home / "ComfyUI/models/checkpoints/more.safetensors": state(home)[
            home / "ComfyUI/models/checkpoints/more.safetensors"
        ]
    }
    folded(preheat)
    undone(preheat)
    assert state(home) == before
    assert json.dumps(fold(preheat).last)


def test_names_of_one_file_are_names_of_one_file_after_undo(preheat: Preheat, home: Path) -> None:
    """Also with a name outside the apps' folders, which fold does not see: it gets its mode back with the others."""
    first = home / "ComfyUI/models/checkpoints/dream.safetensors"
    names = [home / "ComfyUI/models/checkpoints/again.safetensors", home / "Downloads/dream.safetensors"]
    names[1].parent.mkdir()
    for name in names:
        os.link(first, name)
    lora, style = home / "ComfyUI/models/loras/style.safetensors", home / "Fooocus/models/loras/style.safetensors"
    style.parent.mkdir()
    os.link(lora, style)
    before, disk = state(home), on_disk(home)
    folded(preheat)
    told = undone(preheat)
    assert state(home) == before
    assert on_disk(home) <= disk + (1 << 20)
    assert len({path.stat().st_ino for path in (first, *names)}) == 1
    assert lora.samefile(style)
    assert told.last["copied"] in (0, 2 * len(CHECKPOINT) + len(LORA) + len(GGUF))


def test_undo_restores_access_control_lists_and_attributes(preheat: Preheat, home: Path) -> None:
    path = home / "ComfyUI/models/checkpoints/dream.safetensors"
    other = home / "Fooocus/models/checkpoints/model.safetensors"
    # acl(5), version 2: this user rw-, user 12345 r--, the group ---, at most r--, others ---.
    entries = ((1, 6, -1), (2, 4, 12345), (4, 0, -1), (16, 4, -1), (32, 0, -1))
    acl = b"\2\0\0\0" + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", acl)
        os.setxattr(other.parent, "system.posix_acl_default", acl)  # new files there get it, and this one has none
        os.setxattr(path, "user.note", b"mine")
    except OSError as error:
        pytest.skip(f"this filesystem has no access control lists: {error}")
    before = state(home)
    # Not as another user, in whose namespace number 12345 would mean nobody.
    assert preheat("fold", "--yes", "--json").last["folded"] > 2
    assert preheat("fold", "--undo").status == 0
    assert state(home) == before
    assert os.getxattr(path, "system.posix_acl_access") == acl
    assert os.getxattr(path, "user.note") == b"mine"
    assert "system.posix_acl_access" not in os.listxattr(other)
