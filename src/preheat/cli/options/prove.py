"""Options of `prove` and `doctor`."""

import argparse
from collections.abc import Callable

Build = Callable[[argparse.ArgumentParser], None]


def proof_verbs(
    app: Build, add_download_options: Build, add_place_options: Build
) -> tuple[tuple[str, str, Build, str], ...]:
    """Return the verbs: name, help, function that adds the options, examples. The arguments add shared options."""

    def prove(verb: argparse.ArgumentParser) -> None:
        app(verb)
        _prove(verb)
        add_place_options(verb)
        add_download_options(verb)

    def doctor(verb: argparse.ArgumentParser) -> None:
        app(verb)
        add_download_options(verb)

    return (
        (
            "prove",
            "start an app cold and preloaded, in turns, and report the speed-up",
            prove,
            """\
  preheat prove examples/speech_webui/preheat.toml --runs 3 --report proof.html
  preheat prove --endpoint hf=https://hf-mirror.com --json > today.json
  preheat prove --hub-rate 3M --hub-rtt 40ms     imitate a distant hub from the library
  preheat prove --compare last.json --fail-if 'ratio < 10'""",
        ),
        (
            "doctor",
            "explain why a start is slow, and what would help most",
            doctor,
            """\
  preheat doctor                                 the app in ./preheat.toml, or only the machine
  preheat doctor preheat.toml --endpoint hf=https://hf-mirror.com --endpoint hf=https://huggingface.co""",
        ),
    )


def _prove(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--runs", type=int, default=1, metavar="N", help="number of rounds (default 1)")
    verb.add_argument(
        "--conditions",
        default="cold,preloaded,warm,restart",
        metavar="NAMES",
        help="conditions to measure: cold, preloaded, warm, restart (default: these), thawed (requires CRIU)",
    )
    verb.add_argument("--report", metavar="FILE", help="write a report with charts to this HTML file")
    verb.add_argument("--lang", choices=["en", "zh"], default="en", help="language of the report (default en)")
    verb.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="TEST",
        help="exit status 8 if this is true: 'ratio < 10'; repeatable (docs/proof.md lists the names)",
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
        help="do not fail (exit status 8) if an offline start made an outbound attempt",
    )
    verb.add_argument(
        "--compare", metavar="FILE", help="compare with an older --json output; exit status 8 if a figure is worse"
    )
    verb.add_argument(
        "--hub-rate",
        metavar="RATE",
        help="imitate a distant hub from the library, at RATE per connection (3M); every output notes it",
    )
    verb.add_argument("--hub-rtt", metavar="TIME", help="round-trip time of the imitated hub (40ms)")
    verb.add_argument(
        "--drop-caches", action="store_true", help="drop the whole page cache, not only the app's files (requires root)"
    )
    verb.add_argument(
        "--ready-within", default="30m", metavar="TIME", help="give up if it is not ready by then (default 30m)"
    )
