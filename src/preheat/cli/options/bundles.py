"""Options of `export`, `import` and `push`."""

import argparse

from preheat.cli.options.connection_options import add_connection_options, add_plain_http_option, add_scan_option


def export(verb: argparse.ArgumentParser) -> None:
    """Add the options of `export`."""
    verb.add_argument(
        "what",
        nargs="*",
        metavar="REF|APP",
        help="a model in the library, a built-in recipe, or a preheat.toml (default: the one here)",
    )
    verb.add_argument("-o", "--output", required=True, metavar="FILE", help="the bundle to write: a tar")
    verb.add_argument(
        "--split", metavar="SIZE", help="write pieces of at most SIZE, FILE.001, FILE.002 and so on: --split 4G"
    )
    verb.add_argument(
        "--since",
        action="append",
        default=[],
        metavar="BUNDLE",
        help="leave out what this earlier bundle has; repeat it for each of its pieces",
    )
    verb.add_argument(
        "--with-preheat",
        action="store_true",
        help="add preheat itself, for a machine that has only the same version of Python",
    )
    verb.add_argument("--dry-run", action="store_true", help="show the files and their sizes; write nothing")


def import_(verb: argparse.ArgumentParser) -> None:
    """Add the options of `import`."""
    verb.add_argument("files", nargs="+", metavar="BUNDLE", help="the bundle, or all of its pieces")
    verb.add_argument("--recipes", metavar="DIR", help="also write the bundle's recipes, each to DIR/NAME/preheat.toml")
    verb.add_argument("--dry-run", action="store_true", help="show what would be added; change nothing")
    add_scan_option(verb)


def push(verb: argparse.ArgumentParser) -> None:
    """Add the options of `push`."""
    verb.add_argument("to", metavar="STORE", help="s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX")
    verb.add_argument(
        "what",
        nargs="*",
        metavar="REF|APP",
        help="a model in the library, a built-in recipe, or a preheat.toml (default: the one here)",
    )
    verb.add_argument(
        "--dry-run", action="store_true", help="show what the store has and what would be sent; write nothing"
    )
    add_plain_http_option(verb)
    add_connection_options(verb)
    verb.add_argument(
        "--connections", type=int, default=16, metavar="N", help="maximum connections, up to 16 (default 16)"
    )
    verb.add_argument("--limit-rate", metavar="RATE", help="maximum total upload rate in bytes per second: 50M")


BUNDLE_VERBS = (
    (
        "export",
        "write models and apps from the library to a file, for machines without a network",
        export,
        """\
  preheat export preheat.toml -o /media/usb/webui.tar
  preheat export openai/whisper-tiny.en -o whisper.tar --split 4G
  preheat export preheat.toml -o june.tar --since may.tar
  preheat export indextts2 -o all.tar --with-preheat""",
    ),
    (
        "import",
        "add the models of an exported file to the library, verified",
        import_,
        """\
  preheat import /media/usb/webui.tar
  preheat import whisper.tar.*                   all pieces
  preheat import webui.tar --recipes ./apps      also write ./apps/webui/preheat.toml""",
    ),
    (
        "push",
        "send models and apps from the library to an object store, for other machines",
        push,
        """\
  preheat push s3://models/team                  the app in ./preheat.toml
  preheat push s3://models/team openai/whisper-tiny.en --dry-run
  preheat pull preheat.toml --from s3://models/team      on the other machines
  preheat push gs://models preheat.toml --limit-rate 50M""",
    ),
)
