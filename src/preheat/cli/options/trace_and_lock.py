"""Options of `trace`, `lock`, `recipes` and `completion`."""

import argparse
from collections.abc import Callable

from preheat.cli.options.connection_options import add_scan_option

Build = Callable[[argparse.ArgumentParser], None]


def recipe_verbs(app: Build, add_hub_options: Build) -> tuple[tuple[str, str, Build, str], ...]:
    """Return the verbs: name, help, function that adds the options, examples. The arguments add shared options."""

    def trace(verb: argparse.ArgumentParser) -> None:
        _trace(verb)
        add_hub_options(verb)
        add_scan_option(verb)

    def lock(verb: argparse.ArgumentParser) -> None:
        app(verb)
        _lock(verb)
        add_hub_options(verb)

    return (
        (
            "trace",
            "start an app once, and write the models that it needs to preheat.toml and preheat.lock",
            trace,
            """\
  preheat trace -- python webui.py               ends once the app is ready, or with Ctrl-C
  preheat trace -o webui.toml -- bash start_app.sh
  preheat trace --first 'exec:python say.py hello' -- python webui.py""",
        ),
        (
            "lock",
            "pin the models that an app needs to commits, sizes and digests, in preheat.lock",
            lock,
            """\
  preheat lock                                   pin the current commits for ./preheat.toml
  preheat lock --check                           exit status 8 if anything has changed since
  preheat lock --check --replay                  exit status 8 if the app does not start without a network""",
        ),
        (
            "recipes",
            "list the built-in recipes, or show one",
            _recipes,
            """\
  preheat recipes
  preheat recipes vllm > preheat.toml            start your own from it
  preheat recipes --form                         all fields, with comments
  preheat pull indextts2 --dir ~/index-tts       use one unchanged""",
        ),
        (
            "completion",
            "print the completion of verbs and options for a shell",
            _completion,
            """\
  eval "$(preheat completion bash)"              in ~/.bashrc
  preheat completion zsh > ~/.zfunc/_preheat     a folder of fpath
  preheat completion fish > ~/.config/fish/completions/preheat.fish""",
        ),
    )


def _trace(verb: argparse.ArgumentParser) -> None:
    verb.usage = "preheat trace [-o preheat.toml] [options] -- CMD ..."
    verb.add_argument(
        "-o", "--output", metavar="FILE", help="the recipe to write, with its lock next to it (default preheat.toml)"
    )
    verb.add_argument("--force", action="store_true", help="overwrite an existing recipe")
    verb.add_argument("--name", metavar="NAME", help="the app's name (default: the folder's name)")
    verb.add_argument(
        "--ready",
        metavar="PROBE",
        help="readiness probe (default: a page at / of one of its ports, else the port itself)",
    )
    verb.add_argument(
        "--first", metavar="EXEC", help="first use, once it is ready: exec:CMD; many models are loaded only then"
    )
    verb.add_argument("--settle", default="5s", metavar="TIME", help="keep tracing for TIME after that (default 5s)")
    verb.add_argument(
        "--ready-within", default="30m", metavar="TIME", help="give up if it is not ready by then (default 30m)"
    )
    verb.add_argument(
        "--opens",
        choices=("fanotify", "strace", "proc"),
        help="how to trace files opened by native code (default: the first one that is permitted)",
    )
    verb.add_argument(
        "--no-replay", action="store_true", help="do not start the app from its recipe again, without a network"
    )
    verb.add_argument(
        "--intercept",
        action="store_true",
        help="lead the app through a local proxy, to see what curl, wget, git and other native programs download",
    )
    verb.add_argument("--keep-unread", action="store_true", help="keep files that the app downloaded but never opened")


def _lock(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--check", action="store_true", help="write nothing; report changes, with exit status 8 if there are any"
    )
    verb.add_argument(
        "--replay",
        action="store_true",
        help="with --check: ask no hub, but start the app from its lock and the library alone, without a network",
    )


def _recipes(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("name", nargs="?", metavar="NAME", help="print this recipe as a preheat.toml")
    group = verb.add_mutually_exclusive_group()
    group.add_argument("--form", action="store_true", help="print a preheat.toml with every field, each with a comment")
    group.add_argument("--schema", action="store_true", help="print the JSON schema of a preheat.toml, for editors")


def _completion(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("shell", choices=["bash", "zsh", "fish"], help="the shell")
