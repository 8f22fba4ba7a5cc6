"""Make: the documents that come from the code. With `--check`, only report which are stale."""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from draw_start import pictures
from fold_apps import fold_apps
from programs import programs
from tree import architecture, modules

from preheat.cli.parser import parser
from preheat.config import VARIABLES
from preheat.core import errors
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

Exit statuses: [exit-codes.md](exit-codes.md). Environment: [config.md](config.md). Recipes: [recipes.md](recipes.md).
"""

ERRORS = """\
Sorted by cause. With `--json`, an error's `kind` is the name in the second column.
"""

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
library that cannot be written, notes of running apps and mirrors, journals of files that a proof has moved or
[fold](fold.md) has replaced by links, and the hashes that `fold` remembers. `NO_COLOR`, `FORCE_COLOR`, `TERM` and
`COLUMNS` describe the terminal.

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


# ---- cli.md


def cli() -> Iterator[str]:
    whole = parser()
    yield from ("# The command line", "", str(whole.description), "")
    yield CLI
    [verbs] = [action for action in whole._actions if isinstance(action, argparse._SubParsersAction)]
    [everywhere] = [group for group in next(iter(verbs.choices.values()))._action_groups if group.title == "everywhere"]
    yield from ("## Everywhere", "", *options(everywhere._group_actions), "")
    shared = {action.dest for action in everywhere._group_actions}
    for name, verb in verbs.choices.items():
        own = [action for action in verb._actions if action.dest not in shared]
        yield from (f"## preheat {name}", "", str(verb.description), "", "```console", f"$ {usage(verb)}", "```", "")
        yield from (*options(own), *([""] if own else []), "For example:", "")
        yield "```console"
        yield from (re.sub(r"\s{3,}", "   # ", f"$ {line.strip()}") for line in str(verb.epilog).splitlines()[1:])
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


def options(actions: list[argparse.Action]) -> Iterator[str]:
    actions = [action for action in actions if not isinstance(action, argparse._HelpAction)]
    if actions:
        yield from ("| word | means |", "|---|---|")
    for action in actions:
        said = value(action).replace("|", "\\|")
        after = "" if action.nargs == 0 else f" [{said}]" if action.nargs == "?" else f" {said}"
        names = [f"`{name}{after}`" for name in action.option_strings] or [f"`{said}`"]
        yield f"| {', '.join(names)} | {(action.help or '') % {'default': action.default}} |"


# ---- exit-codes.md


def exit_codes() -> Iterator[str]:
    yield from ("# Exit statuses and errors", "")
    yield ERRORS
    yield from ("| status | kind | when |", "|---|---|---|", "| 0 | | done |")
    yield from sorted(rows(errors.PreheatError), key=lambda row: int(row.split("|")[1]))
    yield "| 130 | | interrupted with Ctrl-C; temporary files are removed, and the hint names what is kept |"
    yield "| 143 | | the same by SIGTERM; `mirror` stops gracefully after either signal, and ends with 0 |"
    yield "| 128 + N | | `run` only: signal N asked it to stop its app (143: SIGTERM) |"
    yield RUN


def rows(kind: type[errors.PreheatError], depth: int = 0) -> Iterator[str]:
    when = (kind.__doc__ or "").splitlines()[0].partition(". ")[0].rstrip(".")
    if kind is errors.PreheatError:
        when = "any other error"
    yield f"| {kind.exit_status} | {'· ' * (depth - 1)}`{kind.__name__}` | {when[0].lower()}{when[1:]} |"
    for more in kind.__subclasses__():
        yield from rows(more, depth + 1)


# ---- config.md


def config() -> Iterator[str]:
    yield from ("# The environment", "")
    yield READ
    yield from (f"| `{name}` | {means} |" for name, means in VARIABLES.items())
    yield SET
    yield from (f"| `{name}` | `{value}` |" for name, value in SWITCHES.items())
    yield PROVE


# ---- offline.md


def offline() -> Iterator[str]:
    yield from ("# Switches that keep libraries offline", "")
    yield OFFLINE
    yield from ("| variable | library | stops | read in |", "|---|---|---|---|")
    for one in KNOWN:
        file, _, release = one.source.rpartition(", ")
        yield f"| `{one.name}={one.value}` | {one.library} | {one.stops} | `{file}` of {release} |"
    yield NO_SWITCH


# ---- proof-schema.json


def proof_schema() -> Iterator[str]:
    yield json.dumps(schema(), indent=2)


DOCUMENTS = {
    "cli.md": cli,
    "exit-codes.md": exit_codes,
    "config.md": config,
    "offline.md": offline,
    "proof-schema.json": proof_schema,
    "tree.md": modules,
    "ARCHITECTURE.md": architecture,
    "trace.md": programs,
    "fold.md": fold_apps,
    "pictures/start.svg": lambda: iter([pictures()["start.svg"]]),
    "pictures/start.zh-CN.svg": lambda: iter([pictures()["start.zh-CN.svg"]]),
}

if __name__ == "__main__":
    sys.exit(main())
