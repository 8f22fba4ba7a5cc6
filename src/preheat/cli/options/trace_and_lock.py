"""Options of `trace`, `lock` and `recipes`."""

import argparse
from collections.abc import Callable

Build = Callable[[argparse.ArgumentParser], None]


def describing(app: Build, asking: Build) -> tuple[tuple[str, str, Build, str], ...]:
    """List the verbs: name, what it does, what adds its words, examples. `app` and `asking` add words they share."""

    def trace(verb: argparse.ArgumentParser) -> None:
        _trace(verb)
        asking(verb)

    def lock(verb: argparse.ArgumentParser) -> None:
        app(verb)
        _lock(verb)
        asking(verb)

    return (
        (
            "trace",
            "start an app once, and write down what it needs: preheat.toml and preheat.lock",
            trace,
            """\
  preheat trace -- python webui.py               stops it when it is ready; Ctrl-C when you have used it
  preheat trace -o webui.toml -- bash start_app.sh
  preheat trace --first 'exec:python say.py hello' -- python webui.py""",
        ),
        (
            "lock",
            "pin what an app needs to commits, sizes and digests, in preheat.lock",
            lock,
            """\
  preheat lock                                   pin what ./preheat.toml means now
  preheat lock --check                           what has moved since? 8 if anything has""",
        ),
        (
            "recipes",
            "list the apps whose recipes come with preheat, or show one",
            _recipes,
            """\
  preheat recipes
  preheat recipes vllm > preheat.toml            begin your own with it
  preheat pull indextts2 --dir ~/index-tts       use one as it is""",
        ),
    )


def _trace(verb: argparse.ArgumentParser) -> None:
    verb.usage = "preheat trace [-o preheat.toml] [options] -- CMD ..."
    verb.add_argument("-o", "--output", metavar="FILE", help="the recipe to write (default preheat.toml); its lock too")
    verb.add_argument("--force", action="store_true", help="write over a recipe that is there")
    verb.add_argument("--name", metavar="NAME", help="what the app is called (default: the folder's name)")
    verb.add_argument("--ready", metavar="PROBE", help="when it is ready (default: when a port of its answers)")
    verb.add_argument("--first", metavar="EXEC", help="use it once then: exec:CMD; much is loaded only at first use")
    verb.add_argument("--settle", default="5s", metavar="TIME", help="watch so long after that (default 5s)")
    verb.add_argument(
        "--ready-within", default="30m", metavar="TIME", help="give up if it is not ready by then (default 30m)"
    )
    verb.add_argument(
        "--opens",
        choices=("fanotify", "strace", "proc"),
        help="by which means to see what native code opens (default: the first of them that is permitted)",
    )
    verb.add_argument("--keep-unread", action="store_true", help="keep what it downloaded and never opened")


def _lock(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--check", action="store_true", help="write nothing; say what has moved, and end with 8 if it has"
    )


def _recipes(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("name", nargs="?", metavar="NAME", help="show this one, as a preheat.toml")
