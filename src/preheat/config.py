"""Config: the environment variables that preheat reads, read once and in one place."""

import contextlib
import os
import pwd
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from preheat.core.cache_variables import hf_home
from preheat.core.errors import UsageError
from preheat.disk.regular_file import read_regular

HUGGING_FACE_ENDPOINT = "https://huggingface.co"
MODELSCOPE_ENDPOINT = "https://modelscope.cn"

# The variables that `read_config` reads. docs/config.md is generated from this; a test compares the two.
VARIABLES = {
    "PREHEAT_LIBRARY": "the library; `--library` overrides; default `preheat/library` in the user's data folder",
    "HF_ENDPOINT": f"the Hugging Face endpoint; `--endpoint hf=URL` overrides; default `{HUGGING_FACE_ENDPOINT}`",
    "HF_TOKEN": "the Hugging Face token",
    "HUGGING_FACE_HUB_TOKEN": "the older name of `HF_TOKEN`",
    "HF_TOKEN_PATH": "the file with the token, read if neither variable is set; default `token` in `HF_HOME`",
    "HF_HOME": "the folder of Hugging Face's tools; default `huggingface` in `XDG_CACHE_HOME`",
    "MODELSCOPE_ENDPOINT": f"the ModelScope endpoint; `--endpoint ms=URL` overrides; default `{MODELSCOPE_ENDPOINT}`",
    "MODELSCOPE_API_TOKEN": "the ModelScope token",
    "PREHEAT_MIRROR_TOKEN": "a token for clients of `mirror`, in addition to `--token-file`; default: none required",
    "HOME": "the user's home folder; default: the one in passwd(5)",
    "XDG_CACHE_HOME": "the user's cache folder; default `~/.cache`",
    "XDG_CONFIG_HOME": "the user's settings folder, which may contain `containers/auth.json`; default `~/.config`",
    "HTTP_PROXY": "the proxy for `http:` URLs; for this and the next three, the lower-case name takes precedence",
    "HTTPS_PROXY": "the proxy for `https:` URLs",
    "ALL_PROXY": "the proxy for URLs that neither variable covers; see [Behind a proxy](#behind-a-proxy)",
    "NO_PROXY": "hosts to connect to without a proxy, separated by commas or spaces",
    "DOCKER_CONFIG": "the folder with docker's `config.json`, for registry logins; default `~/.docker`",
    "REGISTRY_AUTH_FILE": "a file with registry logins, as podman and skopeo write it; searched first",
    "XDG_RUNTIME_DIR": "the folder that contains `containers/auth.json`, with the logins of podman and skopeo",
    "SSL_CERT_FILE": "a file of CA certificates to trust instead of the system's",
    "REQUESTS_CA_BUNDLE": "the same, if `SSL_CERT_FILE` is not set; requests and older versions of `hf` read it",
    "CURL_CA_BUNDLE": "the same, if neither of these is set; curl reads it",
}

CA_FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Config(msgspec.Struct, frozen=True):
    """The settings from the environment: folders, endpoints, tokens, proxies, certificates, registry logins.

    `state` is the folder for files that do not belong in the library. `library` and `state` are None if no variable
    names them and the user has no home folder (neither HOME nor an entry in passwd(5)). `endpoints` and `tokens` are
    by hub: `hf`, `ms`. `proxies` maps `http`, `https`, `all` and `no` to the values of `http_proxy` … `no_proxy`.
    `logins` are the files that may contain registry logins, `home` is the user's home folder. `environ` is the whole
    environment, for child processes.
    """

    library: Path | None
    state: Path | None
    endpoints: Mapping[str, tuple[str, ...]]
    tokens: Mapping[str, str]
    proxies: Mapping[str, str]
    ca_file: Path | None
    logins: tuple[Path, ...]
    environ: Mapping[str, str]
    mirror_token: str = ""
    home: Path | None = None


def read_config(environ: Mapping[str, str] | None = None) -> Config:
    """Read the settings from `environ` (default: the process's environment).

    From disk, this reads only Hugging Face's token file, and checks whether CA files exist. Raise UsageError for a
    token with invalid characters.
    """
    env = os.environ if environ is None else environ
    # For requests, the value can also be a folder; preheat ignores folders.
    others = (env[name] for name in CA_FILES[1:] if Path(env.get(name) or "/").is_file())
    ca_file = env.get(CA_FILES[0]) or next(others, None)
    home = _home(env)
    tokens = {"hf": _token(env, home), "ms": _modelscope_token(env)}
    return Config(
        library=_library(env, home),
        state=_state(env, home),
        endpoints={
            "hf": (env.get("HF_ENDPOINT") or HUGGING_FACE_ENDPOINT,),
            "ms": (env.get("MODELSCOPE_ENDPOINT") or MODELSCOPE_ENDPOINT,),
            "made": (),
        },
        tokens={hub: token for hub, token in tokens.items() if token},
        proxies=_proxies(env),
        ca_file=Path(ca_file) if ca_file else None,
        logins=_logins(env, home),
        environ=dict(env),
        mirror_token=(env.get("PREHEAT_MIRROR_TOKEN") or "").strip(),
        home=home,
    )


def language(environ: Mapping[str, str] | None = None) -> str:
    """Return the language of the user's messages, `en` or `zh`, by the first of LC_ALL, LC_MESSAGES and LANG."""
    env = os.environ if environ is None else environ
    chosen = env.get("LC_ALL") or env.get("LC_MESSAGES") or env.get("LANG") or ""
    return "zh" if chosen.lower().startswith("zh") else "en"


def _proxies(env: Mapping[str, str]) -> dict[str, str]:
    """Return the proxy settings. The lower-case variable takes precedence, even if it is empty.

    In a CGI program, `HTTP_PROXY` is the value of the client's `Proxy:` header, so ignore it: CVE-2016-1000110.
    """
    found = {}
    for scheme in ("http", "https", "all", "no"):
        lower = env.get(f"{scheme}_proxy")
        by_client = scheme == "http" and env.get("REQUEST_METHOD")
        found[scheme] = env.get(f"{scheme}_proxy".upper()) if lower is None and not by_client else lower
    return {scheme: value for scheme, value in found.items() if value}


def _home(env: Mapping[str, str]) -> Path | None:
    """Return the user's home folder from HOME or passwd(5); None if neither has one."""
    if env.get("HOME"):
        return Path(env["HOME"])
    with contextlib.suppress(KeyError):
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    return None


def _library(env: Mapping[str, str], home: Path | None) -> Path | None:
    if env.get("PREHEAT_LIBRARY"):
        return Path(env["PREHEAT_LIBRARY"])
    usual = _in_linux_home(env, "XDG_DATA_HOME", ".local/share")
    if usual is None and (home or env.get("XDG_DATA_HOME")):
        import platformdirs

        usual = platformdirs.user_data_path("preheat")
    return usual / "library" if usual is not None else None


def _state(env: Mapping[str, str], home: Path | None) -> Path | None:
    usual = _in_linux_home(env, "XDG_STATE_HOME", ".local/state")
    if usual is None and (home or env.get("XDG_STATE_HOME")):
        import platformdirs

        usual = platformdirs.user_state_path("preheat")
    return usual


def _in_linux_home(env: Mapping[str, str], variable: str, folder: str) -> Path | None:
    """Return the folder that platformdirs returns on Linux for a user with a home folder in HOME; None elsewhere.

    platformdirs takes 6 ms to import, for which each start of an app would wait.
    """
    home, named = env.get("HOME") or "", env.get(variable) or ""
    if not sys.platform.startswith("linux") or not home.startswith("/"):
        return None
    return Path(named if named.startswith("/") else f"{home.rstrip('/')}/{folder}", "preheat")


def _below(env: Mapping[str, str], variable: str, home: Path | None, folder: str) -> list[Path]:
    """Return the folder in a variable, else `folder` in the user's home; an empty list without a home."""
    if env.get(variable):
        return [Path(env[variable])]
    return [] if home is None else [home / folder]


def _logins(env: Mapping[str, str], home: Path | None) -> tuple[Path, ...]:
    """Return the files that may contain registry logins: containers-auth.json(5), docker's config.json."""
    named = [Path(env["REGISTRY_AUTH_FILE"])] if env.get("REGISTRY_AUTH_FILE") else []
    runtime = [Path(env["XDG_RUNTIME_DIR"], "containers", "auth.json")] if env.get("XDG_RUNTIME_DIR") else []
    podman = [folder / "containers" / "auth.json" for folder in _below(env, "XDG_CONFIG_HOME", home, ".config")]
    docker = [folder / "config.json" for folder in _below(env, "DOCKER_CONFIG", home, ".docker")]
    return (*named, *runtime, *podman, *docker)


def _token(env: Mapping[str, str], home: Path | None) -> str:
    token = env.get("HF_TOKEN") or env.get("HUGGING_FACE_HUB_TOKEN") or _token_file(env, home)
    return _checked(token, "the Hugging Face token", "check HF_TOKEN, or hf auth login")


def _modelscope_token(env: Mapping[str, str]) -> str:
    return _checked(env.get("MODELSCOPE_API_TOKEN") or "", "the ModelScope token", "check MODELSCOPE_API_TOKEN")


def _checked(token: str, what: str, hint: str) -> str:
    token = token.strip()
    if not all("!" <= character <= "~" for character in token):
        # The HTTP client would raise an error too, but with the token in its message.
        raise UsageError(f"{what} contains an invalid character", hint=hint)
    return token


_LARGEST_TOKEN_FILE = 64 << 10


def _token_file(env: Mapping[str, str], home: Path | None) -> str:
    """Read the token that `hf auth login` stores: huggingface_hub/constants.py, HF_TOKEN_PATH."""
    file = env.get("HF_TOKEN_PATH") or hf_home(env, home or Path("/nonexistent")) / "token"
    try:
        return read_regular(file, _LARGEST_TOKEN_FILE).decode()
    except (OSError, UnicodeDecodeError):
        return ""
