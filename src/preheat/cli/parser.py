"""Parser: build the argparse parser of the command line. Imports only light modules, to keep --help fast."""

import argparse
from typing import NoReturn

from preheat import __version__
from preheat.cli.options.build import image_verbs
from preheat.cli.options.connection_options import add_download_options, add_hub_options
from preheat.cli.options.mirror import EXAMPLES, add_mirror_options
from preheat.cli.options.prove import proof_verbs
from preheat.cli.options.trace_and_lock import recipe_verbs
from preheat.cli.options.upkeep import upkeep_verbs
from preheat.core.errors import UsageError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help")


def parser(verb: str = "") -> argparse.ArgumentParser:
    """Return the parser of the whole command line; it raises UsageError instead of exiting.

    If `verb` is a verb, only its options are added: those of all verbs take 15 ms, which would delay an app's start.
    """
    form = argparse.RawDescriptionHelpFormatter
    whole = _Parser(
        prog="preheat",
        description="Preload model weights: pull them once, then start any app from them in seconds, offline.",
        epilog="""\
examples:
  preheat pull openai/whisper-tiny.en            download and verify a model over many connections
  preheat run -- python webui.py                 start an app offline with the pulled models
  preheat mirror --listen 0.0.0.0:8000           serve the library; clients set HF_ENDPOINT=http://HOST:8000
  preheat prove preheat.toml                     start it cold and preloaded, and report the speed-up

For details: preheat VERB --help. Documentation: docs/ and README.md.""",
        formatter_class=form,
    )
    whole.add_argument("--version", action="version", version=f"preheat {__version__}")
    common = _common_options()
    verbs = whole.add_subparsers(dest="verb", metavar="VERB", required=True)
    known = [one for one in _VERBS if one[0] == verb] or _VERBS
    for name, words, build, examples in known:
        one = verbs.add_parser(
            name,
            help=words,
            description=f"{words[0].upper()}{words[1:]}.",
            epilog=f"examples:\n{examples}",
            formatter_class=form,
            parents=[common],
        )
        build(one)
    return whole


def _common_options() -> _Parser:
    shared = _Parser(add_help=False)
    group = shared.add_argument_group("everywhere")
    group.add_argument(
        "--library", metavar="DIR", help="the library folder (PREHEAT_LIBRARY; default: in the user's data folder)"
    )
    group.add_argument("--json", action="store_true", help="print one JSON object per line, for programs")
    group.add_argument("--events", metavar="FILE", help="also write the JSON objects to FILE")
    group.add_argument(
        "-q", "--quiet", dest="verbosity", action="store_const", const=0, default=1, help="print only errors"
    )
    group.add_argument("-v", "--verbose", dest="verbosity", action="store_const", const=2, help="print more")
    return shared


def _add_place_options(verb: argparse.ArgumentParser) -> None:
    group = verb.add_mutually_exclusive_group()
    group.add_argument(
        "--replace",
        action="store_true",
        help="move files aside that a view needs to replace and preheat did not place (NAME.before-preheat)",
    )
    group.add_argument("--keep", action="store_true", help="keep such files, and place the rest of the view")
    verb.add_argument(
        "--allow-place",
        action="append",
        default=[],
        metavar="DIR",
        help="also allow views in DIR, outside the app's folder; repeatable",
    )


def _add_link_option(verb: argparse.ArgumentParser) -> None:
    _add_place_options(verb)
    verb.add_argument(
        "--link",
        choices=["auto", "reflink", "hardlink", "symlink", "copy"],
        default="auto",
        help="how to link a view's files to the library (default auto: the first way that works)",
    )


def _pull(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "what",
        nargs="+",
        metavar="REF|APP",
        help="a model (owner/name[@revision], file:DIR), a preheat.toml or a built-in recipe",
    )
    _add_dir_option(verb)
    verb.add_argument("--files", action="append", default=[], metavar="GLOB", help="only matching files; repeatable")
    verb.add_argument(
        "--view", action="append", default=[], metavar="KIND=DIR", help="place a view in DIR: hf-cache=DIR; repeatable"
    )
    verb.add_argument(
        "--dry-run",
        action="store_true",
        help="show download size, free disk space and estimated time; download nothing",
    )
    _add_locked_option(verb)
    _add_link_option(verb)
    add_download_options(verb)


def _add_locked_option(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--locked", action="store_true", help="fail (exit status 8) if the lock is missing or stale")


def _add_app_argument(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "app", nargs="?", metavar="APP", help="a preheat.toml (default: the one in this folder) or a built-in recipe"
    )
    _add_dir_option(verb)


def _add_dir_option(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--dir", metavar="DIR", help="the app's folder, for a built-in recipe (default: the current folder)"
    )


def _add_run_options(verb: argparse.ArgumentParser) -> None:
    _add_app_argument(verb)
    verb.usage = "preheat run [APP] [options] [-- CMD ...]"
    verb.add_argument("--pull", action="store_true", help="pull missing files first")
    _add_locked_option(verb)
    verb.add_argument("--ready", metavar="PROBE", help="readiness probe: http://…, tcp:PORT, line:REGEX or exec:CMD")
    verb.add_argument("--alive", metavar="PROBE", help="liveness probe, once ready (default: as --ready)")
    verb.add_argument("--hang-after", metavar="TIME", help="restart the app if its liveness probe fails for TIME")
    verb.add_argument(
        "--ready-within", default="10m", metavar="TIME", help="give up if it is not ready by then (default 10m)"
    )
    verb.add_argument("--stop-within", default="10s", metavar="TIME", help="grace period for stopping (default 10s)")
    verb.add_argument(
        "--max-restarts", type=int, default=3, metavar="N", help="maximum restarts after crashes (default 3)"
    )
    verb.add_argument(
        "--status", metavar="ADDR", help="serve /livez /readyz /startupz /metrics and a status page at ADDR"
    )
    verb.add_argument(
        "--front",
        metavar="ADDR",
        help="listen on the app's public port; the app listens on {port}, inserted into its command",
    )
    verb.add_argument(
        "--standby",
        action="store_true",
        help="keep a second instance loaded, to take over after a crash (needs --front)",
    )
    verb.add_argument(
        "--drain-within",
        default="30s",
        metavar="TIME",
        help="grace period for open connections of an instance that is replaced (default 30s)",
    )
    verb.add_argument("--warm", metavar="FILE", help="first read the files listed in FILE into the page cache")
    verb.add_argument(
        "--no-warm-up",
        dest="warm_up",
        action="store_false",
        help="do not read the recipe's weights into the page cache",
    )
    verb.add_argument(
        "--mmap-weights",
        action="store_true",
        help="make torch memory-map checkpoints instead of copying them (torch 2.1 or later)",
    )
    verb.add_argument(
        "--network",
        choices=["free", "watch", "none"],
        default="free",
        help="watch: count outbound attempts; none: also block them, in a network namespace with only loopback",
    )
    _add_link_option(verb)
    add_download_options(verb)


def _serve_config(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("kind", choices=["systemd", "compose"], help="a unit file, or a compose file")
    _add_app_argument(verb)
    _add_place_options(verb)
    verb.add_argument(
        "--image", default="python:3.11-slim", metavar="IMAGE", help="the image for compose (default %(default)s)"
    )
    verb.add_argument(
        "--status", default="127.0.0.1:7861", metavar="ADDR", help="the guard's status address (default %(default)s)"
    )
    verb.add_argument("--front", metavar="ADDR", help="let the guard listen on the app's public port, as `run` does")
    verb.add_argument("--ready-within", default="10m", metavar="TIME", help="as `run` (default 10m)")
    verb.add_argument("--stop-within", default="10s", metavar="TIME", help="as `run` (default 10s)")


def _view(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "kind",
        metavar="KIND",
        help="the layout: hf-cache, local-dir, modelscope, modelscope-old, flat, whisper or torch-hub",
    )
    verb.add_argument("at", metavar="DIR", help="the folder to place it in")
    verb.add_argument("refs", nargs="+", metavar="REF", help="a model in the library")
    verb.add_argument("--files", action="append", default=[], metavar="GLOB", help="only matching files; repeatable")
    verb.add_argument("--dry-run", action="store_true", help="show what is copied or in the way; place nothing")
    _add_link_option(verb)


_VERBS = (
    (
        "pull",
        "download a model's missing files, verify and store them",
        _pull,
        """\
  preheat pull openai/whisper-tiny.en
  preheat pull hf:IndexTeam/IndexTTS-2@740dcaff396282ffb241903d150ac011cd4b1ede --files '*.pth' --files '*.yaml'
  preheat pull openai/whisper-tiny.en --endpoint hf=http://mirror.lan:8000 --view hf-cache=./cache
  preheat pull indextts2 --replace               move your conflicting files to NAME.before-preheat""",
    ),
    (
        "run",
        "start an app offline from the library; watch and restart it",
        _add_run_options,
        """\
  preheat run                                    the app in ./preheat.toml
  preheat run examples/speech_webui/preheat.toml --pull
  preheat run --ready tcp:7860 -- python webui.py
  preheat run indextts2 --keep                   with your own changed gpt.pth or config.yaml
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
        "place models from the library in the layout that other programs expect",
        _view,
        """\
  preheat view hf-cache ./cache openai/whisper-tiny.en
  preheat view modelscope-old ~/.cache/modelscope/hub ms:iic/SenseVoiceSmall
  preheat view flat ./checkpoints hf:IndexTeam/IndexTTS-2 --link reflink""",
    ),
    (
        "mirror",
        "serve the library and plain folders with the hubs' APIs; download missing files once for all clients",
        add_mirror_options,
        EXAMPLES,
    ),
    *recipe_verbs(_add_app_argument, add_hub_options),
    *image_verbs(),
    *proof_verbs(_add_app_argument, add_download_options, _add_place_options),
    *upkeep_verbs(add_download_options),
)

VERBS = frozenset(name for name, *_ in _VERBS)
