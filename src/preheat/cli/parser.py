"""Parser: build the argparse parser of the command line. Imports only light modules, to keep --help fast."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from preheat import __version__
from preheat.cli.options.build import image_verbs
from preheat.cli.options.bundles import BUNDLE_VERBS
from preheat.cli.options.connection_options import add_download_options, add_hub_options
from preheat.cli.options.fold import FOLD
from preheat.cli.options.mirror import EXAMPLES, add_mirror_options
from preheat.cli.options.prove import proof_verbs
from preheat.cli.options.pull_and_view import (
    add_adopt_option,
    add_dir_option,
    add_link_option,
    add_locked_option,
    add_place_options,
    pull,
    view,
)
from preheat.cli.options.service_files import service_verb
from preheat.cli.options.stage import STAGE
from preheat.cli.options.trace_and_lock import recipe_verbs
from preheat.cli.options.upkeep import upkeep_verbs
from preheat.core.errors import UsageError, did_you_mean


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError; that of the whole command line has those of the verbs in `verbs`.

    `layout` formats its help.
    """

    layout: type[argparse.HelpFormatter] = argparse.RawDescriptionHelpFormatter

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": _draft, **settings})
        self.verbs: dict[str, Parser] = {}

    def format_help(self) -> str:
        """Return the help, as wide as the terminal."""
        self.formatter_class = self.layout
        return super().format_help()

    def format_usage(self) -> str:
        """Return the usage, as wide as the terminal."""
        self.formatter_class = self.layout
        return super().format_usage()

    def error(self, message: str) -> NoReturn:
        """Raise UsageError; argparse would print and exit."""
        raise UsageError(message, hint=f"{self.prog} --help")

    def options(self) -> dict[str, bool]:
        """Return the names of all options, each with whether a value follows it."""
        return {name: action.nargs != 0 for name, action in self._option_string_actions.items()}

    def arguments(self) -> set[str]:
        """Return the names of the arguments that are not options."""
        return {action.dest for action in self._actions if not action.option_strings}

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse the arguments, the verb first. Raise UsageError, which names the most similar option."""
        try:
            return self.parse_args(words)
        except UsageError as error:
            verb = self.verbs.get(words[0]) if words else None
            if verb is None and words and words[0].startswith("-"):
                error.message = f"there is no option {words[0]}"
                error.hint = f"{did_you_mean(words[0], self.options())}preheat --help"
            if verb is not None:
                # argparse reports unknown options as an error of the whole command line.
                unknown = error.message.partition("unrecognized arguments: ")[2].partition(" ")[0].partition("=")[0]
                similar = did_you_mean(unknown, verb.options()) if unknown.startswith("-") else ""
                error.hint = f"{similar}{verb.prog} --help"
            raise


def _draft(prog: str) -> argparse.HelpFormatter:
    """Return a formatter for the checks of argparse, which makes one for each option; most look up the terminal."""
    return argparse.RawDescriptionHelpFormatter(prog, width=80)


def parser(verb: str = "") -> Parser:
    """Return the parser of the whole command line; it raises UsageError instead of exiting.

    If `verb` is a verb, only its options are added: those of all verbs take 15 ms, which would delay an app's start.
    """
    whole = Parser(
        prog="preheat",
        description="Preload model weights: pull them once, then start any app from them in seconds, offline.",
        epilog="""\
examples:
  preheat pull openai/whisper-tiny.en            download and verify a model over many connections
  preheat run -- python webui.py                 start an app offline with the pulled models
  preheat mirror --listen 0.0.0.0:8000           serve the library; clients set HF_ENDPOINT=http://HOST:8000
  preheat prove preheat.toml                     start it cold and preloaded, and report the speed-up

For details: preheat VERB --help. Documentation: docs/ and README.md.""",
    )
    whole.add_argument("-V", "--version", action="version", version=f"preheat {__version__}")
    common = _common_options()
    verbs = whole.add_subparsers(prog="preheat", dest="verb", metavar="VERB", required=True)
    known = [one for one in _VERBS if one[0] == verb] or _VERBS
    for name, words, build, examples in known:
        one = verbs.add_parser(
            name,
            help=words,
            description=f"{words[0].upper()}{words[1:]}.",
            epilog=f"examples:\n{examples}",
            parents=[common],
        )
        build(one)
        whole.verbs[name] = one
    return whole


def _common_options() -> Parser:
    shared = Parser(add_help=False)
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


def _add_app_argument(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "app", nargs="?", metavar="APP", help="a preheat.toml (default: the one in this folder) or a built-in recipe"
    )
    add_dir_option(verb)


def _add_run_options(verb: argparse.ArgumentParser) -> None:
    _add_app_argument(verb)
    verb.usage = "preheat run [APP] [options] [-- CMD ...]"
    verb.add_argument("--pull", action="store_true", help="pull missing files first")
    add_locked_option(verb)
    add_adopt_option(verb)
    verb.add_argument("--ready", metavar="PROBE", help="readiness probe: http://…, tcp:PORT, line:REGEX or exec:CMD")
    verb.add_argument(
        "--port", type=int, metavar="N", help="the app's port, which replaces {port} in its recipe or command"
    )
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
        help="do not read the app's weights and start list into the page cache",
    )
    verb.add_argument(
        "--mmap-weights",
        action="store_true",
        help="make torch memory-map checkpoints instead of copying them (torch 2.1 or later)",
    )
    verb.add_argument(
        "--memory-snapshot",
        action="store_true",
        help="restore the ready app from memory with CRIU instead of starting it; the first start makes the snapshot",
    )
    verb.add_argument(
        "--idle-after",
        metavar="TIME",
        help="save and end an app that no client has been connected to for TIME; the next client restores it"
        " (with --front and --memory-snapshot)",
    )
    verb.add_argument(
        "--network",
        choices=["free", "watch", "none"],
        default="free",
        help="watch: count outbound attempts; none: also block them, in a network namespace with only loopback",
    )
    add_link_option(verb)
    add_download_options(verb)


_VERBS = (
    (
        "pull",
        "download a model's missing files, verify and store them",
        pull,
        """\
  preheat pull openai/whisper-tiny.en
  preheat pull hf:IndexTeam/IndexTTS-2@740dcaff396282ffb241903d150ac011cd4b1ede --files '*.pth' --files '*.yaml'
  preheat pull https://huggingface.co/openai/whisper-tiny.en/blob/main/config.json
  preheat pull openai/whisper-tiny.en --endpoint hf=http://mirror.lan:8000 --view hf-cache=./cache
  preheat pull                                   the app in ./preheat.toml
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
    service_verb(_add_app_argument),
    (
        "view",
        "place models from the library in the layout that other programs expect",
        view,
        """\
  preheat view hf-cache ./cache openai/whisper-tiny.en
  preheat view modelscope-old ~/.cache/modelscope/hub ms:iic/SenseVoiceSmall
  preheat view flat ./checkpoints hf:IndexTeam/IndexTTS-2 --link reflink
  preheat view comfyui ~/ComfyUI stabilityai/stable-diffusion-xl-base-1.0 --files 'sd_xl_base_1.0.safetensors'
  preheat view ollama ~/.ollama/models bartowski/Llama-3.2-1B-Instruct-GGUF --files '*Q4_K_M.gguf'""",
    ),
    (
        "mirror",
        "serve the library and plain folders with the hubs' APIs; download missing files once for all clients",
        add_mirror_options,
        EXAMPLES,
    ),
    STAGE,
    *recipe_verbs(_add_app_argument, add_hub_options),
    *image_verbs(),
    *proof_verbs(_add_app_argument, add_download_options, add_place_options),
    *upkeep_verbs(add_download_options),
    FOLD,
    *BUNDLE_VERBS,
)

VERBS = frozenset(name for name, *_ in _VERBS)
