"""Options of `prove` and `doctor`."""

import argparse
from collections.abc import Callable

Build = Callable[[argparse.ArgumentParser], None]


def proving(app: Build, pulling: Build, ground: Build) -> tuple[tuple[str, str, Build, str], ...]:
    """List the verbs: name, what it does, what adds its words, examples. The arguments add words they share."""

    def prove(verb: argparse.ArgumentParser) -> None:
        app(verb)
        _prove(verb)
        ground(verb)
        pulling(verb)

    def doctor(verb: argparse.ArgumentParser) -> None:
        app(verb)
        pulling(verb)

    return (
        (
            "prove",
            "start an app cold and preloaded, in turns, and say what was gained",
            prove,
            """\
  preheat prove examples/speech_webui/preheat.toml --runs 3 --report proof.html
  preheat prove --endpoint hf=https://hf-mirror.com --json > today.json
  preheat prove --hub-rate 3M --hub-rtt 40ms     against a far hub, imitated from the library
  preheat prove --compare last.json --fail-if 'ratio < 10'""",
        ),
        (
            "doctor",
            "say why a start is slow here and what would help, the most seconds first",
            doctor,
            """\
  preheat doctor                                 the app that ./preheat.toml describes, or the machine alone
  preheat doctor preheat.toml --endpoint hf=https://hf-mirror.com --endpoint hf=https://huggingface.co""",
        ),
    )


def _prove(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--runs", type=int, default=1, metavar="N", help="rounds (default 1)")
    verb.add_argument(
        "--conditions",
        default="cold,preloaded,warm,restart",
        metavar="NAMES",
        help="which of cold, preloaded, warm, restart to try (default all)",
    )
    verb.add_argument("--report", metavar="FILE", help="write a page with pictures there, one HTML file")
    verb.add_argument("--lang", choices=["en", "zh"], default="en", help="the page's language (default en)")
    verb.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="TEST",
        help="end with status 8 when it is true: 'ratio < 10'; repeatable (docs/proof.md has the names)",
    )
    verb.add_argument(
        "--observe",
        default="30s",
        metavar="TIME",
        help="count outbound attempts of offline starts until TIME after first use (default 30s)",
    )
    verb.add_argument(
        "--allow-outbound",
        action="store_true",
        help="do not end with status 8 when a start that was to be offline made an outbound attempt",
    )
    verb.add_argument(
        "--compare", metavar="FILE", help="an older --json output: end with status 8 when something became worse"
    )
    verb.add_argument(
        "--hub-rate",
        metavar="RATE",
        help="imitate a far hub from the library, each connection held to RATE (3M); every output says so",
    )
    verb.add_argument("--hub-rtt", metavar="TIME", help="the imitated hub answers so much later (40ms)")
    verb.add_argument(
        "--drop-caches", action="store_true", help="as root: drop the whole page cache, not the app's files alone"
    )
    verb.add_argument(
        "--ready-within", default="30m", metavar="TIME", help="give up if it is not ready by then (default 30m)"
    )
