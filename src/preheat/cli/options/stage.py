"""Options of `stage`."""

import argparse

from preheat.cli.options.connection_options import add_download_options
from preheat.cli.options.pull_and_view import add_dir_option, add_locked_option, add_optional_option


def add_stage_options(verb: argparse.ArgumentParser) -> None:
    """Add the options of `stage`."""
    verb.add_argument(
        "what",
        nargs="*",
        metavar="REF|APP",
        help="a model (owner/name[@revision]), a built-in recipe, or a preheat.toml (default: the one here)",
    )
    add_dir_option(verb)
    verb.add_argument(
        "--to", required=True, metavar="DIR", help="the folder to fill, on the node's own disk: a library of its own"
    )
    verb.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="URL",
        help="ask this mirror first, and the next source only while it fails; repeatable, the nearest first. After the "
        "mirrors come the library of --library, and then the hubs",
    )
    verb.add_argument(
        "--files",
        "--include",
        action="append",
        default=[],
        metavar="GLOB",
        help="of models: only matching files, or with !GLOB all others; repeatable",
    )
    verb.add_argument(
        "--max-size",
        metavar="SIZE",
        help="keep DIR below SIZE (800G): remove what was staged longest ago, never what is in use",
    )
    verb.add_argument("--max-age", metavar="TIME", help="also remove what was not staged for TIME (14d)")
    verb.add_argument("--hold", metavar="JOB", default="", help="keep the files until --release JOB")
    verb.add_argument(
        "--release",
        metavar="JOB",
        default="",
        help="stage nothing: release what JOB holds, and remove what is too much",
    )
    verb.add_argument(
        "--export",
        action="store_true",
        help="print the variables that lead programs to the files, as export NAME=VALUE",
    )
    add_optional_option(verb)
    add_locked_option(verb)
    add_download_options(verb)


STAGE = (
    "stage",
    "fill a node's own disk with an app's files before a job",
    add_stage_options,
    """\
  preheat stage preheat.toml --to /local/nvme --mirror http://rack1:8000
  eval "$(preheat stage openai/whisper-tiny.en --to /local/nvme --export)"
  preheat stage indextts2 --to /local/nvme --hold "$SLURM_JOB_ID" --max-size 800G
  preheat stage --to /local/nvme --release "$SLURM_JOB_ID" --max-size 800G --max-age 14d""",
)
