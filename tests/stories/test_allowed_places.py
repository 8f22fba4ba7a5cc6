"""Views are placed inside the app's folder, or where the user allows it; never where another person's recipe wants."""

import os
from pathlib import Path

import pytest

from preheat.api.pulling import plan_all, pull_all
from preheat.api.session import Session
from preheat.api.settings import Settings
from preheat.core.errors import Occupied, UsageError
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


# ---- places of the user's that a recipe may name: {home}, {cache}, {tmp}, {site-packages}


class Stranger(Home):
    """The same user, with a stranger's app that names the user's own places."""

    def pull(self, *, replace: bool = False) -> None:
        """Pull the app in this process, which is much faster than by the command."""
        settings = Settings(library=self.preheat.library, replace=replace)
        session = Session(settings)
        pull_all(plan_all([str(self.app / "preheat.toml")], session), session)

    def need(self, at: str, path: str = "new", view: str = "flat") -> None:
        """Write a recipe that places a file at `path` below `at`."""
        (self.model / "authorized_keys").unlink(missing_ok=True)
        (self.model / path).parent.mkdir(parents=True, exist_ok=True)
        (self.model / path).write_text("import os; os.system('…')\n")
        self.recipe(at)
        recipe = self.app / "preheat.toml"
        text = recipe.read_text().replace('"true"', f'"{self.preheat.folder}/venv/bin/python"')
        recipe.write_text(text.replace('view = "flat"', f'view = "{view}"'))


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stranger:
    path = f"{tmp_path}/venv/bin:{os.environ['PATH']}"
    for name, value in (("HOME", tmp_path), ("TMPDIR", tmp_path / "tmp"), ("PATH", path)):
        monkeypatch.setenv(name, str(value))
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    return Stranger(tmp_path)


START_UP = [
    ("{home}/.ssh", "authorized_keys2"),
    ("~/.ssh", "deep/rc"),
    ("{home}", ".bash_login"),
    ("{home}", ".profile"),
    ("~", ".ssh/rc"),
    ("{home}/.SSH", "rc"),
    ("{home}/.config/autostart", "x.desktop"),
    ("{home}/.config", "systemd/user/x.service"),
    ("{home}/.config/fish", "config.fish"),
    ("{home}/.local/bin", "ls"),
    ("{home}/bin", "ls"),
    ("{home}/.local", "share/applications/x.desktop"),
    ("{home}/.local/share", "mimeapps.list"),
    ("{home}/.local/lib/python3.11/site-packages", "usercustomize.py"),
    ("{home}/.config/nvim", "init.lua"),
    ("{home}/.vim", "plugin/x.vim"),
    ("{home}/.ipython", "profile_default/startup/x.py"),
    ("{home}/.docker", "cli-plugins/docker-x"),
    ("{home}/.aws", "config"),
    ("{home}/tools", "x.sh"),  # a folder of the user's own
    ("{home}/nltk_data/../.ssh", "rc"),
    ("{home}/new/../../elsewhere", "x"),
    ("{home}/link", "rc"),
    ("{cache}", "p10k-instant-prompt-anne.zsh"),
    ("{cache}/pip", "wheels/x.whl"),
    ("{cache}/uv", "x"),
    ("{cache}/others", "x"),
    ("{tmp}", "x"),
    ("{site-packages}", "x.pth"),
    ("{site-packages}", "sitecustomize.py"),
    ("{site-packages}", "top.py"),
    ("{site-packages}/new", "deep.pth"),
    ("{site-packages}/sitecustomize", "__init__.py"),
    ("{site-packages}/pip", "new.py"),
    ("{site-packages}/numpy", "evil.py"),
    ("{site-packages}/numpy", "core.cpython-311-x86_64-linux-gnu.so"),
    ("{site-packages}/numpy", "libx.so.12"),
    ("{site-packages}/numpy-2.0.dist-info", "entry_points.txt"),
    ("{home}/.config/wezterm", "wezterm.lua"),
    ("{cache}/huggingface", "token"),
    ("{home}/.cache/huggingface", "stored_tokens"),
    ("{home}/.modelscope", "credentials/session"),
]


def furnish(home: Stranger, tmp_path: Path) -> dict[str, bytes]:
    """Fill the home with what a user has; return all of its files."""
    packages = tmp_path / "venv/lib/python3.11/site-packages"
    for folder in ("tools", ".cache/others", ".config", "nltk_data", "tmp"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for venv in (tmp_path / "venv", tmp_path / "other"):
        (venv / "bin").mkdir(parents=True)
        (venv / "bin/python").touch(mode=0o755)
        (venv / "pyvenv.cfg").touch()
    (tmp_path / "other/lib/python3.11/site-packages").mkdir(parents=True)
    for package in ("numpy", "numpy-2.0.dist-info"):
        (packages / package).mkdir(parents=True)
        (packages / package / "own").write_text("own\n")
    (tmp_path / ".bashrc").write_text("# the user's own\n")
    (tmp_path / "link").symlink_to(".ssh")
    return everything(tmp_path)


def everything(folder: Path) -> dict[str, bytes]:
    """Read all that could run something: all files but preheat's own and the stranger's."""
    theirs = ("library/", "model/", "src/app/preheat", "said-", "state/", ".local/state/")
    return {name: body for name, body in contents(folder).items() if not name.startswith(theirs)}


@pytest.mark.parametrize(("at", "path"), START_UP, ids=[f"{at}/{path}" for at, path in START_UP])
def test_a_strangers_recipe_gets_nothing_that_runs_into_the_users_places(
    stranger: Stranger, tmp_path: Path, at: str, path: str
) -> None:
    before = furnish(stranger, tmp_path)
    stranger.need(at, path)
    with pytest.raises(UsageError) as refused:
        stranger.pull(replace=True)
    assert "--allow-place" in refused.value.hint
    assert everything(tmp_path) == before


FREE = [
    ("{home}/.insightface", "models/x.onnx"),
    ("~/nltk_data", "corpora/x"),
    ("{home}/.local/share/tts", "x.pth"),
    ("{home}/.config/Ultralytics", "settings.json"),
    ("{home}/.cache/huggingface", "x"),
    ("{cache}/torch/hub", "acme_repo_main/hubconf.py"),
    ("{tmp}/data-gym-cache", "9b5ad7"),
    ("{site-packages}/en_core_web_sm", "__init__.py"),
    ("{site-packages}/numpy", "grammar.fst"),
]


@pytest.mark.parametrize(("at", "path"), FREE, ids=[f"{at}/{path}" for at, path in FREE])
def test_a_new_folder_and_a_model_cache_need_no_permission(
    stranger: Stranger, tmp_path: Path, at: str, path: str
) -> None:
    before = furnish(stranger, tmp_path)
    stranger.need(at, path)
    stranger.pull()
    new = {name for name in everything(tmp_path) if name not in before}
    assert [Path(name).name for name in new] == [Path(path).name]
    stranger.pull()


@pytest.mark.parametrize(
    ("at", "path", "old", "new"),
    [
        ("{home}/systemd/user", "x.service", "ready =", 'env = { HOME = "HERE/.config" }\nready ='),
        ("{cache}/bin", "ls", "ready =", 'env = { XDG_CACHE_HOME = "HERE/.local" }\nready ='),
        ("{tmp}/ssh", "rc", "ready =", 'env = { TMPDIR = "HERE/.ssh" }\nready ='),
        ("{site-packages}/ujson", "__init__.py", "venv/bin/python", "other/bin/python"),
        ("{site-packages}/ujson", "__init__.py", "ready =", 'env = { PATH = "HERE/other/bin" }\nready ='),
    ],
)
def test_a_place_that_the_recipe_chooses_itself_is_not_free(
    stranger: Stranger, tmp_path: Path, at: str, path: str, old: str, new: str
) -> None:
    before = furnish(stranger, tmp_path)
    stranger.need(at, path)
    recipe = stranger.app / "preheat.toml"
    text = recipe.read_text().replace(old, new.replace("HERE", str(tmp_path)), 1)
    recipe.write_text(text.replace(f"{tmp_path}/venv/bin/python", "python") if "PATH" in new else text)
    with pytest.raises(UsageError, match="outside"):
        stranger.pull(replace=True)
    assert everything(tmp_path) == before


def test_an_own_start_up_file_is_never_replaced(stranger: Stranger, tmp_path: Path) -> None:
    before = furnish(stranger, tmp_path)
    stranger.need("{home}", ".bashrc")
    with pytest.raises(Occupied) as refused:
        stranger.pull(replace=True)
    assert "--allow-place" in refused.value.hint
    assert everything(tmp_path) == before


def test_what_preheat_placed_may_be_added_to_and_the_users_files_stay(stranger: Stranger, tmp_path: Path) -> None:
    stranger.need("{home}/.models", "one")
    assert stranger.preheat("pull", "src/app/preheat.toml").status == 0
    (stranger.model / "two").write_text("another\n")
    (tmp_path / ".models/three").write_text("the user's\n")
    assert stranger.preheat("pull", "src/app/preheat.toml").status == 0
    assert (tmp_path / ".models/two").read_text() == "another\n"
    (stranger.model / "three").write_text("a stranger's\n")
    for words in ((), ("--replace",)):
        told = stranger.preheat("pull", "src/app/preheat.toml", *words)
        assert told.status == 5, told.err
        assert (tmp_path / ".models/three").read_text() == "the user's\n"
    told = stranger.preheat("pull", "src/app/preheat.toml", "--replace", "--allow-place", str(tmp_path / ".models"))
    assert told.status == 0, told.err
    assert (tmp_path / ".models/three").read_text() == "a stranger's\n"
    assert (tmp_path / ".models/three.before-preheat").read_text() == "the user's\n"


def test_a_place_that_the_user_allows_by_name_is_used(stranger: Stranger, tmp_path: Path) -> None:
    furnish(stranger, tmp_path)
    stranger.need("{home}/tools", "x")
    told = stranger.preheat("pull", "src/app/preheat.toml", "--allow-place", str(tmp_path / "tools"))
    assert told.status == 0, told.err
    assert (tmp_path / "tools/x").exists()
