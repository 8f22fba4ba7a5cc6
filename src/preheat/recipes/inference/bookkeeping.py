"""Bookkeeping: the files that programs write for themselves or this machine, and no later start needs; pure."""

import re

# Parts of paths: hub clients' own caches, version control, and caches of this machine's fonts.
_PARTS = (
    "/refs/", "/trees/", "/.no_exist/", "/.locks/", "/.lock/", "/.cache/huggingface/download/", "/__pycache__/",
    "/xet/", "/.git/", "/.hg/", "/._____temp/", "/matplotlib/", "/fontconfig/", "/mesa_shader_cache", "/.ipython/",
    "/.preheat/", "/.gradio/", "/logs/", "/.config/", "/.nv/", "/.mozilla/", "/sentry/", "/wandb/",
)  # fmt: skip
# Caches of package managers, from which they install to other places.
_INSTALLERS = (
    "/pip/http", "/pip/wheels/", "/pip/selfcheck/", "/.cache/pip/", "/.cache/uv/", "/.npm/_", "/.cache/yarn/",
    "/.cache/pypoetry/", "/go-build/", "/ccache/", "/.conda/pkgs/", "/.cargo/registry/", "/.rustup/",
)  # fmt: skip
_ENDINGS = (
    ".lock", ".incomplete", ".log", ".metadata", ".msc", ".mdl", ".mv", ".tmp", ".temp", ".pid", ".pyc", ".part",
    ".partial", ".aria2", ".crdownload", ".swp", ".parallel_tmp", ".sock", ".pt.trace.json",
)  # fmt: skip
_NAMES = frozenset(
    (
        "CACHEDIR.TAG", ".gitignore", "version.txt", ".agent_harnesses.json", ".gitattributes", ".wget-hsts",
        ".python_history", ".bash_history", "nohup.out", ".lock", "direct_url.json", "REQUESTED", ".DS_Store",
        ".huggingface-shared-blobs",
    )
)  # fmt: skip
# Names that programs make up for temporary files and folders: tempfile, pip, multiprocessing, mktemp(1).
_TEMPORARY = re.compile(
    r"/(?:tmp[a-z0-9_]{8}|pip-[a-z0-9-]+-[a-z0-9_]{8}|pymp-[a-z0-9_]{8}|tmp\.[A-Za-z0-9]{6,10})(?:/|$)"
)
_SECRETS = frozenset(
    (
        ".netrc", "_netrc", "token", "stored_tokens", ".hf_token", ".git-credentials", "credentials",
        "credentials.json", ".env", ".npmrc", ".pypirc", "cookies", "cookies.txt", "id_rsa", "id_ed25519",
    )
)  # fmt: skip
_SECRET_PARTS = ("/.ssh/", "/.aws/", "/.gnupg/", "/.docker/", "/.kube/", "/.modelscope/", "/modelscope/credentials/")
_SECRET_ENDINGS = (".pem", ".key", ".p12", ".pfx", ".jks", ".kdbx")
# Files that a first use writes: sound, pictures, films, pages and texts, in contrast to weights and caches.
_OUTPUTS = (
    ".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".png", ".jpg", ".jpeg", ".webp", ".gif", ".svg", ".mp4",
    ".webm", ".mkv", ".avi", ".srt", ".vtt", ".txt", ".csv", ".tsv", ".html", ".pdf", ".db", ".sqlite", ".sqlite3",
)  # fmt: skip
_MEDIA = _OUTPUTS[:18]
CODE = (".py", ".so", ".pyd", ".js", ".mjs", ".cjs", ".node", ".sh")


def is_bookkeeping(path: str) -> bool:
    """Return whether a file is a program's own bookkeeping, a log, a lock or a temporary file."""
    name = path.rpartition("/")[2]
    if name in _NAMES or name.endswith(_ENDINGS) or any(part in path for part in _PARTS) or is_installers(path):
        return True
    return bool(_TEMPORARY.search(path)) or ".log." in name


def is_installers(path: str) -> bool:
    """Return whether a file is in the cache of a package manager."""
    return any(part in path for part in _INSTALLERS)


def is_secret(path: str) -> bool:
    """Return whether a file usually contains credentials, by its name or folder."""
    name = path.rpartition("/")[2]
    return name in _SECRETS or name.lower().endswith(_SECRET_ENDINGS) or any(part in path for part in _SECRET_PARTS)


def is_output(path: str, *, media: bool = False) -> bool:
    """Return whether a file looks like a result of the app's use; with `media`, only sound, pictures and films."""
    return path.lower().endswith(_MEDIA if media else _OUTPUTS)


def is_code(path: str) -> bool:
    """Return whether a file is code, whose opens are not logged."""
    name = path.rpartition("/")[2]
    return name.endswith(CODE) or ".so." in name
