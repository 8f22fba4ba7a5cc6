"""Config: the environment variables that preheat reads, read once and in one place."""

import contextlib
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from preheat.core.errors import UsageError

HUGGING_FACE_ENDPOINT = "https://huggingface.co"
MODELSCOPE_ENDPOINT = "https://modelscope.cn"

# What is read, and what it means; docs/config.md is made of it, and a test holds it to `read_config`.
VARIABLES = {
    "PREHEAT_LIBRARY": "where models are kept, unless `--library` says; default `preheat/library` in the user's data",
    "HF_ENDPOINT": f"the Hugging Face hub to ask, unless `--endpoint hf=URL` says; default `{HUGGING_FACE_ENDPOINT}`",
    "HF_TOKEN": "the token for it",
    "HUGGING_FACE_HUB_TOKEN": "the same, by its older name",
    "HF_TOKEN_PATH": "the file that has the token, when neither is set; default `token` in `HF_HOME`",
    "HF_HOME": "where Hugging Face's tools keep theirs; default `huggingface` in `XDG_CACHE_HOME`",
    "MODELSCOPE_ENDPOINT": f"the ModelScope hub, unless `--endpoint ms=URL` says; default `{MODELSCOPE_ENDPOINT}`",
    "MODELSCOPE_API_TOKEN": "the token for it",
    "PREHEAT_MIRROR_TOKEN": "what `mirror` lets clients in by, beside those of `--token-file`; default: all may",
    "HOME": "the user's home folder; default what passwd(5) says",
    "XDG_CACHE_HOME": "the user's caches; default `~/.cache`",
    "XDG_CONFIG_HOME": "the user's settings, where `containers/auth.json` may lie; default `~/.config`",
    "HTTP_PROXY": "the proxy for `http:` addresses; like the next three, lower case is read too, and wins",
    "HTTPS_PROXY": "the proxy for `https:` addresses",
    "ALL_PROXY": "the proxy for what neither names; all three are described in [Behind a proxy](#behind-a-proxy)",
    "NO_PROXY": "hosts to reach without a proxy, separated by commas or spaces",
    "DOCKER_CONFIG": "the folder with docker's `config.json`, for registries' logins; default `~/.docker`",
    "REGISTRY_AUTH_FILE": "a file with registries' logins, as podman and skopeo write it; asked first",
    "XDG_RUNTIME_DIR": "where `containers/auth.json` lies, with the logins of podman and skopeo",
    "SSL_CERT_FILE": "a file of certificates to trust instead of the system's",
    "REQUESTS_CA_BUNDLE": "the same, where `SSL_CERT_FILE` is not set, as for requests and older `hf`",
    "CURL_CA_BUNDLE": "the same, where neither is set, as for curl",
}

CA_FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True)
class Config:
    """Where the library lies, and what cannot lie there (`state`); whom to ask, with which token, through which proxy.

    Both are None where no variable names them and the user has no home folder: neither HOME nor an entry in passwd(5).

    `proxies` maps `http`, `https`, `all` and `no` as the variables `http_proxy` … `no_proxy` do.
    `logins` are the files that may have registries' logins. `environ` is the whole environment, for the programs that
    are started.
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


def read_config(environ: Mapping[str, str] | None = None) -> Config:
    """Read the environment (`environ`, default the process's own); of disk, HF's token file and CA files alone.

    Raise UsageError for a token that cannot be one.
    """
    env = os.environ if environ is None else environ
    # requests takes a folder too, which is left to it.
    others = (env[name] for name in CA_FILES[1:] if Path(env.get(name) or "/").is_file())
    ca_file = env.get(CA_FILES[0]) or next(others, None)
    home = _home(env)
    tokens = {"hf": _token(env, home), "ms": _modelscope_token(env)}
    return Config(
        library=_library(env, home),
        state=platformdirs.user_state_path("preheat") if home or env.get("XDG_STATE_HOME") else None,
        endpoints={
            "hf": (env.get("HF_ENDPOINT") or HUGGING_FACE_ENDPOINT,),
            "ms": (env.get("MODELSCOPE_ENDPOINT") or MODELSCOPE_ENDPOINT,),
        },
        tokens={hub: token for hub, token in tokens.items() if token},
        proxies=_proxies(env),
        ca_file=Path(ca_file) if ca_file else None,
        logins=_logins(env, home),
        environ=dict(env),
        mirror_token=(env.get("PREHEAT_MIRROR_TOKEN") or "").strip(),
    )


def _proxies(env: Mapping[str, str]) -> dict[str, str]:
    """Read `http_proxy` and its like. Lower case wins, also when it is empty.

    In a CGI program, `HTTP_PROXY` is what a client's `Proxy:` header said: CVE-2016-1000110.
    """
    found = {}
    for scheme in ("http", "https", "all", "no"):
        lower = env.get(f"{scheme}_proxy")
        by_client = scheme == "http" and env.get("REQUEST_METHOD")
        found[scheme] = env.get(f"{scheme}_proxy".upper()) if lower is None and not by_client else lower
    return {scheme: value for scheme, value in found.items() if value}


def _home(env: Mapping[str, str]) -> Path | None:
    """Return the user's home folder: what HOME says, else passwd(5); None where neither names one."""
    if env.get("HOME"):
        return Path(env["HOME"])
    with contextlib.suppress(KeyError):
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    return None


def _library(env: Mapping[str, str], home: Path | None) -> Path | None:
    if env.get("PREHEAT_LIBRARY"):
        return Path(env["PREHEAT_LIBRARY"])
    return platformdirs.user_data_path("preheat") / "library" if home or env.get("XDG_DATA_HOME") else None


def _below(env: Mapping[str, str], variable: str, home: Path | None, folder: str) -> list[Path]:
    """Return the folder that a variable names, else the one in the user's home; nothing without a home."""
    if env.get(variable):
        return [Path(env[variable])]
    return [] if home is None else [home / folder]


def _logins(env: Mapping[str, str], home: Path | None) -> tuple[Path, ...]:
    """Say where logins may be: containers-auth.json(5), docker's config.json."""
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
        # The HTTP client would say so too, and would say the token.
        raise UsageError(f"{what} holds what no token can", hint=hint)
    return token


def _token_file(env: Mapping[str, str], home: Path | None) -> str:
    """Read the token that `hf auth login` keeps: huggingface_hub/constants.py, HF_TOKEN_PATH."""
    caches = [folder / "huggingface" for folder in _below(env, "XDG_CACHE_HOME", home, ".cache")]
    places = [Path(env["HF_HOME"])] if env.get("HF_HOME") else caches
    files = [Path(env["HF_TOKEN_PATH"])] if env.get("HF_TOKEN_PATH") else [place / "token" for place in places]
    try:
        return files[0].read_text(encoding="utf-8") if files else ""
    except (OSError, UnicodeDecodeError):
        return ""
