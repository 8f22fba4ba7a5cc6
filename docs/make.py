"""Make: the documents that come from the code. With `--check`, only report which are stale."""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import chinese
from draw_life import lives
from draw_start import pictures
from fold_apps import fold_apps
from programs import programs
from tree import architecture, modules

from preheat.cli.help_texts import translate_help
from preheat.cli.parser import parser
from preheat.config import VARIABLES
from preheat.core import errors
from preheat.core.translations import CHINESE, ENGLISH
from preheat.proof.report.json_figures import schema
from preheat.recipes.offline_env import KNOWN, SWITCHES

HERE = Path(__file__).resolve().parent
NOTE = "<!-- Made from the code by docs/make.py: change it there. -->\n"

CLI = """\
`preheat VERB …`; after a bare `--` comes the app's own command, which preheat does not parse. Messages for people go to
stderr, results to stdout. With `--json`, stdout is one JSON object per line, each with `event`; the last is `done` with
the verb's figures, or `error` with `kind`, `message` and `hint`. `run` leaves stdout to its app, and writes the objects
to stderr; `--events FILE` writes them to a file, with or without `--json`. Sizes are decimal bytes (`50M` is
50,000,000), rates are bytes per second, times are `40ms`, `3s`, `2m`, `1h`.

## If a server is late or restarts, or the line is interrupted

- `--connect-timeout` and `--read-timeout` limit the wait for a connection and for the first byte. No byte is requested
  twice for it.
- A hub or registry that has responded to this command before may be unreachable for `--patience`. The command retries
  over one connection, at most 5 seconds apart, and counts down: on a terminal in the line of the progress bar,
  elsewhere in a line every 15 seconds, with `--json` in an event `away` every second (`what`, `reason`, `wait_s` to
  the next attempt, `left_s` until it gives up). Then it ends with status 3 (a registry: 6), all bytes that arrived are
  kept, and the next pull continues.
- A server that never responded fails at once: most likely its address is wrong or this machine is offline. A refused
  connection or a name without an address is retried for about 6 seconds; an address that does not respond costs one
  timeout.
- `Retry-After` is honoured for as long as patience lasts; a longer one is an error at once, with the time to wait.

## The man page

An installation has one below its environment: `share/man/man1/preheat.1`. `man preheat` finds it after `pip install`
into an environment that is active, and after `pipx install` by pipx 1.3 or later. After an older pipx, type
`man "$(pipx environment --value PIPX_LOCAL_VENVS)/preheat/share/man/man1/preheat.1"`.
`preheat help VERB` prints the same for one verb.

Exit statuses: [exit-codes.md](exit-codes.md). Environment: [config.md](config.md). Recipes: [recipes.md](recipes.md).
"""

ERRORS = """\
Sorted by cause. With `--json`, an error's `kind` is the name in the second column.
"""

STATUSES = ("| status | kind | when |", "|---|---|---|", "| 0 | | done |")
ENDS = (
    "| 130 | | interrupted with Ctrl-C; temporary files are removed, and the hint names what is kept |",
    "| 143 | | the same by SIGTERM; `mirror` stops gracefully after either signal, and ends with 0 |",
    "| 128 + N | | `run` only: signal N asked it to stop its app (143: SIGTERM) |",
)
RUN = """
`run` ends with 0 if the app ended with 0. If the app ended otherwise, it is restarted; if no restart is
left, or the app was never ready, or could not be started, that is an `AppError`. A traceback is a bug in preheat, with
status 1.
"""

READ = """\
There is no configuration file except the app's own [preheat.toml](recipes.md). Options take precedence over
variables. An empty variable counts as unset.

## Variables that preheat reads

| variable | meaning |
|---|---|"""

SET = """
Python packages that preheat uses read more variables. `XDG_DATA_HOME` moves the user's data (default
`~/.local/share`). `XDG_STATE_HOME` moves files that do not belong in the library (default `~/.local/state`): views of a
library that cannot be written, notes of running apps and mirrors, the parts of measured starts for [doctor](doctor.md),
journals of files that a proof has moved or [fold](fold.md) has replaced by links, and the hashes that `fold` remembers.
`NO_COLOR`, `FORCE_COLOR`, `TERM` and `COLUMNS` describe the terminal.

`LC_ALL`, `LC_MESSAGES` and `LANG` select the language of `--help`: English or Chinese.

Some verbs read more: `pull` the caches that `HF_HUB_CACHE`, `MODELSCOPE_CACHE` and `TORCH_HOME` name; `run`, `prove`,
`doctor` and `serve-config systemd` the CRIU of [memory snapshots](memory-snapshots.md) that `PREHEAT_CRIU` names;
`fold` the variables in its [table of apps](fold.md#apps-and-the-links-that-are-safe-for-each). `build` writes archives
for podman and docker to `TMPDIR` (default `/var/tmp`). `push` and `pull --from` log in to
[object stores](stores.md#logins) by the variables of their services.

## Behind a proxy

`https_proxy`, `http_proxy` and `all_proxy` name the proxy for pulls, a mirror's upstreams, registries and `trace`:

```sh
export https_proxy=http://USER:PASSWORD@proxy.example:3128   # http:// may be left out
export no_proxy=localhost,127.0.0.1,.corp.example,10.0.0.0/8
```

- The address begins with `http://`, `https://` (TLS to the proxy), `socks5://` (names are looked up here) or
  `socks5h://` (by the proxy; `socks://` is the same). SOCKS needs PySocks: the extra `socks`.
- In a password, `@` is `%40`, `:` is `%3A`, `/` is `%2F` and `%` is `%25`. It is sent to the proxy and never printed.
- `https:` addresses go through a tunnel (CONNECT): the proxy sees the host's name and the amount of bytes, no more. A
  proxy that opens TLS needs its CA's file in `SSL_CERT_FILE`.
- `no_proxy` contains names (`corp.example` and `.corp.example` both include all below), addresses, nets and patterns
  (`*.corp.example`), each with or without a port; `*` is every host. The target of a redirect is checked separately.
- An app that requests its own page needs `localhost` in `no_proxy`: `run` and `trace` add it.
- The guard's probes never use a proxy. A mirror's check of redirects into your network examines the addresses in
  URLs; it cannot check how a proxy resolves a name.
- In a CGI program (`REQUEST_METHOD` is set), `HTTP_PROXY` in upper case is not read, as a client could set it.

Errors name the proxy and the variable. Status 407 means that a user and a password are missing or wrong.

## Variables that `run` sets for the app

All other variables are passed on unchanged, tokens included. The recipe's `env` is set last, and takes precedence.
[offline.md](offline.md) lists the libraries that read each switch.

| variable | value |
|---|---|"""

OFFLINE = """\
`preheat run`, the offline starts of `preheat prove`, and images by `preheat build` set these variables for the app.
Each was looked up in the released package in the last column. The recipe's `env` is set last: an app that needs
its telemetry or its tracking server can have it there. With `hub = true` in the recipe, the switches that stop all
requests to a hub are left out.

A switch depends on the library. `preheat run --network watch` counts the app's outbound attempts
([definition](guard.md#without-a-network)), and `--network none` blocks them.
"""

NO_SWITCH = """
## Without a variable

| library | does | instead |
|---|---|---|
| modelscope 1.40 | its clients ask the hub at every call | `local_files_only=True` in the app, or a `flat` view |
| kagglehub 1.0 | downloads when called | place the files by a recipe |
| nltk 3.10 | downloads when `nltk.download` is called | `NLTK_DATA`, with the data in place |
| dvc 3.67 | looks for updates | `dvc config core.check_update false` |
| comet_ml 3.58 | uploads experiments | `comet_ml.OfflineExperiment` in the app |
"""

PROVE = """\
| `NO_PROXY`, `no_proxy` | as before, and `localhost`, `127.0.0.1`, `::1` |
| `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE` | the folder of the app's view, if it has one |

`prove` sets the same for all starts except cold ones, which get none of them. For all starts, `HF_HOME`,
`MODELSCOPE_CACHE`, `TORCH_HOME` and `XDG_CACHE_HOME` are new folders, `HF_ENDPOINT` and `MODELSCOPE_ENDPOINT` are the
endpoints of the proof, and `PYTHONPATH` begins with the folder of the stopwatch ([proof.md](proof.md)).
"""


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--check", action="store_true", help="change nothing; status 1 when a document is stale")
    check = words.parse_args().check
    stale = []
    for name, make in DOCUMENTS.items():
        # JSON has no room for a note, and some documents are made in parts.
        note = f"{NOTE}\n" if name.endswith(".md") and name not in ("ARCHITECTURE.md", "trace.md", "fold.md") else ""
        path, text = HERE / name, note + "\n".join(make()).rstrip("\n") + "\n"
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text, encoding="utf-8", newline="\n")
    if check and stale:
        print(f"stale: {', '.join(stale)}; update them: .venv/bin/python docs/make.py", file=sys.stderr)
        return 1
    return 0


def other_language(name: str, language: str) -> tuple[str, str]:
    """Return the line that leads to the same page in the other language."""
    if language == CHINESE:
        return f"[English](../{name}) · **简体中文**", ""
    return f"**English** · [简体中文](zh-CN/{name})", ""


# ---- cli.md


def cli(language: str = ENGLISH) -> Iterator[str]:
    whole, chinese_too = parser(), language == CHINESE
    if chinese_too:
        translate_help(whole, CHINESE)
    yield from ("# 命令行" if chinese_too else "# The command line", "", *other_language("cli.md", language))
    yield from (str(whole.description), "", chinese.CLI if chinese_too else CLI)
    [verbs] = [action for action in whole._actions if isinstance(action, argparse._SubParsersAction)]
    groups = next(iter(verbs.choices.values()))._action_groups
    [everywhere] = [group for group in groups if "library" in {action.dest for action in group._group_actions}]
    yield from ("## 通用选项" if chinese_too else "## Everywhere", "")
    yield from (*options(everywhere._group_actions, language), "")
    shared = {action.dest for action in everywhere._group_actions}
    for name, verb in verbs.choices.items():
        own = [action for action in verb._actions if action.dest not in shared]
        yield from (f"## preheat {name}", "", str(verb.description), "", "```console", f"$ {usage(verb)}", "```", "")
        yield from (*options(own, language), *([""] if own else []), "例如：" if chinese_too else "For example:", "")
        yield "```console"
        # What continues a line is indented further.
        lines = (line for line in str(verb.epilog).splitlines()[1:])
        yield from (one if one[2:3] == " " else re.sub(r"\s{3,}", "   # ", f"$ {one[2:]}") for one in lines)
        yield from ("```", "")


def usage(verb: argparse.ArgumentParser) -> str:
    if verb.usage:
        return verb.usage
    words = []
    for action in verb._actions:
        if not action.option_strings:
            name = value(action)
            shown = {"+": f"{name} [{name} ...]", "*": f"[{name} ...]", "?": f"[{name}]"}
            words.append(shown.get(str(action.nargs), name))
    return " ".join((verb.prog, *words, "[options]"))


def value(action: argparse.Action) -> str:
    """Return the name of an action's value, or its choices as `{one|other}`."""
    return str(action.metavar or "{" + "|".join(action.choices or ()) + "}")


def options(actions: list[argparse.Action], language: str) -> Iterator[str]:
    actions = [action for action in actions if not isinstance(action, argparse._HelpAction)]
    if actions:
        yield from ("| 写法 | 含义 |" if language == CHINESE else "| word | means |", "|---|---|")
    for action in actions:
        said = value(action).replace("|", "\\|")
        after = "" if action.nargs == 0 else f" [{said}]" if action.nargs == "?" else f" {said}"
        names = [f"`{name}{after}`" for name in action.option_strings] or [f"`{said}`"]
        means = (action.help or "") % {"default": action.default}
        yield f"| {('、' if language == CHINESE else ', ').join(names)} | {means} |"


# ---- exit-codes.md


def exit_codes(language: str = ENGLISH) -> Iterator[str]:
    chinese_too = language == CHINESE
    yield from ("# 退出码和错误" if chinese_too else "# Exit statuses and errors", "")
    yield from (*other_language("exit-codes.md", language), chinese.ERRORS if chinese_too else ERRORS)
    yield from (("| 状态 | kind | 什么时候 |", "|---|---|---|", "| 0 | | 完成 |") if chinese_too else STATUSES)
    yield from sorted(rows(errors.PreheatError, language), key=lambda row: int(row.split("|")[1]))
    yield from (chinese.ENDS if chinese_too else ENDS)
    yield chinese.RUN if chinese_too else RUN


def rows(kind: type[errors.PreheatError], language: str, depth: int = 0) -> Iterator[str]:
    when = (kind.__doc__ or "").splitlines()[0].partition(". ")[0].rstrip(".")
    if kind is errors.PreheatError:
        when = "any other error"
    when = chinese.WHEN[kind.__name__] if language == CHINESE else f"{when[0].lower()}{when[1:]}"
    yield f"| {kind.exit_status} | {'· ' * (depth - 1)}`{kind.__name__}` | {when} |"
    for more in kind.__subclasses__():
        yield from rows(more, language, depth + 1)


# ---- config.md


def config(language: str = ENGLISH) -> Iterator[str]:
    chinese_too = language == CHINESE
    yield from ("# 环境变量" if chinese_too else "# The environment", "", *other_language("config.md", language))
    yield chinese.READ if chinese_too else READ
    for name, means in VARIABLES.items():
        yield f"| `{name}` | {chinese.VARIABLES[name] if chinese_too else means} |"
    yield chinese.SET if chinese_too else SET
    yield from (f"| `{name}` | `{value}` |" for name, value in SWITCHES.items())
    yield chinese.PROVE if chinese_too else PROVE


# ---- offline.md


def offline(language: str = ENGLISH) -> Iterator[str]:
    chinese_too = language == CHINESE
    yield "# 让各个库保持离线的开关" if chinese_too else "# Switches that keep libraries offline"
    yield from ("", *other_language("offline.md", language), chinese.OFFLINE if chinese_too else OFFLINE)
    heads = "| 变量 | 库 | 切断什么 | 在哪里读 |" if chinese_too else "| variable | library | stops | read in |"
    yield from (heads, "|---|---|---|---|")
    for one in KNOWN:
        file, _, release = one.source.rpartition(", ")
        stops = chinese.STOPS[one.stops] if chinese_too else one.stops
        place = f"{release} 的 `{file}`" if chinese_too else f"`{file}` of {release}"
        yield f"| `{one.name}={one.value}` | {one.library} | {stops} | {place} |"
    yield chinese.NO_SWITCH if chinese_too else NO_SWITCH


# ---- proof-schema.json


def proof_schema() -> Iterator[str]:
    yield json.dumps(schema(), indent=2)


DOCUMENTS = {
    "cli.md": cli,
    "exit-codes.md": exit_codes,
    "config.md": config,
    "offline.md": offline,
    "proof-schema.json": proof_schema,
    "zh-CN/cli.md": lambda: cli(CHINESE),
    "zh-CN/exit-codes.md": lambda: exit_codes(CHINESE),
    "zh-CN/config.md": lambda: config(CHINESE),
    "zh-CN/offline.md": lambda: offline(CHINESE),
    "tree.md": modules,
    "ARCHITECTURE.md": architecture,
    "trace.md": programs,
    "fold.md": fold_apps,
    "pictures/start.svg": lambda: iter([pictures()["start.svg"]]),
    "pictures/start.zh-CN.svg": lambda: iter([pictures()["start.zh-CN.svg"]]),
    "pictures/life.svg": lambda: iter([lives()["life.svg"]]),
    "pictures/life.zh-CN.svg": lambda: iter([lives()["life.zh-CN.svg"]]),
}

if __name__ == "__main__":
    sys.exit(main())
