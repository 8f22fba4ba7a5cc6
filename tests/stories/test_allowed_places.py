"""Views are placed inside the app's folder, or where the user allows it; never where another person's recipe wants."""

from pathlib import Path

import pytest

from tests.command import Preheat
from tests.stories.kept import contents

KEY = "ssh-ed25519 the owner's own key\n"


class Home:
    """A user's home with a malicious app, whose view would be in the user's SSH folder."""

    def __init__(self, folder: Path) -> None:
        self.preheat = Preheat(folder, "http://127.0.0.1:9")
        self.ssh = folder / ".ssh"
        self.ssh.mkdir()
        (self.ssh / "authorized_keys").write_text(KEY)
        self.model = folder / "model"
        self.model.mkdir()
        (self.model / "authorized_keys").write_text("ssh-ed25519 a stranger's\n")
        self.app = folder / "src/app"
        self.app.mkdir(parents=True)

    def recipe(self, at: str) -> None:
        need = f'[[needs]]\nref = "file:{self.model}"\nview = "flat"\nat = "{at}"\n'
        words = 'name = "x"\ncommand = ["true"]\nready = "exec:true"\n'
        (self.app / "preheat.toml").write_text(f"[app]\n{words}{need}")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


VERBS = [("pull",), ("run",), ("run", "--pull"), ("prove",), ("serve-config", "compose"), ("serve-config", "systemd")]


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
@pytest.mark.parametrize("at", ["../../.ssh", "{home}", "link", "link/deeper", "sub/../../../.ssh"])
def test_a_place_outside_the_apps_folder_is_rejected(home: Home, words: tuple[str, ...], at: str) -> None:
    (home.app / "link").symlink_to("../../.ssh")
    home.recipe(at.replace("{home}", str(home.ssh)))
    told = home.preheat(*words, "src/app/preheat.toml")
    assert told.status == 2, told.out + told.err
    assert f"--allow-place {home.ssh}" in told.err
    assert contents(home.ssh) == {"authorized_keys": KEY.encode()}
    assert not (home.preheat.library / "records").exists(), "nothing was pulled for it"


def test_a_symlink_in_a_place_does_not_lead_elsewhere(home: Home) -> None:
    (home.model / "keys").mkdir()
    (home.model / "authorized_keys").rename(home.model / "keys/new")
    (home.app / "weights").mkdir()
    (home.app / "weights/keys").symlink_to(home.ssh)
    home.recipe("weights")
    for words in (("pull", "src/app/preheat.toml"), ("pull", f"file:{home.model}", "--view", "flat=src/app/weights")):
        told = home.preheat(*words)
        assert told.status == 2, told.err
        assert f"--allow-place {home.ssh}" in told.err
        assert contents(home.ssh) == {"authorized_keys": KEY.encode()}
    told = home.preheat("pull", "src/app/preheat.toml", "--allow-place", str(home.ssh))
    assert told.status == 0, told.err
    assert (home.ssh / "new").exists()


def test_an_allowed_place_still_keeps_the_users_files(home: Home) -> None:
    home.recipe("../../.ssh")
    told = home.preheat("pull", "src/app/preheat.toml", "--allow-place", ".ssh")
    assert told.status == 5, told.err
    assert "authorized_keys" in told.err
    assert contents(home.ssh) == {"authorized_keys": KEY.encode()}


@pytest.mark.parametrize("words", [("pull",), ("run", "--pull", "--max-restarts", "0")], ids=" ".join)
def test_an_allowed_place_is_used(home: Home, words: tuple[str, ...], tmp_path: Path) -> None:
    home.recipe("../weights")
    told = home.preheat(*words, "src/app/preheat.toml", "--allow-place", str(tmp_path / "src"))
    assert told.status == 0, told.err
    assert (tmp_path / "src/weights/authorized_keys").exists()


def test_a_place_in_a_folder_that_is_itself_a_symlink_is_inside(home: Home, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(home.app)
    home.recipe("weights")
    told = home.preheat("pull", "elsewhere/preheat.toml")
    assert told.status == 0, told.err
    assert (home.app / "weights/authorized_keys").exists()
