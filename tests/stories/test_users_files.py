"""The user's own files, end to end: machines often have most of an app's weights, and some that differ."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.stories.caches import etag, hf_cache
from tests.stories.kept import contents, settled

FILES = {
    "gpt.pth": hashlib.sha256(b"gpt").digest() * 70_000,  # 2.2 MB: hard links, where there are no reflinks
    "s2mel.pth": hashlib.sha256(b"s2mel").digest() * 1000,
    "config.yaml": b"version: 2.0\n",
    "voices/low.pt": hashlib.sha256(b"low").digest() * 100,
}
KINDS = ["hf-cache", "local-dir", "modelscope", "modelscope-old", "flat", "whisper", "torch-hub"]


@pytest.fixture
def app(tmp_path: Path) -> Iterator["App"]:
    """An app whose model a hub has."""
    for name, data in FILES.items():
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with FlakyHub({"acme/tiny": tmp_path / "model"}) as hub:
        app = App(tmp_path, hub)
        yield app
        app.preheat.close()


class App:
    """An app in a folder, with a recipe whose weights are in `checkpoints`."""

    def __init__(self, tmp: Path, hub: FlakyHub) -> None:
        self.preheat = Preheat(tmp, hub.url)
        self.hub = hub
        self.folder = tmp / "app"
        self.at = self.folder / "checkpoints"
        self.folder.mkdir()
        self.recipe()

    def recipe(self, view: str = "flat", at: str = "checkpoints", more: str = "") -> None:
        words = (
            f'command = ["true"]\nready = "exec:true"\n[[needs]]\nref = "hf:acme/tiny"\nview = "{view}"\nat = "{at}"\n'
        )
        (self.folder / "preheat.toml").write_text(f'[app]\nname = "talk"\n{words}{more}')

    def own(self, **files: bytes) -> None:
        """Put files of the user into the app's folder."""
        for name, data in files.items():
            path = self.at / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def __call__(self, *words: str) -> Told:
        verb, *rest = words
        return self.preheat(verb, "app/preheat.toml", *rest)

    def fails(self, *words: str, naming: tuple[str, ...], status: int = 5) -> Told:
        before = settled(self.folder)
        told = self(*words)
        assert told.status == status, told.out + told.err
        assert "Traceback" not in told.err
        assert settled(self.folder) == before, "nothing was changed"
        for name in naming:
            assert name in told.err
        return told


def test_weights_of_another_version_are_not_overwritten(app: App) -> None:
    """`hf download IndexTeam/IndexTTS-2.5 --local-dir=checkpoints`, then the recipe of version 2."""
    app.own(gpt_pth=b"2.5's weights", config_yaml=b"version: 2.5\n", s2mel_pth=FILES["s2mel.pth"])
    told = app.fails("pull", naming=("checkpoints/gpt.pth", "checkpoints/config.yaml", "--replace"))
    assert "s2mel" not in told.err
    assert app.hub.sent("gpt.pth") == 0, "said before anything was downloaded"
    told = app("pull", "--replace")
    assert told.status == 0, told.err
    assert "moved aside: " in told.err
    assert contents(app.at) == {
        **FILES,
        "gpt.pth.before-preheat": b"2.5's weights",
        "config.yaml.before-preheat": b"version: 2.5\n",
    }
    assert app.hub.sent("s2mel.pth") == 0, "it was here"


def test_weights_trained_by_the_user_are_not_overwritten_by_run(app: App) -> None:
    assert app("pull").status == 0
    (app.at / "gpt.pth").unlink()
    app.own(gpt_pth=b"fine-tuned")
    app.at.joinpath("config.yaml").write_bytes(b"version: 2.0  # and mine\n")
    app.fails("run", naming=("checkpoints/gpt.pth", "checkpoints/config.yaml", "changed since", "--keep"))
    for _ in range(2):
        told = app("run", "--keep", "--max-restarts", "0")
        assert told.status == 0, told.err
        assert (app.at / "gpt.pth").read_bytes() == b"fine-tuned"
    assert app("run", "--max-restarts", "0").status == 0, "it is known which files they keep"
    told = app("run", "--replace", "--max-restarts", "0")
    assert told.status == 0, told.err
    assert contents(app.at) == {
        **FILES,
        "gpt.pth.before-preheat": b"fine-tuned",
        "config.yaml.before-preheat": b"version: 2.0  # and mine\n",
    }


def test_programs_get_the_list_of_all_files_in_the_way(app: App) -> None:
    app.own(gpt_pth=b"mine", config_yaml=b"mine")
    told = app("pull", "--json")
    assert told.status == 5
    assert (told.last["event"], told.last["kind"]) == ("error", "Occupied")
    assert sorted(told.last["paths"]) == [f"{app.at}/config.yaml", f"{app.at}/gpt.pth"]
    told = app("pull", "--json", "--replace")
    moved = {event["path"]: event["to"] for event in told.events if event["event"] == "moved-aside"}
    assert moved == {path: f"{path}.before-preheat" for path in (f"{app.at}/config.yaml", f"{app.at}/gpt.pth")}


@pytest.mark.parametrize("kind", KINDS)
def test_no_verb_overwrites_in_any_layout(app: App, kind: str) -> None:
    app.recipe(kind)
    assert app.preheat("pull", "acme/tiny", "--view", f"{kind}=like").status == 0
    like = app.preheat.folder / "like"
    weights = [path for path in contents(like) if path.endswith((".pth", ".pt"))]
    # Clients follow a link and check its target.
    places = {str((like / path).resolve().relative_to(like.resolve())) for path in weights if kind == "hf-cache"}
    for path in (*weights, *(places or ())):
        target = app.at / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"mine: " + path.encode())
    own = contents(app.at)
    for words in (("pull",), ("run",)):
        app.fails(*words, naming=tuple(own))
    told = app.preheat("view", kind, "app/checkpoints", "acme/tiny")
    assert told.status == 5, told.err
    assert contents(app.at) == own
    assert app.preheat("pull", "acme/tiny", "--view", f"{kind}=app/checkpoints").status == 5
    assert contents(app.at) == own
    assert app.preheat("view", kind, "app/checkpoints", "acme/tiny", "--replace").status == 0
    after = contents(app.at)
    assert {path: after[f"{path}.before-preheat"] for path in own} == own
    assert {path: body for path, body in after.items() if path in weights} == {
        path: (like / path).read_bytes() for path in weights
    }


@pytest.mark.slow
def test_a_proof_restores_the_files_that_it_moved_aside(app: App) -> None:
    app.own(gpt_pth=b"mine", s2mel_pth=FILES["s2mel.pth"])
    before = settled(app.folder)
    for words in ((), ("--replace",)):
        told = app("prove", "--observe=0s", "--conditions=preloaded", *words)
        assert told.status == 0, told.out + told.err
        assert settled(app.folder) == before


def test_compose_files_are_written_without_overwriting(app: App) -> None:
    assert app.preheat("pull", "acme/tiny").status == 0
    app.own(gpt_pth=b"mine")
    before = settled(app.folder)
    told = app.preheat("serve-config", "compose", "app/preheat.toml")
    assert told.status == 5, told.err
    assert settled(app.folder) == before
    assert app.preheat("serve-config", "compose", "app/preheat.toml", "--keep").status == 0
    told = app.preheat("serve-config", "systemd", "app/preheat.toml", "--keep", "--allow-place", "/data")
    assert "--allow-place /data --keep" in told.out


# ---- files already in place are not downloaded


def hub_files(app: App, *, but: str = "") -> int:
    """Return how many bytes of files came from the hub."""
    return sum(app.hub.sent(f"/{name}") for name in FILES if name != but)


def modelscope_local(at: Path) -> None:
    for name, data in FILES.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(data)
    (at / ".msc").write_bytes(b"theirs")
    (at / ".mv").write_bytes(b"Revision:master,CreatedAt:1700000000")


def hf_local(at: Path) -> None:
    for name, data in FILES.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(data)
        note = at / ".cache/huggingface/download" / f"{name}.metadata"
        note.parent.mkdir(parents=True, exist_ok=True)
        tag = etag(data, lfs=len(data) > 1 << 20)
        note.write_text(f"{'1' * 40}\n{tag}\n{(at / name).stat().st_mtime + 1}\n")


@pytest.mark.parametrize(("view", "make"), [("flat", hf_local), ("local-dir", hf_local), ("flat", modelscope_local)])
def test_a_folder_filled_by_another_client_is_used(app: App, view: str, make: object) -> None:
    assert callable(make)
    make(app.at)
    app.recipe(view)
    before = {name: was for name, was in settled(app.at).items() if name in FILES or "download" in name}
    told = app("pull")
    assert told.status == 0, told.err
    assert hub_files(app) == 0
    assert {name: was for name, was in settled(app.at).items() if name in before} == before, "none was replaced"
    again = app("pull", "--json")
    assert [event for event in again.events if event["event"] in ("reading", "adopted")] == []
    assert app.preheat("verify").status == 0
    if (app.at / ".msc").exists():
        assert (app.at / ".msc").read_bytes() == b"theirs"


def test_the_hugging_face_cache_is_used(app: App) -> None:
    commit = app.preheat("pull", "acme/tiny", "--dry-run", "--json").last["needs"][0]["commit"]
    for shared in (False, True):
        shutil.rmtree(app.at, ignore_errors=True)
        shutil.rmtree(app.preheat.library, ignore_errors=True)
        app.recipe("hf-cache")
        files = {name: data for name, data in FILES.items() if name != "config.yaml"}
        home = hf_cache(app.at, "acme/tiny", files, commit, shared=shared)
        app.hub.recovers()
        before = {name: was for name, was in settled(app.at).items() if "refs" not in name}
        told = app("pull")
        assert told.status == 0, told.err
        assert hub_files(app, but="config.yaml") == 0
        assert before.items() <= settled(app.at).items()
        assert contents(home / "snapshots" / commit) == FILES


@pytest.mark.parametrize(("view", "place"), [("whisper", "whisper/low.pt"), ("torch-hub", "hub/checkpoints/gpt.pth")])
def test_caches_of_single_checkpoints_are_used(app: App, view: str, place: str) -> None:
    app.recipe(view)
    name = next(name for name in FILES if name.endswith(place.rpartition("/")[2]))
    path = app.at / place
    path.parent.mkdir(parents=True)
    path.write_bytes(FILES[name])
    inode = path.stat().st_ino
    told = app("pull")
    assert told.status == 0, told.err
    assert app.hub.sent(f"/{name}") == 0
    assert path.stat().st_ino == inode


def test_a_model_pulled_by_hand_into_a_view_is_found_there(app: App) -> None:
    hf_local(app.at)
    told = app.preheat("pull", "acme/tiny", "--view", "local-dir=app/checkpoints")
    assert told.status == 0, told.err
    assert hub_files(app) == 0
    assert "linked" in told.err or "reflink" in told.err


def test_run_with_pull_downloads_only_missing_files(app: App) -> None:
    app.own(gpt_pth=FILES["gpt.pth"])
    told = app("run", "--pull", "--max-restarts", "0")
    assert told.status == 0, told.err
    assert app.hub.sent("gpt.pth") == 0
    assert contents(app.at) == FILES


def test_configurations_are_not_links_into_the_library(app: App) -> None:
    app.own(config_yaml=FILES["config.yaml"], gpt_pth=FILES["gpt.pth"])
    assert app("pull").status == 0
    with open(app.at / "config.yaml", "r+b") as file:
        file.write(b"MINE")
    assert (app.at / "voices/low.pt").stat().st_nlink == 1
    told = app.preheat("verify")
    assert told.status == 0, told.err
    assert "corrupt" not in told.err
    app.fails("run", naming=("config.yaml",))


def test_adopted_files_still_belong_to_the_user(app: App) -> None:
    other = {**FILES, "gpt.pth": b"5" * 2_200_000}
    for name, data in other.items():
        app.own(**{name.replace("/", "__").replace(".", "_"): data})
    assert app.preheat("adopt", "app/checkpoints", "--as", "acme/newer").status == 0
    app.fails("pull", naming=("gpt.pth",))
    assert (app.at / "gpt.pth").read_bytes() == other["gpt.pth"]


def test_two_needs_for_one_path_are_an_error(app: App) -> None:
    more = '[[needs]]\nref = "hf:acme/tiny"\nfiles = ["gpt.pth"]\nto = { "gpt.pth" = "config.yaml" }\n'
    app.recipe(more=f'{more}view = "flat"\nat = "./checkpoints"\n')
    app.fails("pull", naming=("config.yaml", "different files"), status=2)


@pytest.mark.slow
def test_after_a_kill_while_placing_no_file_counts_as_the_users(app: App) -> None:
    assert app.preheat("pull", "acme/tiny").status == 0
    for _ in range(8):
        running = app.preheat.start("run", "app/preheat.toml", "--link", "copy", "--max-restarts", "0")
        running.until(lambda _: (app.at / "config.yaml").exists() or (app.at / "gpt.pth").exists())
        running.kill()
        (app.preheat.folder / "model/config.yaml").write_bytes(os.urandom(8).hex().encode())
        shutil.rmtree(app.preheat.folder / "views", ignore_errors=True)
        told = app("pull", "--link", "copy")
        assert told.status == 0, told.err
    assert app("run", "--link", "copy", "--max-restarts", "0").status == 0
