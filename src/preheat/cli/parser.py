"""Parser: the command line, as an argparse parser. Imports nothing heavy, since --help needs nothing more."""

import argparse
from typing import NoReturn

from preheat import __version__
from preheat.cli.options.build import imaging
from preheat.cli.options.connection_options import asking, pulling
from preheat.cli.options.mirror import EXAMPLES, mirroring
from preheat.cli.options.prove import proving
from preheat.cli.options.trace_and_lock import describing
from preheat.cli.options.upkeep import upkeep
from preheat.core.errors import UsageError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; it raises UsageError instead of exiting."""
    form = argparse.RawDescriptionHelpFormatter
    whole = _Parser(
        prog="preheat",
        description="Model weights ready ahead: pull them once, start any app from them in seconds, offline.",
        epilog="""\
examples:
  preheat pull openai/whisper-tiny.en            fetch a model, verified, over many connections
  preheat run -- python webui.py                 start an app offline on what was pulled
  preheat mirror --listen 0.0.0.0:8000           serve the library to the room: HF_ENDPOINT=http://HOST:8000
  preheat prove preheat.toml                     start it cold and preloaded, and say what was gained

`preheat VERB --help` says more. Documentation: docs/ and README.md.""",
        formatter_class=form,
    )
    whole.add_argument("--version", action="version", version=f"preheat {__version__}")
    everywhere = _everywhere()
    verbs = whole.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, words, build, examples in _VERBS:
        verb = verbs.add_parser(
            name,
            help=words,
            description=f"{words[0].upper()}{words[1:]}.",
            epilog=f"examples:\n{examples}",
            formatter_class=form,
            parents=[everywhere],
        )
        build(verb)
    return whole


def _everywhere() -> _Parser:
    shared = _Parser(add_help=False)
    group = shared.add_argument_group("everywhere")
    group.add_argument(
        "--library", metavar="DIR", help="where models are kept (PREHEAT_LIBRARY; default: the user's data folder)"
    )
    group.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    group.add_argument("--events", metavar="FILE", help="write the JSON objects to FILE, beside what is said here")
    group.add_argument("-q", "--quiet", dest="loud", action="store_const", const=0, default=1, help="say errors only")
    group.add_argument("-v", "--verbose", dest="loud", action="store_const", const=2, help="say more")
    return shared


def _ground(verb: argparse.ArgumentParser) -> None:
    group = verb.add_mutually_exclusive_group()
    group.add_argument(
        "--replace",
        action="store_true",
        help="move files aside that lie in a view's place and are not preheat's (NAME.before-preheat)",
    )
    group.add_argument("--keep", action="store_true", help="leave such files, and place the rest of the view")
    verb.add_argument(
        "--allow-place",
        action="append",
        default=[],
        metavar="DIR",
        help="let a view lie there too, outside the app's folder; repeatable",
    )


def _placing(verb: argparse.ArgumentParser) -> None:
    _ground(verb)
    verb.add_argument(
        "--link",
        choices=["auto", "reflink", "hardlink", "symlink", "copy"],
        default="auto",
        help="how a view has the library's bytes (default auto: the first of them that works)",
    )


def _pull(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "what",
        nargs="+",
        metavar="REF|APP",
        help="a model (owner/name[@revision], file:DIR), a preheat.toml or a built-in recipe",
    )
    _dir(verb)
    verb.add_argument("--files", action="append", default=[], metavar="GLOB", help="only files that match; repeatable")
    verb.add_argument("--view", action="append", default=[], metavar="KIND=DIR", help="place a view: hf-cache=DIR")
    verb.add_argument(
        "--dry-run", action="store_true", help="say what would come, whether it fits and how long it would take"
    )
    _locked(verb)
    _placing(verb)
    pulling(verb)


def _locked(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--locked", action="store_true", help="end with 8 if the lock is stale or not there")


def _app(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "app", nargs="?", metavar="APP", help="a preheat.toml (default: the one in this folder) or a built-in recipe"
    )
    _dir(verb)


def _dir(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--dir", metavar="DIR", help="where the app of a built-in recipe lies (default: this folder)")


def _run_verb(verb: argparse.ArgumentParser) -> None:
    _app(verb)
    verb.usage = "preheat run [APP] [options] [-- CMD ...]"
    verb.add_argument("--pull", action="store_true", help="pull first what is not in the library")
    _locked(verb)
    verb.add_argument("--ready", metavar="PROBE", help="when it is ready: http://…, tcp:PORT, line:REGEX or exec:CMD")
    verb.add_argument("--alive", metavar="PROBE", help="whether, once ready, it still answers (default: as --ready)")
    verb.add_argument("--hang-after", metavar="TIME", help="start it anew when it has not answered for so long")
    verb.add_argument(
        "--ready-within", default="10m", metavar="TIME", help="give up if it is not ready by then (default 10m)"
    )
    verb.add_argument("--stop-within", default="10s", metavar="TIME", help="time to stop in peace (default 10s)")
    verb.add_argument("--max-restarts", type=int, default=3, metavar="N", help="restarts after crashes (default 3)")
    verb.add_argument("--status", metavar="ADDR", help="answer /livez /readyz /startupz /metrics and a page there")
    verb.add_argument(
        "--front", metavar="ADDR", help="hold the app's public port; the app listens on {port}, put into its words"
    )
    verb.add_argument(
        "--standby", action="store_true", help="keep a second instance loaded, to take over (needs --front)"
    )
    verb.add_argument(
        "--drain-within", default="30s", metavar="TIME", help="time for one that leaves to finish (default 30s)"
    )
    verb.add_argument("--warm", metavar="FILE", help="bring the files listed there into the page cache first")
    verb.add_argument(
        "--no-warm-up", dest="warm_up", action="store_false", help="leave the recipe's weights where they are"
    )
    verb.add_argument(
        "--mmap-weights",
        action="store_true",
        help="have torch map checkpoints instead of copying them into memory (torch 2.1 or later)",
    )
    verb.add_argument(
        "--network",
        choices=["free", "watch", "none"],
        default="free",
        help="watch: count what it tries to reach; none: that, and a network of its own with nobody in it",
    )
    _placing(verb)
    pulling(verb)


def _serve_config(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("kind", choices=["systemd", "compose"], help="a unit file, or a compose file")
    _app(verb)
    _ground(verb)
    verb.add_argument("--image", default="python:3.11-slim", metavar="IMAGE", help="what compose runs it in")
    verb.add_argument("--status", default="127.0.0.1:7861", metavar="ADDR", help="the guard's status address")
    verb.add_argument("--front", metavar="ADDR", help="have the guard hold the app's public port, as `run` does")
    verb.add_argument("--ready-within", default="10m", metavar="TIME", help="as `run` (default 10m)")
    verb.add_argument("--stop-within", default="10s", metavar="TIME", help="as `run` (default 10s)")


def _view(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "kind",
        metavar="KIND",
        help="the layout: hf-cache, local-dir, modelscope, modelscope-old, flat, whisper or torch-hub",
    )
    verb.add_argument("at", metavar="DIR", help="the folder to place it in")
    verb.add_argument("refs", nargs="+", metavar="REF", help="a model that is in the library")
    verb.add_argument("--files", action="append", default=[], metavar="GLOB", help="only files that match; repeatable")
    _placing(verb)


_VERBS = (
    (
        "pull",
        "fetch what is missing of a model, verify it, keep it",
        _pull,
        """\
  preheat pull openai/whisper-tiny.en
  preheat pull hf:IndexTeam/IndexTTS-2@740dcaff396282ffb241903d150ac011cd4b1ede --files '*.pth' --files '*.yaml'
  preheat pull openai/whisper-tiny.en --endpoint hf=http://mirror.lan:8000 --view hf-cache=./cache
  preheat pull indextts2 --replace               move files of yours that are in the way to NAME.before-preheat""",
    ),
    (
        "run",
        "start an app offline on what the library has; watch it, restart it",
        _run_verb,
        """\
  preheat run                                    the app that ./preheat.toml describes
  preheat run examples/speech_webui/preheat.toml --pull
  preheat run --ready tcp:7860 -- python webui.py
  preheat run indextts2 --keep                   with your own gpt.pth or config.yaml, where you changed one
  preheat run --front 0.0.0.0:7860 --standby -- python webui.py --port {port}""",
    ),
    (
        "serve-config",
        "write a systemd unit or a compose file for an app",
        _serve_config,
        """\
  preheat serve-config systemd preheat.toml > ~/.config/systemd/user/webui.service
  preheat serve-config compose preheat.toml --image my/webui:1 > compose.yaml""",
    ),
    (
        "view",
        "lay models of the library out as other programs look for them",
        _view,
        """\
  preheat view hf-cache ./cache openai/whisper-tiny.en
  preheat view modelscope-old ~/.cache/modelscope/hub ms:iic/SenseVoiceSmall
  preheat view flat ./checkpoints hf:IndexTeam/IndexTTS-2 --link reflink""",
    ),
    (
        "mirror",
        "serve the library, and plain folders, as the hubs do; fetch what is not here, once for all",
        mirroring,
        EXAMPLES,
    ),
    *describing(_app, asking),
    *imaging(),
    *proving(_app, pulling, _ground),
    *upkeep(pulling),
)
