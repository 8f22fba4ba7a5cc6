"""Free places: what a recipe may place in the user's home, cache and temporary folder and in site-packages.

A stranger's recipe must not put a file where a program of the user's would run it or be configured by it. So a need may
use a new folder there, one that preheat made, or one of known model caches. SECURITY.md explains the rule.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import msgspec

from preheat.core.snapshot import Snapshot
from preheat.recipes.places import CACHE, HOME, SITE_PACKAGES, TMP, split_place
from preheat.recipes.recipe import Need
from preheat.views.names import renamed

CONFIG, SHARE = "config", "share"
# Folders in which programs look for code or configuration, whether they exist already or not.
_START_UP_TEXT = {
    HOME: """
        .asdf .aws .azure .bash_completion.d .bashrc.d .bin .bun .bundle .cargo .claude .codex .conda .condarc.d
        .cursor .deno .docker .doom.d .emacs.d .fonts .gdbinit.d .gem .git .git-templates .gnome .gnupg .gradle
        .hammerspoon .hg .icons .ipython .julia .jupyter .kde .kube .local .m2 .mozilla .nix-profile .npm .nvm
        .oh-my-zsh .password-store .pki .profile.d .pyenv .qutebrowser .rbenv .rustup .sdkman .ssh .subversion
        .terraform.d .themes .thunderbird .vim .volta .vscode .vscode-server .xmonad .xonsh .zsh .zshrc.d
        anaconda3 applications autostart bin desktop library miniconda3 sbin
    """,
    CONFIG: """
        alacritty autostart awesome bspwm code containers direnv doom emacs environment.d fish ghostty git helm
        htop hypr i3 ipython jetbrains jupyter kitty lf matplotlib mise mpv nushell nvim openbox pip
        plasma-workspace polybar powershell pypoetry qtile ranger rofi sway sxhkd systemd tmux uv vim vscodium
        waybar wezterm xfce4 xmonad xonsh yazi zed zellij zsh
    """,
    SHARE: """
        applications autostart bash-completion dbus-1 fish flatpak gnome-shell icons jupyter kio konsole
        kservices5 kservices6 mime nautilus nautilus-python nushell nvim pipx powershell services systemd
        thumbnailers uv vim virtualenvs xonsh
    """,
    CACHE: """
        bazel ccache deno direnv fish gitstatus go-build ms-playwright nix node-gyp npm nvim oh-my-zsh pip pipenv
        pre-commit pypoetry sccache uv yarn zsh
    """,
}
# Folders that many apps share for models, so that they exist before preheat places something in them.
_SHARED_TEXT = {
    HOME: """
        .deepface .doctr .easyocr .flair .insightface .keras .modelscope .paddle .paddleocr .paddlex
        .sentence_transformers .torch .u2net gensim-data nltk_data scikit_learn_data stanza_resources
    """,
    CACHE: """
        clip data-gym-cache doctr huggingface kagglehub llama.cpp modelscope paddle suno tiktoken torch whisper
    """,
    TMP: "data-gym-cache",
}
_START_UP = {kind: frozenset(text.split()) for kind, text in _START_UP_TEXT.items()}
_SHARED = {kind: frozenset(text.split()) for kind, text in _SHARED_TEXT.items()}
# Folders of a home that have folders of apps, by path.
_NESTED = {".local/share": SHARE, ".config": CONFIG, ".cache": CACHE}
_CODE = (".py", ".pyc", ".pyo", ".pyd", ".so", ".dll", ".dylib", ".pth", ".egg-link", ".sh", ".exe")
_VERSIONED_LIBRARY = r"\.so(\.[0-9]+)+\Z"
# Files of model caches with which other programs log in at a hub.
_LOGINS = r"(?i:(?:huggingface/(?:token|stored_tokens)|\.?modelscope/(?:hub/)?credentials/.*)\Z)"
_METADATA = (".dist-info", ".egg-info", ".data")
# How people write the places.
_WRITTEN = {HOME: "~", CACHE: "~/.cache", TMP: "/tmp", SITE_PACKAGES: "site-packages"}  # noqa: S108 - for people
_OF_PYTHON = ("sitecustomize", "usercustomize", "pip", "setuptools", "_distutils", "pkg_resources", "wheel")


class FreePlace(msgspec.Struct, frozen=True):
    """A place in which a recipe may use some folders without the user's word: its name, and its real path."""

    name: str
    root: str

    def why_not(self, path: str, is_ours: Callable[[str], bool]) -> str:
        """Return why a new file at `path` needs the user's permission; empty if it does not.

        `path` has no symlinks in its folder. `is_ours` returns whether preheat placed something below a folder.
        """
        kind, root, below = self._kind(PurePosixPath(path).relative_to(self.root).as_posix())
        top, slash, rest = below.partition("/")
        if not slash:
            return f"files directly in {root} can be start-up files of other programs"
        if top.casefold() in _START_UP.get(kind, ()):
            return f"programs look for code or configuration in {root}/{top}"
        if kind == SITE_PACKAGES and _starts(top, rest):
            return "Python or its installer runs it at its start"
        if re.match(_LOGINS, below):
            return "programs log in at a hub with it"
        folder = f"{root}/{top}"
        if not os.path.lexists(folder) or is_ours(folder) or _is_shared(kind, top, folder):
            return ""
        if kind == SITE_PACKAGES:
            name = path.casefold()
            is_code = top.endswith(_METADATA) or name.endswith(_CODE) or re.search(_VERSIONED_LIBRARY, name)
            return f"it is code in {top}, which preheat did not install" if is_code else ""
        return f"{folder} exists, and preheat did not make it"

    def _kind(self, below: str) -> tuple[str, str, str]:
        """Return the kind of folder that has the rule for a path, the folder, and the path below it."""
        for nested, kind in _NESTED.items() if self.name == HOME else ():
            if below.startswith(f"{nested}/"):
                return kind, f"{self.root}/{nested}", below[len(nested) + 1 :]
        return self.name, self.root, below


def free_place(name: str, folder: Path | None) -> FreePlace | None:
    """Return the free place of this name; None for the app's own folder, and for one that is unknown here."""
    if folder is None or name not in (HOME, CACHE, TMP, SITE_PACKAGES):
        return None
    return FreePlace(name, os.path.realpath(folder))


def permission_for(need: Need, snapshot: Snapshot) -> tuple[str, str]:
    """Return the folder that `--allow-place` must name for a need on a new machine, and why; "", "" if none.

    Raise UsageError if `to` does not fit the snapshot.
    """
    if need.at.startswith("/"):
        return need.at, "it is outside the app's folder"
    name, _ = split_place(need.at)
    if name not in _WRITTEN:
        return "", ""
    root = "{" + name + "}"
    for file in renamed(snapshot, need.to).files:
        path = f"{need.at}/{file.path}"
        if why := FreePlace(name, root).why_not(path, lambda _: False):
            folder = path.rpartition("/")[0]
            return folder.replace(root, _WRITTEN[name], 1), why.replace(root, _WRITTEN[name])
    return "", ""


def _is_shared(kind: str, top: str, folder: str) -> bool:
    """Return whether a folder is a model cache that apps share, and this user's own."""
    return top.casefold() in _SHARED.get(kind, ()) and Path(folder).stat().st_uid == os.geteuid()


def _starts(top: str, rest: str) -> bool:
    """Return whether a file of site-packages runs without being imported by the app."""
    return top.casefold().startswith(_OF_PYTHON) or rest.casefold().endswith(".pth")
